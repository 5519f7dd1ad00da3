"""Poses of images against a map: likelihoods with their derivatives, ascents, and local searches."""

from .contrast import OpenImages
from .defocus import (
    DefocusSums,
    estimated_width,
    log_evidence_of,
    posterior_of,
    tells_defocus,
)
from .frames import Frame
from .gains import ShellProducts
from .images import ReadyImages
from .lenses import LensSlopes, with_lenses
from .local import (
    Found,
    Prior,
    ball,
    changes,
    differ,
    evaluated,
    likeliest,
    log_prior,
    ranked,
    refined,
    searched,
    spacing,
)
from .priors import deviations, estimated_prior, log_evidence, significance
from .template import Template

__all__ = [
    "DefocusSums",
    "Found",
    "Frame",
    "LensSlopes",
    "OpenImages",
    "Prior",
    "ReadyImages",
    "ShellProducts",
    "Template",
    "ball",
    "changes",
    "deviations",
    "differ",
    "estimated_prior",
    "estimated_width",
    "evaluated",
    "likeliest",
    "log_evidence",
    "log_evidence_of",
    "log_prior",
    "posterior_of",
    "ranked",
    "refined",
    "searched",
    "significance",
    "spacing",
    "tells_defocus",
    "with_lenses",
]

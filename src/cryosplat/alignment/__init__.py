"""Poses of images against a map: likelihoods with their derivatives, ascents, and local searches."""

from .frames import Frame
from .gains import ShellProducts
from .images import ReadyImages
from .local import (
    Found,
    Prior,
    ball,
    changes,
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
    "Found",
    "Frame",
    "Prior",
    "ReadyImages",
    "ShellProducts",
    "Template",
    "ball",
    "changes",
    "deviations",
    "estimated_prior",
    "evaluated",
    "likeliest",
    "log_evidence",
    "log_prior",
    "ranked",
    "refined",
    "searched",
    "significance",
    "spacing",
]

"""Poses of images against a map: likelihoods with their derivatives, ascents, and local searches."""

from .images import ReadyImages
from .local import (
    Found,
    Prior,
    ball,
    changes,
    evaluated,
    likeliest,
    log_prior,
    refined,
    searched,
)
from .template import Template

__all__ = [
    "Found",
    "Prior",
    "ReadyImages",
    "Template",
    "ball",
    "changes",
    "evaluated",
    "likeliest",
    "log_prior",
    "refined",
    "searched",
]

"""The noise of particle images: its variance per shell and optics group, and background levels."""

from .background import (
    LEVEL_LIMIT,
    MEAN_LIMIT,
    background_levels,
    background_window,
    blank_corners,
)
from .estimate import estimate_noise, estimate_noise_of_groups
from .model import NoiseModel

__all__ = [
    "LEVEL_LIMIT",
    "MEAN_LIMIT",
    "NoiseModel",
    "background_levels",
    "background_window",
    "blank_corners",
    "estimate_noise",
    "estimate_noise_of_groups",
]

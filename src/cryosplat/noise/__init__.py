"""The noise of particle images: its variance per shell and optics group, and background levels."""

from ._outlying import without_outlying
from .background import (
    LEVEL_LIMIT,
    MEAN_LIMIT,
    Background,
    background_levels,
    background_window,
    blank_corners,
    fitted_background,
)
from .estimate import estimate_noise, estimate_noise_of_groups
from .levels import Levels, usual
from .model import NoiseModel
from .preparing import Prepared, prepare

__all__ = [
    "LEVEL_LIMIT",
    "MEAN_LIMIT",
    "Background",
    "Levels",
    "NoiseModel",
    "Prepared",
    "background_levels",
    "background_window",
    "blank_corners",
    "estimate_noise",
    "estimate_noise_of_groups",
    "fitted_background",
    "prepare",
    "usual",
    "without_outlying",
]

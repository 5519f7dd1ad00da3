"""Fitting mixtures to statistics: what is minimised and how it is minimised are two objects."""

from ._initialisation import density, effective_voxels, start_at_random, start_in_density
from ._marching import even, march
from ._selection import Choice, Selection
from ._solver import Fit, Schedule, fit

__all__ = [
    "Choice",
    "Fit",
    "Schedule",
    "Selection",
    "density",
    "effective_voxels",
    "even",
    "fit",
    "march",
    "start_at_random",
    "start_in_density",
]

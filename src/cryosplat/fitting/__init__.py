"""Fitting mixtures to statistics or to images: what is minimised and how are two objects."""

from ._initialisation import density, effective_voxels, start_at_random, start_in_density
from ._marching import even, march
from ._selection import Choice, Selection
from ._solver import Fit, Schedule, fit
from .images import (
    Epoch,
    ImageData,
    ImageState,
    ImageTerm,
    Watch,
    begin,
    fit_images,
    paper_start,
)

__all__ = [
    "Choice",
    "Epoch",
    "Fit",
    "ImageData",
    "ImageState",
    "ImageTerm",
    "Schedule",
    "Selection",
    "Watch",
    "begin",
    "density",
    "effective_voxels",
    "even",
    "fit",
    "fit_images",
    "march",
    "paper_start",
    "start_at_random",
    "start_in_density",
]

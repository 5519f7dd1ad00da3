"""Fitting mixtures to statistics or to images: what is minimised and how are two objects."""

from ._image_data import ImageData
from ._image_solver import Watch, begin, fit_images
from ._image_start import paper_start
from ._image_state import Epoch, ImageState
from ._image_term import ImageTerm
from ._initialisation import density, effective_voxels, start_at_random, start_in_density
from ._marching import even, march
from ._selection import Choice, Selection
from ._solver import Fit, Schedule, fit

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

"""The image-space data term: particle images, what is rendered against them, and its descent."""

from ._solver import Watch, begin, fit_images
from ._start import paper_start
from ._state import Epoch, ImageState
from .data import ImageData
from .term import ImageTerm

__all__ = [
    "Epoch",
    "ImageData",
    "ImageState",
    "ImageTerm",
    "Watch",
    "begin",
    "fit_images",
    "paper_start",
]

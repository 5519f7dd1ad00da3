"""The recipe: from particles to maps and what is known of them, as values."""

from ._controls import Controls
from ._data import HalfSet, Polarity
from ._fits import Fitted
from ._quality import Quality
from ._starting import Start
from ._subject import Maps
from .recipe import reconstruct
from .values import Reconstruction

__all__ = [
    "Controls", "Fitted", "HalfSet", "Maps", "Polarity", "Quality", "Reconstruction", "Start",
    "reconstruct",
]  # fmt: skip

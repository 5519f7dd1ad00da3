"""The recipe: from particles to maps and what is known of them, as values."""

from ._controls import Controls
from ._data import HalfSet, Polarity
from ._examples import Examples
from ._fits import Fitted
from ._quality import Quality
from ._solvent import FoundSolvent
from ._starting import Start
from ._subject import Maps
from ._worth import Worth
from .recipe import reconstruct
from .values import Reconstruction

__all__ = [
    "Controls", "Examples", "Fitted", "FoundSolvent", "HalfSet", "Maps", "Polarity", "Quality",
    "Reconstruction", "Start", "Worth", "reconstruct",
]  # fmt: skip

"""The recipe: from particles to maps and what is known of them, as values."""

from ..validation.polarity import Polarity
from ._controls import Controls
from ._examples import Examples
from ._fits import Fitted
from ._maps import Maps
from ._quality import Quality
from ._residual import Residual
from ._solvent import FoundSolvent
from ._starting import Start
from ._worth import Worth
from .recipe import reconstruct
from .refinement import Refinement, refine
from .values import Reconstruction

__all__ = [
    "Controls", "Examples", "Fitted", "FoundSolvent", "Maps", "Polarity", "Quality",
    "Reconstruction", "Refinement", "Residual", "Start", "Worth", "reconstruct", "refine",
]  # fmt: skip

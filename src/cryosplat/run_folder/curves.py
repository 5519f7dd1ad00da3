"""The FSC curves of a run and their names in ``fsc.csv``."""

from __future__ import annotations

from torch import Tensor

from ..reconstruction import Reconstruction
from ..validation.comparison import HALF_MAPS

DEPOSITED = HALF_MAPS
"""The curve for the EMDB."""
MODEL = "map with model"
MEASURED = "map with truth, measured"


def of_mask(name: str) -> str:
    """The name of the corrected half-map FSC under the mask ``name``."""
    return f"half-maps, {name} mask"


def curves_of(result: Reconstruction) -> dict[str, Tensor]:
    """Every FSC of a reconstruction, (n_shells,) each."""
    curves = result.comparison.curves | {
        of_mask(name): found.corrected for name, found in result.masks.items()
    }
    if result.quality.model is not None:
        curves[MODEL] = result.quality.model.fsc
    return curves

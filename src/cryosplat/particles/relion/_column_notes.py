"""Columns of a star file that change the physics and are not applied: reported, never dropped.

Columns ``cs/...`` are fields of cryoSPARC that a star file written from a ``.cs`` file keeps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ...errors import StarError
from ...notes import Note
from ..tables import CRYOSPARC_FIELDS, numbers_if_any
from ._table import StarTable

_KEPT = (*CRYOSPARC_FIELDS, "ctf/shift_A", "ctf/scale_const")


def column_notes(table: StarTable) -> Iterator[Note]:
    """A note on each effect that the tables describe and the forward model lacks.

    Raises `StarError` for images that are not 2-D.
    """
    if table.has("rlnImageDimensionality") and np.any(
        table.numbers("rlnImageDimensionality") != 2.0
    ):
        raise StarError(
            f"{table.where}: rlnImageDimensionality is not 2; sub-tomograms are not read.\n"
            f"  Remedy: extract the tilt images as 2-D stacks."
        )
    for field in _KEPT:
        largest = max(_largest(frame, field) for frame in (table.rows, table.optics))
        if largest > 0.0:
            yield Note(
                "cryosparc-field-not-applied", "warning",
                f"cs/{field} (up to {largest:.3g}) is not applied: in a star file, aberrations are "
                f"read from RELION's columns.",
                "Convert the .cs file again with cryosplat convert.",
            )  # fmt: skip
    if any(_named(frame, "rlnMtfFileName") for frame in (table.rows, table.optics)):
        text = "The detector's MTF (rlnMtfFileName) is not applied; it only scales shells."
        yield Note("mtf-not-applied", "note", text)
    if "rlnNormCorrection" in table.rows:
        norms = numbers_if_any(table.rows["rlnNormCorrection"], np.nan)
        norms = norms[np.isfinite(norms)]
        middle = float(np.median(norms)) if len(norms) else 0.0
        spread = float(np.abs(norms / middle - 1.0).max()) if middle > 0.0 else 0.0
        if spread > 0.1:
            yield Note(
                "norm-correction-not-applied", "note",
                f"rlnNormCorrection ({norms.min():.3g} to {norms.max():.3g}) is not applied; RELION "
                f"would scale particles by up to {100 * spread:.2g} %.",
            )  # fmt: skip


def _largest(frame: pd.DataFrame, field: str) -> float:
    """The largest absolute value of a cryoSPARC field, or of its elements."""
    own = [c for c in frame if str(c) == f"cs/{field}" or str(c).startswith(f"cs/{field}/")]
    return max((float(np.abs(numbers_if_any(frame[c], 0.0)).max()) for c in own), default=0.0)


def _named(frame: pd.DataFrame, label: str) -> bool:
    return label in frame and bool((~frame[label].astype(str).isin(["", "None"])).any())

"""Columns of a star file that change the physics and that are not applied: said, never dropped.

Columns ``cs/...`` are fields of cryoSPARC that a star file written from a ``.cs`` file keeps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..errors import StarError

_MAGNIFICATION = {"rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0, "rlnMagMat11": 1.0}
CRYOSPARC_NOT_APPLIED = {
    "beam tilt": ("ctf/tilt_A", "ctf/shift_A"),
    "trefoil": ("ctf/trefoil_A",),
    "tetrafoil": ("ctf/tetra_A",),
    "anisotropic magnification": ("ctf/anisomag",),
    "a constant added to the CTF": ("ctf/scale_const",),
}
_NOT_APPLIED = {
    "beam tilt": ("rlnBeamTiltX", "rlnBeamTiltY"),
    "odd aberrations": ("rlnOddZernike",),
    "even aberrations": ("rlnEvenZernike",),
    "dose weighting of tilts": ("rlnMicrographPreExposure",),
}
# What RELION keeps in the optics table from version 3.1 on, and in every row before.
OPTICS_ABERRATIONS = (
    "rlnBeamTiltX", "rlnBeamTiltY", "rlnOddZernike", "rlnEvenZernike", *_MAGNIFICATION,
    "rlnMtfFileName",
)  # fmt: skip


def aberration_notes(where: str, *tables: pd.DataFrame) -> Iterator[str]:
    """A sentence for each effect the tables describe and the forward model lacks.

    Raises `StarError` for images that are not plain 2-D particles: premultiplied or phase-flipped
    by their CTF, or sub-tomograms.
    """
    for label, doing in (
        ("rlnCtfDataAreCtfPremultiplied", "multiplied by their CTF"),
        ("rlnCtfDataArePhaseFlipped", "phase-flipped"),
    ):
        if any(_differs(table, label, 0.0) for table in tables):
            raise StarError(
                f"{where}: {label} is set, so the images are already {doing}; only images as they "
                f"were recorded can be used.\n  Remedy: extract the particles again without it."
            )
    if any("rlnImageDimensionality" in t and _differs(t, "rlnImageDimensionality", 2.0)
           for t in tables):  # fmt: skip
        raise StarError(
            f"{where}: rlnImageDimensionality is not 2; sub-tomograms are not read.\n"
            f"  Remedy: extract the tilt images as 2-D stacks."
        )
    for effect, labels in _NOT_APPLIED.items():
        present = [c for c in labels if any(_differs(table, c, 0.0) for table in tables)]
        if present:
            yield f"warning: {effect} ({', '.join(present)}) is not zero and is not applied."
    for effect, fields in CRYOSPARC_NOT_APPLIED.items():
        present = [f for f in fields if any(_field_differs(table, f) for table in tables)]
        if present:
            yield f"warning: {effect} ({', '.join(present)}) is not zero and is not applied."
    if any(_differs(table, c, one) for table in tables for c, one in _MAGNIFICATION.items()):
        yield "warning: anisotropic magnification (rlnMagMat) is not applied."
    if any(_named(table, "rlnMtfFileName") for table in tables):
        yield "the detector's MTF (rlnMtfFileName) is not applied; it scales shells, no more."


def _field_differs(table: pd.DataFrame, field: str) -> bool:
    """Whether a cryoSPARC field, or an element of it, is not zero."""
    own = [c for c in table if str(c) == f"cs/{field}" or str(c).startswith(f"cs/{field}/")]
    return any(_differs(table, label, 0.0) for label in own)


def _differs(table: pd.DataFrame, label: str, neutral: float) -> bool:
    """Whether any value, or any element of "[a,b]", differs from the neutral one."""
    if label not in table:
        return False
    column = table[label]
    if not pd.api.types.is_numeric_dtype(column):
        lists = column.astype(str).str.strip("[]").str.split(",").explode()
        column = pd.Series(pd.to_numeric(lists, errors="coerce")).fillna(neutral)
    return bool(np.any(np.abs(column.to_numpy(float) - neutral) > 1e-7))


def _named(table: pd.DataFrame, label: str) -> bool:
    return label in table and bool((~table[label].astype(str).isin(["", "None"])).any())

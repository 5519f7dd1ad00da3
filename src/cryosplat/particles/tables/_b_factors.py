"""B-factors of either sign: RELION's damp high frequencies when positive, Warp's when negative."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...notes import Note


def damping_b_factors(
    values: NDArray[np.float64], tilts: NDArray[np.int64] | None, label: str, nyquist: float
) -> tuple[NDArray[np.float64], list[Note]]:
    """B-factors (n,) whose positive values damp high frequencies, as RELION's do; notes.

    Where the rows are ``tilts`` and no value is positive they are in the sign of Warp, which is
    changed. ``nyquist`` in 1/Angstrom is for the notes.
    """
    n_negative = int((values < 0.0).sum())
    if not n_negative:
        return values, []
    low, high = float(values.min()), float(values.max())
    if tilts is not None and high <= 0.0:
        text = (
            f"{label} ({low:.3g} to {high:.3g} A^2) follows Warp's sign convention, negative for "
            f"damping, and is used accordingly."
        )
        return -values + 0.0, [Note("b-factor-warp", "note", text)]
    gain = math.exp(min(-0.25 * low * nyquist**2, 100.0))
    text = (
        f"{label} is negative for {n_negative} of {len(values)} particles (down to {low:.3g} A^2), "
        f"which amplifies high frequencies: up to {gain:.3g}-fold at Nyquist ({1 / nyquist:.3g} A)."
    )
    return values, [
        Note("b-factor-amplifies", "warning", text, "Remove the column if it is wrong.")
    ]

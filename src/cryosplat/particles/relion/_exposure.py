"""Radiation damage in a RELION table: the doses of tilt series, and B-factors."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import StarError
from ...notes import Note
from ...optics import dose_exponent
from ..tables import damping_b_factors, integer_codes, numbers_if_any
from ._table import StarTable

_DOSE, _B_FACTOR = "rlnMicrographPreExposure", "rlnCtfBfactor"
_TILTS = ("rlnTomoParticleName", "rlnTomoName")


def damage(
    table: StarTable, pixel_size: float
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], list[Note]]:
    """B-factors (n,) in square Angstrom and doses (n,) in electrons per square Angstrom; notes.

    The exposure before an image counts in tilt series only, where it replaces the B-factor: the
    frames of single particles are weighted by motion correction. ``pixel_size`` in Angstrom is for
    the notes.
    """
    b_factors = table.numbers_or(_B_FACTOR, 0.0)
    single = not any(table.has(label) for label in _TILTS)
    if single and _DOSE in table.rows:
        doses = numbers_if_any(table.rows[_DOSE], 0.0)
    else:
        doses = table.numbers_or(_DOSE, 0.0)
    if not single and np.any(doses < 0.0):
        raise StarError(
            f"{table.where}: {_DOSE} is {doses.min():g} for {int((doses < 0).sum())} rows, "
            f"expected no negative exposure.\n  Remedy: correct the column, or remove it."
        )
    nyquist = 0.5 / pixel_size
    largest = float(doses.max())
    if largest == 0.0 or single:
        b_factors, notes = damping_b_factors(b_factors, tilt_images(table), _B_FACTOR, nyquist)
        if largest > 0.0:
            text = (
                f"{_DOSE} (up to {largest:.3g} e/A^2) is not applied: motion correction has already "
                f"weighted the frames of single particles by dose."
            )
            notes = [Note("dose-not-applied", "note", text), *notes]
        return (b_factors, np.zeros_like(doses)), notes
    left = math.exp(-dose_exponent(nyquist) * largest)
    replaced = f" {_B_FACTOR} is not used in addition." if b_factors.any() else ""
    text = (
        f"Tilt images are weighted by their pre-exposure ({_DOSE}, {doses.min():.3g} to "
        f"{largest:.3g} e/A^2): the last one keeps {100 * left:.2g} % of its signal at Nyquist "
        f"({2 * pixel_size:.3g} A).{replaced}"
    )
    return (np.zeros_like(doses), doses), [Note("dose-applied", "note", text)]


def tilt_images(table: StarTable) -> NDArray[np.int64] | None:
    """Which rows are tilt images of one particle, (n,); None where the rows are single particles.

    ``rlnTomoParticleName`` says it. Warp and M write one row for each tilt image, the particle in
    ``rlnGroupName``, and a B-factor that no other image of the particle has.
    """
    if "rlnTomoParticleName" in table.rows:
        return integer_codes(table.rows["rlnTomoParticleName"])
    if "rlnGroupName" not in table.rows or not table.has(_B_FACTOR):
        return None
    b_factors = table.numbers(_B_FACTOR)
    particle = integer_codes(table.rows["rlnGroupName"])
    pairs = pd.DataFrame({"particle": particle, "b_factor": b_factors})
    alone = np.bincount(particle).min() < 2
    if alone or np.any(b_factors > 0.0) or bool(pairs.duplicated().any()):
        return None
    return particle

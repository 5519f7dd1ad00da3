"""Radiation damage that a table tells of: doses of tilt series, and B-factors of either sign."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import StarError
from ...optics import dose_exponent
from .columns import codes
from .star import StarTable

_DOSE, _B_FACTOR = "rlnMicrographPreExposure", "rlnCtfBfactor"
_TILTS = ("rlnTomoParticleName", "rlnTomoName")


def damage(
    table: StarTable, pixel_size: float, notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """B-factors (n,) in square Angstrom and doses (n,) in electrons per square Angstrom.

    The exposure before an image counts in tilt series only, and then takes the place of the
    B-factor: the frames of single particles are weighted by motion correction. ``pixel_size`` in
    Angstrom is for the notes.
    """
    b_factors = table.numbers_or(_B_FACTOR, 0.0)
    doses = table.numbers_or(_DOSE, 0.0)
    if np.any(doses < 0.0):
        raise StarError(
            f"{table.where}: {_DOSE} is {doses.min():g} for {int((doses < 0).sum())} rows, "
            f"expected no negative exposure.\n  Remedy: correct the column, or leave it out."
        )
    nyquist = 0.5 / pixel_size
    if not doses.any():
        return decaying(b_factors, tilt_images(table), _B_FACTOR, nyquist, notes), doses
    most = float(doses.max())
    if not any(table.has(label) for label in _TILTS):
        notes.append(
            f"{_DOSE} (up to {most:.3g} e/A^2) is not applied: motion correction has weighted "
            f"the frames of single particles by their dose."
        )
        b_factors = decaying(b_factors, tilt_images(table), _B_FACTOR, nyquist, notes)
        return b_factors, np.zeros_like(doses)
    left = math.exp(-dose_exponent(nyquist) * most)
    replaced = f" {_B_FACTOR} is not used besides." if b_factors.any() else ""
    notes.append(
        f"the exposure before each tilt image ({_DOSE}, {doses.min():.3g} to {most:.3g} e/A^2) "
        f"weights it; of the last one {100 * left:.2g} % are left at Nyquist "
        f"({2 * pixel_size:.3g} A).{replaced}"
    )
    return np.zeros_like(doses), doses


def tilt_images(table: StarTable) -> NDArray[np.int64] | None:
    """Which rows are tilt images of one particle, (n,); None where the rows are single particles.

    ``rlnTomoParticleName`` says it. Warp and M write one row for each tilt image, the particle in
    ``rlnGroupName``, and a B-factor that no other image of the particle has.
    """
    if "rlnTomoParticleName" in table.rows:
        return codes(table.rows["rlnTomoParticleName"])
    if "rlnGroupName" not in table.rows or not table.has(_B_FACTOR):
        return None
    b_factors = table.numbers(_B_FACTOR)
    particle = codes(table.rows["rlnGroupName"])
    pairs = pd.DataFrame({"particle": particle, "b_factor": b_factors})
    alone = np.bincount(particle).min() < 2
    if alone or np.any(b_factors > 0.0) or bool(pairs.duplicated().any()):
        return None
    return particle


def decaying(
    b_factors: NDArray[np.float64], tilts: NDArray[np.int64] | None, label: str, nyquist: float,
    notes: list[str],
) -> NDArray[np.float64]:  # fmt: skip
    """``b_factors`` (n,) whose positive values dampen high frequencies, as RELION's do.

    Those of ``tilts`` in which none is positive are in the sign of Warp, and change it.
    """
    negative = int((b_factors < 0.0).sum())
    if not negative:
        return b_factors
    low, high = float(b_factors.min()), float(b_factors.max())
    if tilts is not None and high <= 0.0:
        notes.append(
            f"{label} ({low:.3g} to {high:.3g} A^2) is in the sign of Warp, negative for a decay, "
            f"and is taken so."
        )
        return -b_factors + 0.0
    gain = math.exp(min(-0.25 * low * nyquist**2, 100.0))
    notes.append(
        f"warning: {label} is negative for {negative} of {len(b_factors)} particles (to {low:.3g} "
        f"A^2), which amplifies: at Nyquist ({1 / nyquist:.3g} A) up to {gain:.3g}-fold."
    )
    return b_factors

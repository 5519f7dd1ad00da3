"""cisTEM's own star files, in RELION's columns.

The signs are those with which cisTEM writes a refinement for RELION: phi, theta and psi are rot, tilt
and psi, and the origin is the shift with the other sign, in Angstrom; its stacks show dark protein.
(cisTEM 2, ``src/gui/ExportRefinementPackageWizard.cpp``, ``src/core/cistem_parameters.cpp``.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SettingsError, StarError
from ...optics import OpticsGroup, beam_tilt
from ..half_sets import checked_half_sets
from ..tables.aberrations import Aberration, largest_turn
from ..tables.columns import integers, numbers

_SAME = {
    "cisTEMAnglePhi": "rlnAngleRot",
    "cisTEMAngleTheta": "rlnAngleTilt",
    "cisTEMAnglePsi": "rlnAnglePsi",
    "cisTEMDefocus1": "rlnDefocusU",
    "cisTEMDefocus2": "rlnDefocusV",
    "cisTEMDefocusAngle": "rlnDefocusAngle",
    "cisTEMMicroscopeVoltagekV": "rlnVoltage",
    "cisTEMMicroscopeCsMM": "rlnSphericalAberration",
    "cisTEMAmplitudeContrast": "rlnAmplitudeContrast",
}
_PIXEL = {"cisTEMPixelSize": "rlnImagePixelSize"}
_OPTIONAL = {
    "cisTEMOriginalImageFilename": "rlnMicrographName",
    "cisTEMPreExposure": "rlnMicrographPreExposure",
}
_SHIFTS = {"cisTEMXShift": "rlnOriginXAngst", "cisTEMYShift": "rlnOriginYAngst"}
_POSITION, _STACK = "cisTEMPositionInStack", "cisTEMStackFilename"
ACTIVE_ROWS = " (counting active rows only)"  # for messages that cannot tell the row of the file
# RELION's names for columns that are passed on as they are, and cisTEM's own for them
OWN_LABELS = {relion: label for label, relion in (_SAME | _PIXEL | _OPTIONAL).items()}
_PHASE, _ACTIVE = "cisTEMPhaseShift", "cisTEMImageActivity"
_OCCUPANCY, _SUBSET = "cisTEMOccupancy", "cisTEMAssignedSubset"
_TILTS = ("cisTEMBeamTiltX", "cisTEMBeamTiltY")
_TILT_SHIFTS = ("cisTEMImageShiftX", "cisTEMImageShiftY")


def is_cistem(rows: pd.DataFrame) -> bool:
    """Whether a table of particles is cisTEM's own."""
    return "rlnImageName" not in rows and any(str(c).startswith("cisTEM") for c in rows)


def relion_columns(
    rows: pd.DataFrame, path: Path, block: str
) -> tuple[pd.DataFrame, NDArray[np.int64], list[str]]:
    """The rows of the particles in use with RELION's columns, their numbers (n,) in the file, from
    1, and what the user should know.

    Columns of other meaning are kept as they are. Raises `StarError` where a column is missing or
    is not known to be readable, and `InputError` for subsets that are no half-sets.
    """
    where = f"{path}, data_{block}"
    missing = [c for c in (_POSITION, *_SAME, *_SHIFTS) if c not in rows]
    if missing:
        raise StarError(
            f"{where}: missing {', '.join(missing)} ({len(rows)} rows of cisTEM).\n"
            f"  Remedy: give the star file of a 3-D refinement, or export it to RELION."
        )
    notes: list[str] = []
    rows = rows.reset_index(drop=True)  # from here on the index tells the row of the file
    if _ACTIVE in rows:
        active = _numbers(rows, _ACTIVE, where) >= 0.0
        if not active.any():
            raise StarError(
                f"{where}: no row is active ({_ACTIVE} is negative in all).\n"
                f"  Remedy: activate particles in cisTEM, or correct the column."
            )
        if not active.all():
            notes.append(
                f"{int((~active).sum())} of {len(rows)} rows are inactive ({_ACTIVE} below 0) "
                f"and left out, as in cisTEM."
            )
            rows = rows.loc[active]
    positions = _positions(rows, where)
    stacks = _stacks(rows, path, where)
    told: dict[str, Any] = {
        "rlnImageName": [f"{p:06d}@{s}" for p, s in zip(positions, stacks, strict=True)]
    }
    used = {_POSITION, _STACK, *_SHIFTS}
    for label, relion in (_SAME | _PIXEL | _OPTIONAL).items():
        if label in _SAME or (
            label in rows and bool((rows[label].astype(str) != "").to_numpy().all())
        ):
            told[relion] = rows[label].to_numpy()
            used.add(label)
    for label, relion in _SHIFTS.items():
        told[relion] = -_numbers(rows, label, where)
    if _PHASE in rows:
        told["rlnPhaseShift"] = _degrees(rows, where, notes)
        used.add(_PHASE)
    if _SUBSET in rows and _are_half_sets(rows, where, notes):
        told["rlnRandomSubset"] = rows[_SUBSET].to_numpy()
        used.add(_SUBSET)
    notes.extend(_unapplied(rows, where))
    twice = [c for c in rows if c in told]
    if twice:
        notes.append(
            f"warning: {', '.join(twice)} are not used: cisTEM's own columns say the same."
        )
    kept = rows.drop(columns=[c for c in rows if c in used or c in told]).reset_index(drop=True)
    return pd.concat([pd.DataFrame(told), kept], axis=1), _rows_of_file(rows), notes


def _rows_of_file(rows: pd.DataFrame) -> NDArray[np.int64]:
    """The rows' numbers in the file (n,), from 1."""
    return rows.index.to_numpy(np.int64) + 1


def _numbers(rows: pd.DataFrame, label: str, where: str) -> NDArray[np.float64]:
    return numbers(rows[label], label, where, StarError, _rows_of_file(rows))


def _positions(rows: pd.DataFrame, where: str) -> NDArray[np.int64]:
    """The place of each image in its stack (n,), from 1."""
    of_file = _rows_of_file(rows)
    positions = integers(rows[_POSITION], _POSITION, where, StarError, of_file)
    bad = np.flatnonzero(positions < 1)
    if len(bad):
        raise StarError(
            f"{where} row {of_file[bad[0]]}: {_POSITION} is {positions[bad[0]]}, expected a number "
            f"from 1 ({len(bad)} rows are affected).\n"
            f"  Remedy: write the table again with cisTEM, or remove those rows."
        )
    return positions


def _are_half_sets(rows: pd.DataFrame, where: str, notes: list[str]) -> bool:
    """Whether cisTEM's subsets are half-sets; one subset for all is none.

    Raises `InputError` where subsets differ and are not all 1 or 2.
    """
    subsets = _numbers(rows, _SUBSET, where)
    if len(np.unique(subsets)) == 1:
        if subsets[0] != 0.0:
            notes.append(
                f"{_SUBSET} is {subsets[0]:g} in every row; this is no split and is not used."
            )
        return False
    if _rows_of_file(rows)[-1] > len(rows):
        where += ACTIVE_ROWS
    checked_half_sets(subsets, len(rows), where, _SUBSET, notes)
    return True


def _stacks(rows: pd.DataFrame, path: Path, where: str) -> NDArray[np.object_]:
    """The stack (n,) of each row: the one of its column, or that which lies beside the table."""
    if _STACK in rows:
        names = rows[_STACK].astype(str).to_numpy(object)
        if all(names):
            return names
    beside = [path.with_suffix(s) for s in (".mrc", ".mrcs") if path.with_suffix(s).is_file()]
    if len(beside) != 1:
        raise StarError(
            f"{where}: no {_STACK} says in which stack the {len(rows)} particles are, and "
            f"{len(beside)} lie beside the table under its name.\n"
            f"  Remedy: link the refinement package's particle stack to {path.with_suffix('.mrc')}."
        )
    return np.full(len(rows), beside[0].name, dtype=object)


def _degrees(rows: pd.DataFrame, where: str, notes: list[str]) -> NDArray[np.float64]:
    """The phase plate's shifts in degrees. Versions of cisTEM write them in radian or in degrees."""
    phases = _numbers(rows, _PHASE, where)
    most = float(np.abs(phases).max())
    if most == 0.0 or most > math.pi:
        return phases
    notes.append(
        f"{_PHASE} is taken to be in radian, as it does not exceed {most:.3g}: phase plates shift "
        f"by more than that many degrees."
    )
    return np.rad2deg(phases)


def _unapplied(rows: pd.DataFrame, where: str) -> Iterator[str]:
    """Warnings, with the size of the effect, for columns that change images and are not applied."""
    if _OCCUPANCY in rows:
        low = _numbers(rows, _OCCUPANCY, where) < 50.0
        if low.any():
            yield (
                f"warning: {int(low.sum())} of {len(rows)} particles have an occupancy below 50 % "
                f"({_OCCUPANCY}), so they fit another class better; all count in full. "
                f"Remedy: --indices with the rows of this class."
            )
    tilts = np.stack([_or_zero(rows, label, where) for label in _TILTS], axis=1)
    shifts = np.stack([_or_zero(rows, label, where) for label in _TILT_SHIFTS], axis=1)
    if tilts.any() or shifts.any():
        i = int(np.argmax(np.linalg.norm(tilts, axis=1)))
        x, y = 1e-3 * tilts[i]
        yield (
            f"warning: beam tilt ({', '.join(_TILTS)}, up to {1e3 * math.hypot(x, y):.3g} mrad"
            f"{_turned(rows.iloc[[i]], math.hypot(x, y), where)}) and its image shift (up to "
            f"{np.linalg.norm(shifts, axis=1).max():.3g} A) are not applied: their sign differs "
            f"between versions of cisTEM. Remedy: cryosplat convert, and CTF refinement in RELION."
        )


def _or_zero(rows: pd.DataFrame, label: str, where: str) -> NDArray[np.float64]:
    if label not in rows:
        return np.zeros(len(rows))
    return _numbers(rows, label, where)


def _turned(row: pd.DataFrame, tilt: float, where: str) -> str:
    """How far a beam tilt in radian turns phases at Nyquist, where the one row tells it."""
    labels = (*_PIXEL, "cisTEMMicroscopeVoltagekV", "cisTEMMicroscopeCsMM")
    pixel, voltage, aberration = (float(_or_zero(row, label, where)[0]) for label in labels)
    try:
        group = OpticsGroup("1", pixel, 4, 1e3 * voltage, 1e7 * aberration, 0.1)
    except SettingsError:
        return ""  # refused later, by name
    part = Aberration("beam tilt", "", odd=beam_tilt(group, tilt, 0.0))
    return f", {math.degrees(largest_turn(group, part)):.3g} degrees at Nyquist ({2 * pixel:.3g} A)"

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
from ...notes import Note, NoteCollector
from ...optics import OpticsGroup, beam_tilt
from ..tables import (
    Aberration,
    half_set_labels,
    integers,
    largest_turn,
    numbers,
    numbers_if_any,
    single_half_set,
)

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
ACTIVE_ROWS = " (counting active rows only)"  # for messages without the row of the file
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
) -> tuple[tuple[pd.DataFrame, NDArray[np.int64]], list[Note]]:
    """The rows of active particles with RELION's columns, their numbers (n,) in the file, from 1,
    and notes.

    Columns of other meaning are kept as they are. Raises `StarError` where a column is missing or
    cannot be read, and `InputError` for subsets that are not half-sets.
    """
    where = f"{path}, data_{block}"
    missing = [c for c in (_POSITION, *_SAME, *_SHIFTS) if c not in rows]
    if missing:
        raise StarError(
            f"{where}: missing {', '.join(missing)} ({len(rows)} rows of cisTEM).\n"
            f"  Remedy: use the star file of a 3-D refinement, or export it to RELION."
        )
    notes = NoteCollector()
    rows = rows.reset_index(drop=True)  # from here on the index is the row of the file
    if _ACTIVE in rows:
        active = _numbers(rows, _ACTIVE, where) >= 0.0
        if not active.any():
            raise StarError(
                f"{where}: no row is active ({_ACTIVE} is negative in all).\n"
                f"  Remedy: activate particles in cisTEM, or correct the column."
            )
        if not active.all():
            text = (
                f"{int((~active).sum())} of {len(rows)} rows are inactive ({_ACTIVE} below 0) and "
                f"left out, as in cisTEM."
            )
            notes.add(Note("rows-inactive", "note", text))
            rows = rows.loc[active]
    positions = _positions(rows, where)
    stacks = _stacks(rows, path, where)
    columns: dict[str, Any] = {
        "rlnImageName": [f"{p:06d}@{s}" for p, s in zip(positions, stacks, strict=True)]
    }
    used = {_POSITION, _STACK, *_SHIFTS}
    for label, relion in (_SAME | _PIXEL | _OPTIONAL).items():
        if label in _SAME or (
            label in rows and bool((rows[label].astype(str) != "").to_numpy().all())
        ):
            columns[relion] = rows[label].to_numpy()
            used.add(label)
    for label, relion in _SHIFTS.items():
        columns[relion] = -_numbers(rows, label, where)
    if _PHASE in rows:
        columns["rlnPhaseShift"] = notes.collect(_degrees(rows, where))
        used.add(_PHASE)
    if _SUBSET in rows and notes.collect(_has_half_sets(rows, where)):
        columns["rlnRandomSubset"] = rows[_SUBSET].to_numpy()
        used.add(_SUBSET)
    notes.add(*_unapplied(rows))
    duplicated = [c for c in rows if c in columns]
    if duplicated:
        text = f"{', '.join(duplicated)} are not used: cisTEM's own columns replace them."
        notes.add(Note("columns-duplicated", "warning", text))
    kept = rows.drop(columns=[c for c in rows if c in used or c in columns]).reset_index(drop=True)
    table = pd.concat([pd.DataFrame(columns), kept], axis=1)
    return (table, _rows_of_file(rows)), list(notes)


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


def _has_half_sets(rows: pd.DataFrame, where: str) -> tuple[bool, list[Note]]:
    """Whether cisTEM's subsets are half-sets, which a single subset is not; notes.

    Raises `InputError` where subsets differ and are not all 1 or 2.
    """
    subsets = _numbers(rows, _SUBSET, where)
    if len(np.unique(subsets)) == 1:
        single = [single_half_set(f"{_SUBSET} is {subsets[0]:g}")] if subsets[0] != 0.0 else []
        return False, single
    if _rows_of_file(rows)[-1] > len(rows):
        where += ACTIVE_ROWS
    _, notes = half_set_labels(subsets, len(rows), where, _SUBSET)
    return True, notes


def _stacks(rows: pd.DataFrame, path: Path, where: str) -> NDArray[np.object_]:
    """The stack (n,) of each row: from its column, or the one beside the table."""
    if _STACK in rows:
        names = rows[_STACK].astype(str).to_numpy(object)
        if all(names):
            return names
    beside = [path.with_suffix(s) for s in (".mrc", ".mrcs") if path.with_suffix(s).is_file()]
    if len(beside) != 1:
        raise StarError(
            f"{where}: there is no {_STACK} for the {len(rows)} particles, and {len(beside)} stacks "
            f"beside the table have its name.\n"
            f"  Remedy: link the refinement package's particle stack to {path.with_suffix('.mrc')}."
        )
    return np.full(len(rows), beside[0].name, dtype=object)


def _degrees(rows: pd.DataFrame, where: str) -> tuple[NDArray[np.float64], list[Note]]:
    """The phase plate's shifts in degrees; versions of cisTEM write them in radian or in degrees."""
    phases = _numbers(rows, _PHASE, where)
    largest = float(np.abs(phases).max())
    if largest == 0.0 or largest > math.pi:
        return phases, []
    text = (
        f"{_PHASE} is taken to be in radian, because its largest value is {largest:.3g} and phase "
        f"plates shift phases by more than that many degrees."
    )
    return np.rad2deg(phases), [Note("phase-shift-unit", "note", text)]


def _unapplied(rows: pd.DataFrame) -> Iterator[Note]:
    """Warnings, with the size of the effect, for columns that change images and are not applied."""
    if _OCCUPANCY in rows:
        low = numbers_if_any(rows[_OCCUPANCY], 100.0) < 50.0
        if low.any():
            yield Note(
                "occupancy-not-applied", "warning",
                f"{int(low.sum())} of {len(rows)} particles have an occupancy below 50 % "
                f"({_OCCUPANCY}), so they fit another class better; all are used with full weight.",
                "--indices FILE with the rows of this class.",
            )  # fmt: skip
    tilts = np.stack([_or_zero(rows, label) for label in _TILTS], axis=1)
    shifts = np.stack([_or_zero(rows, label) for label in _TILT_SHIFTS], axis=1)
    if tilts.any() or shifts.any():
        i = int(np.argmax(np.linalg.norm(tilts, axis=1)))
        x, y = 1e-3 * tilts[i]
        yield Note(
            "aberration-not-applied", "warning",
            f"Beam tilt ({', '.join(_TILTS)}, up to {1e3 * math.hypot(x, y):.3g} mrad"
            f"{_phase_change(rows.iloc[[i]], math.hypot(x, y))}) and its image shift (up to "
            f"{np.linalg.norm(shifts, axis=1).max():.3g} A) are not applied: their sign differs "
            f"between versions of cisTEM.",
            "cryosplat convert, then CTF refinement in RELION.",
        )  # fmt: skip


def _or_zero(rows: pd.DataFrame, label: str) -> NDArray[np.float64]:
    return numbers_if_any(rows[label], 0.0) if label in rows else np.zeros(len(rows))


def _phase_change(row: pd.DataFrame, tilt: float) -> str:
    """By how much a beam tilt in radian changes phases at Nyquist, if the row has the optics."""
    labels = (*_PIXEL, "cisTEMMicroscopeVoltagekV", "cisTEMMicroscopeCsMM")
    pixel, voltage, aberration = (float(_or_zero(row, label)[0]) for label in labels)
    try:
        group = OpticsGroup("1", pixel, 4, 1e3 * voltage, 1e7 * aberration, 0.1)
    except SettingsError:
        return ""  # reported later, by name
    part = Aberration("beam tilt", "", odd=beam_tilt(group, tilt, 0.0))
    return f", {math.degrees(largest_turn(group, part)):.3g} degrees at Nyquist ({2 * pixel:.3g} A)"

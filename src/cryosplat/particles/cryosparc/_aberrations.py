"""cryoSPARC's fields of aberrations and magnification, in RELION's terms.

The wave aberration of an exposure group is, in lengths as is usual for aberrations of lenses (Haider
et al., Ultramicroscopy 81, 2000), with ``w = lambda s`` and ``phi`` from the image's x axis,

    tilt_A . (cos phi, sin phi) w^3 + trefoil_A . (cos 3 phi, sin 3 phi) w^3 / 3
    + tetra_A[:2] . (cos 2 phi, sin 2 phi) w^4 + tetra_A[2:] . (cos 4 phi, sin 4 phi) w^4 / 4

times ``2 pi / lambda``. Its fourth-order part acts as Cs does (``Cs w^4 / 4``); the third-order part
has the sign of RELION's beam tilt, and ``tilt_A`` is the product of beam tilt and Cs. cryoSPARC's
guide does not define these fields: factors and angles are those that others found in its output.
``ctf/anisomag`` is the matrix M of RELION less the identity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import CsError
from ...notes import Note, NoteCollector
from ...optics import ISOTROPIC, Optics, OpticsGroup
from ..tables import (
    CRYOSPARC_FIELDS,
    MOST_GROUPS,
    Aberration,
    Effects,
    decimal,
    effect_notes,
    effects_without_ctf,
    in_degrees,
    numbers,
    numbers_if_any,
    unapplied_note,
    unapplied_stretch,
    with_effects,
)
from ._fields import has


def aberration_fields(path: Path, rows: np.ndarray) -> dict[str, NDArray[np.float64]]:
    """The fields of `CRYOSPARC_FIELDS` that are not zero everywhere, (n, 2) or (n, 4) float64."""
    fields = {}
    for name, width in CRYOSPARC_FIELDS.items():
        if not has(rows, name):
            continue
        values = rows[name].reshape(len(rows), -1)
        if values.shape[1] != width:
            raise CsError(
                f"{path}: {name} has {values.shape[1]} numbers per particle, expected {width}.\n"
                f"  Remedy: export the job's particles again."
            )
        columns = [numbers(c, name, str(path), CsError) for c in values.T]
        if np.any(columns):
            fields[name] = np.stack([decimal(c) for c in columns], axis=1)
    return fields


@dataclass(frozen=True, slots=True)
class ExposureGroups:
    """Groups of a table: ``names``, the group ``key`` (n,) of each row as an index of them, the
    ``values`` (n, k) of the fields that all rows of a group share, and those ``left`` that differ
    in too many ways to divide the groups."""

    names: list[str]
    key: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    left: dict[str, NDArray[np.float64]]


def divided_groups(
    names: list[str], key: NDArray[np.int64], values: dict[str, NDArray[np.float64]]
) -> ExposureGroups:
    """The exposure groups ``names``, of which ``key`` (n,) is the index of each row, divided where
    their rows differ in an aberration."""
    table = pd.DataFrame(np.column_stack([key, *values.values()]))
    new = table.groupby(list(table.columns), sort=False).ngroup().to_numpy(np.int64)
    _, first = np.unique(new, return_index=True)
    if values and len(first) > MOST_GROUPS:
        return ExposureGroups(names, key, {}, values)
    return ExposureGroups([names[i] for i in key[first]], new, values, {})


def cryosparc_effects(values: dict[str, NDArray[np.float64]], row: int, group: OpticsGroup,
                      ) -> Effects:  # fmt: skip
    """The effects of the optics group that ``row`` belongs to."""
    third = -2.0 * math.pi * group.wavelength**2 / 3.0
    fourth = 2.0 * math.pi * group.wavelength**3
    parts = []
    for name in (n for n, column in values.items() if np.any(column[row])):
        v = values[name][row].tolist()
        lengths = ", ".join(f"{x:.3g}" for x in v)
        if name == "ctf/tilt_A":
            odd = (2 * third * v[1], 2 * third * v[0], 0.0, third * v[1], third * v[0], 0.0)
            text = f"beam tilt (ctf/tilt_A) of ({lengths}) A{_in_mrad(v, group)}"
            parts.append(Aberration(name, text, odd=odd))
        elif name == "ctf/trefoil_A":
            odd = (0.0, 0.0, third * v[1], 0.0, 0.0, third * v[0])
            parts.append(Aberration(name, f"trefoil (ctf/trefoil_A) of ({lengths}) A", odd=odd))
        elif name == "ctf/tetra_A":
            # s^4 cos 2 phi is a quarter of Z4^2 and three quarters of Z2^2
            a, b, c, d = (0.25 * fourth * x for x in v)
            even = (0.0, 3.0 * b, 0.0, 3.0 * a, d, b, 0.0, a, c)
            parts.append(Aberration(name, f"tetrafoil (ctf/tetra_A) of ({lengths}) A", even=even))
    stretch = values.get("ctf/anisomag")
    matrix = ISOTROPIC
    if stretch is not None:
        a, b, c, d = (np.array(ISOTROPIC) + stretch[row]).tolist()
        matrix = (a, b, c, d)
    return Effects(tuple(parts), magnification=matrix, stretch="ctf/anisomag")


def _in_mrad(tilt: list[float], group: OpticsGroup) -> str:
    cs = group.spherical_aberration
    if cs == 0.0 or max(map(abs, tilt)) > 0.1 * abs(cs):
        return ""
    return " ({:.3g}, {:.3g} mrad)".format(*(1e3 * math.asin(t / cs) for t in tilt))


def with_fields(
    path: Path, rows: np.ndarray, named: ExposureGroups, optics: Optics, first: NDArray[np.int64],
    ctf: bool = True,
) -> tuple[Optics, list[Note]]:  # fmt: skip
    """``optics``, whose groups have the rows ``first``, with the aberrations of their fields, or
    without ``ctf`` their magnification only; notes."""
    notes = NoteCollector()
    lenses = optics if ctf else _with_lenses(path, rows, optics, first)
    pairs = zip(lenses.groups, first.tolist(), strict=True)
    effects = [cryosparc_effects(named.values, row, group) for group, row in pairs]
    if not ctf:
        effects = notes.collect(effects_without_ctf(effects))
    groups = with_effects(optics.groups, effects, str(path), CsError)
    notes.add(*effect_notes(lenses.groups, effects, "" if ctf else " without a CTF"))
    notes.add(*_undefined(effects), *_undivided(named.left, lenses))
    notes.add(*_unapplied(path, rows, optics))
    return replace(optics, groups=groups), list(notes)


def _with_lenses(path: Path, rows: np.ndarray, optics: Optics, first: NDArray[np.int64]) -> Optics:
    """Optics without a CTF, with the table's voltage: aberrations have a size by it."""
    voltage = np.full(len(rows), 300.0)
    if has(rows, "ctf/accel_kv"):
        voltage = numbers(rows["ctf/accel_kv"], "ctf/accel_kv", str(path), CsError)
    groups = (
        replace(group, voltage=1e3 * float(v))
        for group, v in zip(optics.groups, voltage[first], strict=True)
    )
    return replace(optics, groups=tuple(groups))


def _undefined(effects: Sequence[Effects]) -> Iterator[Note]:
    """On fields that cryoSPARC does not define."""
    kinds = {part.kind for effect in effects for part in effect.aberrations}
    names = [name for name in ("ctf/trefoil_A", "ctf/tetra_A") if name in kinds]
    if names:
        text = (
            f"cryoSPARC does not document {' and '.join(names)}; they are interpreted as lengths of "
            f"the wave aberration, which its own output supports."
        )
        yield Note("aberration-undocumented", "note", text)


def _unapplied(path: Path, rows: np.ndarray, optics: Optics) -> Iterator[Note]:
    """Warnings, with the size of the effect, for fields of the CTF that are not modelled."""
    if has(rows, "ctf/shift_A"):
        values = rows["ctf/shift_A"].reshape(len(rows), -1)
        columns = [numbers(c, "ctf/shift_A", str(path), CsError) for c in values.T]
        far = np.sqrt(np.sum(np.square(columns), axis=0)) if columns else np.zeros(len(rows))
        if far.any():
            i = int(far.argmax())
            size = float(optics.of_group("pixel_size")[i])
            text = (
                f"A shift of the CTF (ctf/shift_A) of up to {far[i]:.3g} A is not applied; it "
                f"changes phases by {in_degrees(math.pi * far[i] / size)} degrees at Nyquist "
                f"({2 * size:.3g} A)."
            )
            yield Note("ctf-shift-not-applied", "warning", text)
    if has(rows, "ctf/scale_const"):
        constant = np.abs(numbers_if_any(rows["ctf/scale_const"], 0.0))
        if constant.any():
            text = (
                f"ctf/scale_const of up to {constant.max():.3g} is not applied: cryoSPARC does not "
                f"document it. By its name it is a constant added to the CTF, which reaches 1."
            )
            yield Note("ctf-constant-not-applied", "warning", text)


def _undivided(values: dict[str, NDArray[np.float64]], optics: Optics) -> Iterator[Note]:
    """On aberrations that differ too often from row to row to divide the optics groups."""
    why = f", because it has more than {MOST_GROUPS} values"
    for name, columns in values.items():
        row = int(np.abs(columns).sum(axis=1).argmax())
        group = optics.groups[int(optics.group[row])]
        for part in cryosparc_effects({name: columns}, row, group).aberrations:
            yield unapplied_note(group, part, why)
        if name == "ctf/anisomag":
            yield unapplied_stretch(name, why, float(np.abs(columns).max()))

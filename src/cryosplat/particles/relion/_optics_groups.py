"""The optics groups of a star file: their names, which rows belong to them, and their effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import StarError
from ...optics import Optics
from ..tables import aberrations as _aberrations
from ..tables.aberrations import (
    Effects,
    effect_notes,
    on_images_without_ctf,
    unapplied_note,
    with_effects,
)
from ..tables.star import OPTICS_FIRST, StarTable
from .aberrations import OPTICS_COLUMNS, relion_effects


@dataclass(frozen=True, slots=True)
class TableGroups:
    """Groups of a table: ``names``, the group ``key`` (n,) of each row as an index of them, and the
    columns of the rows that all rows of a group share: ``shared``, and ``left``, which differ in
    too many ways to divide the groups."""

    names: list[str]
    key: NDArray[np.int64]
    shared: list[str]
    left: list[str]


def table_groups(table: StarTable) -> TableGroups:
    """The groups of the optics table.

    Rows of one group that differ in an aberration, as in RELION 3.0, which has no optics table,
    are different groups; unless they are so many that each particle seems to have its own. What the
    optics table says is not taken from the rows: RELION does not either, unlike for the CTF.
    """
    if "rlnOpticsGroupName" in table.optics:
        names = table.optics["rlnOpticsGroupName"].astype(str).tolist()
    elif "rlnOpticsGroup" in table.optics:
        names = [f"opticsGroup{i}" for i in table.optics["rlnOpticsGroup"]]
    else:
        names = ["opticsGroup"] * len(table.optics)
    own = [c for c in OPTICS_COLUMNS if c in table.rows and c not in table.optics]
    if not own:
        return TableGroups(names, table.optics_row, [], [])
    divided = pd.concat(
        [table.rows[own].reset_index(drop=True), pd.Series(table.optics_row)], axis=1
    )
    key = (
        divided.groupby(list(divided.columns), sort=False, dropna=False).ngroup().to_numpy(np.int64)
    )
    _, first = np.unique(key, return_index=True)
    if len(first) > _aberrations.MOST_GROUPS:
        return TableGroups(names, table.optics_row, [], own)
    return TableGroups([names[i] for i in table.optics_row[first]], key, own, [])


def with_table_effects(
    table: StarTable, held: TableGroups, optics: Optics, first: NDArray[np.int64],
    notes: list[str], ctf: bool = True,
) -> Optics:  # fmt: skip
    """``optics``, whose groups have the rows ``first``, with the aberrations, magnification and
    processing that the table gives them: those of the optics table, or else the row's own.

    Images without ``ctf`` get the magnification.
    """
    of_group = table.optics_row[first]
    told = {c: table.optics[c].astype(str).to_numpy()[of_group] for c in OPTICS_COLUMNS
            if c in table.optics}  # fmt: skip
    told |= {c: table.text(c)[first] for c in held.shared}
    lenses = optics if ctf else _with_lenses(table, optics, first)
    effects = [
        relion_effects({c: column[i] for c, column in told.items()}, group, table.where)
        for i, group in enumerate(lenses.groups)
    ]
    if table.tilt_stacks:
        effects = [_extracted(effect) for effect in effects]
    if not ctf:
        effects = on_images_without_ctf(effects, notes)
    groups = with_effects(optics.groups, effects, table.where, StarError)
    notes.extend(effect_notes(lenses.groups, effects, "" if ctf else ", as there is no CTF"))
    notes.extend(_left_notes(table, held, lenses))
    return replace(optics, groups=groups)


def _with_lenses(table: StarTable, optics: Optics, first: NDArray[np.int64]) -> Optics:
    """Optics without a CTF, with the table's voltage and Cs: aberrations have a size by them."""
    voltage = 1e3 * table.numbers_or("rlnVoltage", 300.0)[first]
    cs = 1e7 * table.numbers_or("rlnSphericalAberration", 2.7)[first]
    return replace(optics, groups=tuple(
        replace(group, voltage=float(v), spherical_aberration=float(c))
        for group, v, c in zip(optics.groups, voltage, cs, strict=True)
    ))  # fmt: skip


def _extracted(effect: Effects) -> Effects:
    """The effect on tilt images as RELION 5 extracts them, without their odd aberrations
    (``src/jaz/tomography/programs/subtomo.cpp``)."""
    odd = tuple(part for part in effect.aberrations if part.odd)
    told = "which the extraction of tilt images has corrected already,"
    done = tuple(
        replace(part, text=f"{part.text.rsplit(' ', 1)[0]}, {told} {part.text.rsplit(' ', 1)[1]}")
        for part in odd
    )
    left = tuple(part for part in effect.aberrations if not part.odd)
    return replace(effect, aberrations=left, unused=(*effect.unused, *done))


def unheard_notes(table: StarTable) -> Iterator[str]:
    """Warnings for columns of the rows that say something else than the optics table."""
    own = (*OPTICS_COLUMNS, *OPTICS_FIRST)
    for label in (c for c in own if c in table.rows and c in table.optics):
        rows = _plain(pd.Series(table.rows[label]))
        told = _plain(pd.Series(table.optics[label]))[table.optics_row]
        different = np.flatnonzero(rows != told)
        if len(different):
            i = different[0]
            yield (
                f"warning: {label} of the particle rows is not used where the optics table has it, "
                f"as in RELION; {len(different)} rows differ (row {i + 1} says {rows[i][:40]}, its "
                f"optics group {told[i][:40]})."
            )


def _plain(column: pd.Series) -> NDArray[np.object_]:
    """The words of a column; numbers that are equal are the same word."""
    found = pd.Series(pd.to_numeric(column, errors="coerce"))
    words = column.astype(str)
    return np.where(found.notna(), found.astype(str), words)


def _left_notes(table: StarTable, held: TableGroups, optics: Optics) -> Iterator[str]:
    """What of the columns that could not divide the groups is not applied."""
    if not held.left:
        return
    rows = table.rows[held.left].drop_duplicates()
    some = np.unique(np.linspace(0, len(rows) - 1, _aberrations.MOST_GROUPS).astype(int))
    position = np.flatnonzero(~table.rows[held.left].duplicated().to_numpy())
    why = f", as it has more than {_aberrations.MOST_GROUPS} values"
    largest: dict[str, tuple[float, str]] = {}
    found: list[Effects] = []
    for i in some.tolist():
        group = optics.groups[int(optics.group[position[i]])]
        effect = relion_effects(dict(rows.iloc[i]), group, table.where)
        with_effects([group], [effect], table.where, StarError)
        found.append(effect)
        for part in effect.aberrations:
            turn = _aberrations.largest_turn(group, part)
            if turn > largest.get(part.kind, (-1.0, ""))[0]:
                largest[part.kind] = turn, unapplied_note(group, part, why)
    yield from (note for _, note in largest.values())
    matrices = [e.magnification for e in found]
    far = max(max(abs(s - 1.0) for s in _aberrations.stretches(m)) for m in matrices)
    if far > 0.0:
        yield (
            f"warning: anisotropic magnification (rlnMagMat) is not applied{why}; it reaches "
            f"{100 * far:.2g} %."
        )
    if any(e.processing != "none" for e in found):
        raise StarError(
            f"{table.where}: some images are premultiplied or phase-flipped, but the rows have "
            f"more than {_aberrations.MOST_GROUPS} different aberrations, too many for optics "
            f"groups.\n  Remedy: write the file again with RELION 3.1 or newer."
        )


def groups_table(table: StarTable, held: TableGroups, first: NDArray[np.int64]) -> pd.DataFrame:
    """The columns of the groups whose first rows are ``first``, with the rows' shared ones."""
    groups = table.optics.iloc[table.optics_row[first]].reset_index(drop=True)
    shared = {label: table.rows[label].to_numpy()[first] for label in held.shared}
    return groups.assign(**shared)

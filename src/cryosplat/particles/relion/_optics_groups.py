"""The optics groups of a star file: their names, which rows belong to them, and their effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import StarError
from ...notes import Note, NoteCollector
from ...optics import Optics
from ..tables import (
    MOST_GROUPS,
    Effects,
    effect_notes,
    effects_without_ctf,
    largest_turn,
    stretches,
    unapplied_note,
    unapplied_stretch,
    with_effects,
)
from ._aberrations import OPTICS_COLUMNS, relion_effects
from ._table import OPTICS_FIRST, StarTable


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
    are different groups, unless they are so many that each particle seems to have its own. As in
    RELION, columns of the optics table come first here, unlike for the CTF.
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
    if len(first) > MOST_GROUPS:
        return TableGroups(names, table.optics_row, [], own)
    return TableGroups([names[i] for i in table.optics_row[first]], key, own, [])


def with_table_effects(
    table: StarTable, named: TableGroups, optics: Optics, first: NDArray[np.int64], ctf: bool = True
) -> tuple[Optics, list[Note]]:
    """``optics``, whose groups have the rows ``first``, with the aberrations, magnification and
    processing of the table: those of the optics table, or else the row's own; notes.

    Images without ``ctf`` get the magnification only.
    """
    notes = NoteCollector()
    of_group = table.optics_row[first]
    columns = {c: table.optics[c].astype(str).to_numpy()[of_group] for c in OPTICS_COLUMNS
               if c in table.optics}  # fmt: skip
    columns |= {c: table.text(c)[first] for c in named.shared}
    lenses = optics if ctf else _with_lenses(table, optics, first)
    effects = [
        relion_effects({c: column[i] for c, column in columns.items()}, group, table.where)
        for i, group in enumerate(lenses.groups)
    ]
    if table.tilt_stacks:
        effects = [_after_extraction(effect) for effect in effects]
    if not ctf:
        effects = notes.collect(effects_without_ctf(effects))
    groups = with_effects(optics.groups, effects, table.where, StarError)
    notes.add(*effect_notes(lenses.groups, effects, "" if ctf else " without a CTF"))
    notes.add(*_undivided_notes(table, named, lenses))
    return replace(optics, groups=groups), list(notes)


def _with_lenses(table: StarTable, optics: Optics, first: NDArray[np.int64]) -> Optics:
    """Optics without a CTF, with the table's voltage and Cs: aberrations have a size by them."""
    voltage = 1e3 * table.numbers_or("rlnVoltage", 300.0)[first]
    cs = 1e7 * table.numbers_or("rlnSphericalAberration", 2.7)[first]
    return replace(optics, groups=tuple(
        replace(group, voltage=float(v), spherical_aberration=float(c))
        for group, v, c in zip(optics.groups, voltage, cs, strict=True)
    ))  # fmt: skip


def _after_extraction(effect: Effects) -> Effects:
    """The effect on tilt images as RELION 5 extracts them, without their odd aberrations
    (``src/jaz/tomography/programs/subtomo.cpp``)."""
    corrected = tuple(
        replace(part, text=f"{part.text}, already corrected when the tilt images were extracted")
        for part in effect.aberrations
        if part.odd
    )
    even = tuple(part for part in effect.aberrations if not part.odd)
    return replace(effect, aberrations=even, unused=(*effect.unused, *corrected))


def row_column_notes(table: StarTable) -> Iterator[Note]:
    """Warnings for columns of the rows that differ from those of the optics table."""
    own = (*OPTICS_COLUMNS, *OPTICS_FIRST)
    for label in (c for c in own if c in table.rows and c in table.optics):
        rows = _words(pd.Series(table.rows[label]))
        optics = _words(pd.Series(table.optics[label]))[table.optics_row]
        different = np.flatnonzero(rows != optics)
        if len(different):
            i = different[0]
            yield Note(
                "row-columns-unused", "warning",
                f"{label} of the particle rows is not used, because the optics table has it (as in "
                f"RELION); {len(different)} rows differ (row {i + 1}: {rows[i][:40]}, its optics "
                f"group: {optics[i][:40]}).",
                "Remove the column from one of the two tables.",
            )  # fmt: skip


def _words(column: pd.Series) -> NDArray[np.object_]:
    """The words of a column; numbers that are equal are the same word."""
    values = pd.Series(pd.to_numeric(column, errors="coerce"))
    words = column.astype(str)
    return np.where(values.notna(), values.astype(str), words)


def _undivided_notes(table: StarTable, named: TableGroups, optics: Optics) -> Iterator[Note]:
    """On columns that differ too often to divide the groups, and are not applied."""
    if not named.left:
        return
    rows = table.rows[named.left].drop_duplicates()
    some = np.unique(np.linspace(0, len(rows) - 1, MOST_GROUPS).astype(int))
    position = np.flatnonzero(~table.rows[named.left].duplicated().to_numpy())
    why = f", because it has more than {MOST_GROUPS} values"
    largest: dict[str, tuple[float, Note]] = {}
    effects: list[Effects] = []
    for i in some.tolist():
        group = optics.groups[int(optics.group[position[i]])]
        effect = relion_effects(dict(rows.iloc[i]), group, table.where)
        with_effects([group], [effect], table.where, StarError)
        effects.append(effect)
        for part in effect.aberrations:
            turn = largest_turn(group, part)
            if part.kind not in largest or turn > largest[part.kind][0]:
                largest[part.kind] = turn, unapplied_note(group, part, why)
    yield from (note for _, note in largest.values())
    far = max(max(abs(s - 1.0) for s in stretches(e.magnification)) for e in effects)
    if far > 0.0:
        yield unapplied_stretch("rlnMagMat", why, far)
    if any(e.processing != "none" for e in effects):
        raise StarError(
            f"{table.where}: some images are premultiplied or phase-flipped, but the rows have "
            f"more than {MOST_GROUPS} different aberrations, too many for optics groups.\n"
            f"  Remedy: write the file again with RELION 3.1 or newer."
        )


def groups_table(table: StarTable, named: TableGroups, first: NDArray[np.int64]) -> pd.DataFrame:
    """The columns of the groups whose first rows are ``first``, with the rows' shared ones."""
    groups = table.optics.iloc[table.optics_row[first]].reset_index(drop=True)
    shared = {label: table.rows[label].to_numpy()[first] for label in named.shared}
    return groups.assign(**shared)

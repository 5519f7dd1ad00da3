"""A corrected table: the corrections that the findings recommend, with a note on each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError
from ..notes import Note
from ..particles import Particles, write_particles
from ._stacks import duplicate_rows
from .checks import CheckResult
from .readings import IGNORED

# Alarms on rows that are not in the corrected file.
_DROPPED = (
    "stacks-missing", "stacks-unreadable", "stacks-ambiguous", "sections-missing",
    "images-unreadable", "images-nan", "images-constant", "duplicates-across-half-sets",
)  # fmt: skip


def check_target(out: Path, source: Path, overwrite: bool) -> None:
    """Raise `OutputError` where ``out`` is no place for a corrected star file."""
    if out.suffix.lower() != ".star":
        raise OutputError(
            f"--fix {out}: a corrected table is written as a .star file (RELION 3.1).\n"
            f"  Remedy: --fix {out.with_suffix('.star')}; cryosplat convert writes other formats."
        )
    if out.exists() and source.exists() and out.samefile(source):
        raise OutputError(f"--fix {out}: would replace the file it is made from; choose another.")
    if out.exists() and not overwrite:
        raise OutputError(f"--fix {out}: exists.\n  Remedy: choose another name, or --overwrite.")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"--fix {out}: there is no folder {out.absolute().parent}.")


def write_fixed(
    particles: Particles, out: Path, result: CheckResult, drop: bool
) -> tuple[int, list[Note]]:
    """Write the particles with the corrections of a check; returns how many, and a note on each
    correction and on the alarms that remain.

    Duplicates are dropped, and rows without a usable image if ``drop``. Raises `InputError` where
    such rows would stay, because the file could not be read, where no row is left, and where the
    images have another box than the table, because its other columns then belong to other images.
    """
    changes, useless = [], result.useless
    alarms = result.report.codes("alarm")
    if "box-size-table" in alarms:
        raise InputError(
            f"{particles.source}: the images have another box size than the table, so its poses and "
            f"pixel size belong to other images; no corrected file is written.\n"
            f"  Remedy: use the file that was written with these stacks."
        )
    if useless.any() and not drop:
        raise InputError(
            f"{particles.source}: {int(useless.sum()):,} rows have no usable image, and would have "
            f"none in {out}.\n  Remedy: add --drop-missing to drop them, or --datadir FOLDER if "
            f"their stacks are elsewhere."
        )
    if useless.any():
        text = f"{int(useless.sum()):,} rows without a usable image dropped"
        changes.append(Note("rows-dropped", "note", text))
    kept = particles[~useless]
    again = duplicate_rows(kept)
    if again.any():
        text = f"{int(again.sum()):,} duplicates dropped, the first of each kept"
        changes.append(Note("duplicates-dropped", "note", text))
        kept = kept[~again]
    if not len(kept):
        raise InputError(f"{particles.source}: no row would be left in {out}.")
    corrected: set[str] = set(_DROPPED)
    for reading in result.readings:
        # with another fault this may be its echo, and shifts that are removed cannot be restored
        if reading.correction and not (reading.code == IGNORED and len(result.readings) > 1):
            kept = reading.apply(kept)
            changes.append(Note(reading.code, "note", reading.correction))
            corrected.add(reading.code)
    kept, n_paths = _with_actual_paths(kept)
    if n_paths:
        text = f"paths of {n_paths:,} stacks replaced by the actual ones"
        changes.append(Note("paths-corrected", "note", text))
    write_particles(kept, out)
    if remaining := sorted(alarms - corrected):
        text = f"not corrected, and still an alarm: {', '.join(remaining)}"
        changes.append(Note("alarms-remaining", "warning", text))
    return len(kept), changes


def _with_actual_paths(particles: Particles) -> tuple[Particles, int]:
    """The particles with the names of their actual stacks, and how many differ from the table."""
    images = particles.images
    names = particles.names.copy()
    present, first = np.unique(images.stack, return_index=True)
    changed = 0
    for number, row in zip(present, first, strict=True):
        named = Path(str(names[row]).rpartition("@")[2])
        actual = images.stacks[number].path
        if actual.parts[-len(named.parts) :] == named.parts:
            continue
        respelled = named.with_suffix(actual.suffix)
        relative = actual.parts[-len(respelled.parts) :] == respelled.parts
        file = str(respelled if relative else actual)
        members = images.stack == number
        names[members] = [f"{s + 1:06d}@{file}" for s in images.section[members]]
        changed += 1
    return replace(particles, names=names), changed

"""A corrected table: what the findings recommend, done, and told change by change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError
from ..particles import Particles, write_particles
from ._stacks import duplicated
from .checks import Checked
from .readings import IGNORED

# Alarms on rows that are not in the corrected file.
_GONE = (
    "stacks-missing", "stacks-unreadable", "stacks-ambiguous", "sections-missing",
    "images-unreadable", "images-nan", "images-constant", "duplicates-across-half-sets",
)  # fmt: skip


def check_target(out: Path, source: Path, overwrite: bool) -> None:
    """Raise `OutputError` where ``out`` is no place for a corrected star file."""
    if out.suffix.lower() != ".star":
        raise OutputError(
            f"--fix {out}: a corrected table is written as a .star file (RELION 3.1).\n"
            f"  Remedy: --fix {out.with_suffix('.star')}; cryosplat convert makes other files of it."
        )
    if out.exists() and source.exists() and out.samefile(source):
        raise OutputError(f"--fix {out}: would replace the file it is made from; choose another.")
    if out.exists() and not overwrite:
        raise OutputError(f"--fix {out}: exists.\n  Remedy: choose another name, or --overwrite.")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"--fix {out}: there is no folder {out.absolute().parent}.")


def write_fixed(
    particles: Particles, out: Path, checked: Checked, drop: bool
) -> tuple[int, list[str]]:
    """Write the particles with what was ``checked`` corrected; returns how many, and each change in
    words, with the alarms that stand.

    Duplicates go, and rows without a usable image if ``drop``. Raises `InputError` where these would
    stay, for the file could not be read, where nothing is left, and where the images have another
    box than the table, for what else the table says is then of other images.
    """
    changes, useless = [], checked.useless
    alarms = checked.report.codes("alarm")
    if "box-size-table" in alarms:
        raise InputError(
            f"{particles.source}: the images have another box than the table says, so they are not "
            f"those that its poses and pixel size belong to; no corrected file is written.\n"
            f"  Remedy: take the file that was written with these stacks."
        )
    if useless.any() and not drop:
        raise InputError(
            f"{particles.source}: {int(useless.sum()):,} rows have no usable image, and would have "
            f"none in {out}.\n  Remedy: add --drop-missing to leave them out, or --datadir FOLDER "
            f"where their stacks are elsewhere."
        )
    if useless.any():
        changes.append(f"{int(useless.sum()):,} rows without a usable image are left out")
    kept = particles[~useless]
    again = duplicated(kept)
    if again.any():
        changes.append(f"{int(again.sum()):,} duplicates are left out, the first of each stays")
        kept = kept[~again]
    if not len(kept):
        raise InputError(f"{particles.source}: no row would be left in {out}.")
    done: set[str] = set(_GONE)
    for reading in checked.readings:
        # beside another fault this may be its echo, and shifts that are gone are gone
        if reading.changed and not (reading.code == IGNORED and len(checked.readings) > 1):
            kept = reading.applied(kept)
            changes.append(reading.changed)
            done.add(reading.code)
    kept, respelled = _with_found_paths(kept)
    if respelled:
        changes.append(f"the paths of {respelled:,} stacks are those that were found")
    write_particles(kept, out)
    if standing := sorted(alarms - done):
        changes.append(f"not corrected, and still an alarm: {', '.join(standing)}")
    return len(kept), changes


def _with_found_paths(particles: Particles) -> tuple[Particles, int]:
    """The particles with the names of the files that were found, where the table has others."""
    images = particles.images
    names = particles.names.copy()
    present, first = np.unique(images.stack, return_index=True)
    changed = 0
    for number, row in zip(present, first, strict=True):
        named = Path(str(names[row]).rpartition("@")[2])
        found = images.stacks[number].path
        if found.parts[-len(named.parts) :] == named.parts:
            continue
        beside = named.with_suffix(found.suffix)
        file = str(beside if found.parts[-len(beside.parts) :] == beside.parts else found)
        mine = images.stack == number
        names[mine] = [f"{s + 1:06d}@{file}" for s in images.section[mine]]
        changed += 1
    return replace(particles, names=names), changed

"""A corrected table: what the findings recommend, done, and told change by change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..particles import Particles, write_particles
from ._stacks import duplicated
from .readings import Reading


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
    particles: Particles, out: Path, readings: Sequence[Reading], useless: NDArray[np.bool_],
    drop: bool,
) -> tuple[int, list[str]]:  # fmt: skip
    """Write the particles with ``readings`` applied; returns how many, and each change in words.

    Duplicates go. ``useless`` (n,): rows without a usable image, which go too if ``drop``. Raises
    `InputError` where they would stay, for the file could not be read, and where nothing is left.
    """
    changes = []
    if useless.any() and not drop:
        raise InputError(
            f"{particles.source}: {int(useless.sum()):,} rows have no usable image, and would have "
            f"none in {out}.\n  Remedy: add --drop-missing to leave them out, or --datadir FOLDER "
            f"where their stacks are elsewhere."
        )
    if useless.any():
        changes.append(f"{int(useless.sum()):,} rows without a usable image are left out")
    kept = particles.select(~useless)
    again = duplicated(kept)
    if again.any():
        changes.append(f"{int(again.sum()):,} duplicates are left out, the first of each stays")
        kept = kept.select(~again)
    if not len(kept):
        raise InputError(f"{particles.source}: no row would be left in {out}.")
    for reading in readings:
        if reading.changed:
            kept = reading.applied(kept)
            changes.append(reading.changed)
    kept, respelled = _with_found_paths(kept)
    if respelled:
        changes.append(f"the paths of {respelled:,} stacks are those that were found")
    write_particles(kept, out)
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

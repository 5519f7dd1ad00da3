"""``cryosplat classify``: particles into classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.table import Table

from ..errors import SettingsError
from ..grid import Grid
from ..report.wording import reached_by
from ..run_folder import RunFolder
from ..run_folder.states import write_classes
from ..states import (
    MOST_CLASSES,
    StateSettings,
    classify,
    voxel_states,
    whole_images,
)
from ._console import plain_console
from ._state_options import StateFiles
from ._state_run import state_run
from ._state_tables import print_verdict


def run_classify(
    files: StateFiles,
    out: Path,
    settings: StateSettings,
    number: str,
    threads: int | None,
    overwrite: bool,
    resume: bool,
) -> RunFolder:
    """Classify ``files`` into the run folder ``out``; ``number``: of classes, or "auto"."""
    classes, asked = _classes(number), {"classes": number}
    with state_run(files, out, settings, asked, threads, overwrite, resume) as under_way:
        progress = under_way.progress
        found = classify(
            under_way.particles, settings, progress, classes=classes, journal=under_way.journal
        )
        sign, halves = found.prepared.polarity.sign, found.prepared.particles
        whole, noise = whole_images(halves, progress)
        weights = np.column_stack([found.own_weights(), 1.0 - found.states.absent])
        *maps, every = voxel_states(whole, weights, sign, noise, progress)
        grid, folder = Grid(whole.box_size, whole.pixel_size), under_way.folder
        run = under_way.reported(write_classes(folder, found, grid, maps, every, under_way.seconds))
    _print(run)
    return run


def _classes(number: str) -> int | None:
    if number == "auto":
        return None
    if not number.isdigit() or not 1 <= int(number) <= MOST_CLASSES:
        raise SettingsError(f"--classes {number}: expected 1 to {MOST_CLASSES}, or auto.")
    return int(number)


def _print(run: RunFolder) -> None:
    states = run.read_summary().states
    assert states is not None
    print_verdict(
        run, "One class, as asked for" if states.n == 1 and states.found else f"{states.n} classes"
    )
    console, table = plain_console(), Table(box=None, pad_edge=False)
    for title in ("class", "particles", "share", "FSC 0.143"):
        table.add_column(title, justify="right")
    rows = zip(states.counts, states.shares, states.resolutions, strict=True)
    for j, (count, share, reached) in enumerate(rows):
        told = reached_by(reached, run.read_summary().pixel_size)
        table.add_row(str(j + 1), f"{count:,}", f"{100 * (share or 0.0):.1f} %", told)
    console.print(table)
    if states.further:
        console.print(states.further)
    console.print(f"\nClasses    {run.classes}")
    console.print(f"Particles  {run.particles}")
    console.print(f"Report     {run.report}")

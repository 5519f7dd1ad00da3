"""``cryosplat classify``: particles into classes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from rich.table import Table

from ..errors import SettingsError
from ..grid import Grid
from ..run_folder import RunFolder
from ..run_folder.states import write_classes
from ..states import (
    MOST_CLASSES,
    StateSettings,
    classify,
    state_journal,
    voxel_states,
    whole_images,
)
from ._console import console_progress, plain_console
from ._reconstruct import check_checkpoint
from ._report import draw_report
from ._state_options import StateFiles
from ._state_tables import print_verdict
from ._threads import use_threads


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
    classes, begin = _classes(number), time.perf_counter()
    use_threads(threads)
    with RunFolder.create(out, overwrite) as folder:
        check_checkpoint(folder.checkpoint, resume, overwrite)
        particles = files.read()
        with console_progress(folder.log) as progress:
            journal = state_journal(
                folder.checkpoint, particles, settings, {"classes": number}, progress
            )
            found = classify(particles, settings, progress, classes=classes, journal=journal)
            sign, halves = found.prepared.polarity.sign, found.prepared.particles
            whole, noise = whole_images(halves, progress)
            weights = np.column_stack([found.own_weights(), 1.0 - found.states.absent])
            *maps, every = voxel_states(whole, weights, sign, noise, progress)
            grid = Grid(whole.box_size, whole.pixel_size)
            seconds = time.perf_counter() - begin
            run = write_classes(folder, found, grid, maps, every, seconds)
            with progress.stage("writing the report", None, "files"):
                draw_report(run, progress.warn)
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
    print_verdict(run, f"{states.n} classes" if states.n > 1 else "1 class")
    console, table = plain_console(), Table(box=None, pad_edge=False)
    for title in ("class", "particles", "share", "Å at FSC 0.143"):
        table.add_column(title, justify="right")
    rows = zip(states.counts, states.shares, states.resolutions, strict=True)
    for j, (count, share, reached) in enumerate(rows):
        told = "none" if reached is None else f"{reached:.1f}"
        table.add_row(str(j + 1), f"{count:,}", f"{100 * (share or 0.0):.1f} %", told)
    console.print(table)
    console.print(f"\nClasses    {run.classes}")
    console.print(f"Particles  {run.particles}")
    console.print(f"Report     {run.report}")

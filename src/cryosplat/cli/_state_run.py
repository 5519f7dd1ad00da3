"""What ``classify`` and ``motion`` have in common: a folder, its journal, the clock, the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..fitting import Journal
from ..particles import Particles
from ..progress import Progress
from ..run_folder import RunFolder
from ..states import StateSettings, state_journal
from ._console import console_progress
from ._reconstruct import check_checkpoint
from ._report import draw_report
from ._state_options import StateFiles
from ._threads import use_threads

Work = Callable[[RunFolder, Particles, Journal, Progress, Callable[[], float]], RunFolder]
"""Learns states and writes them to the folder; the last argument tells the seconds since the start."""


def run_states(
    files: StateFiles,
    out: Path,
    settings: StateSettings,
    asked: dict[str, object],
    work: Work,
    threads: int | None,
    overwrite: bool,
    resume: bool,
) -> RunFolder:
    """Do the ``work`` on ``files`` in the folder ``out``; ``asked``: what else a checkpoint is of."""
    begin = time.perf_counter()
    use_threads(threads)
    with RunFolder.create(out, overwrite) as folder:
        check_checkpoint(folder.checkpoint, resume, overwrite)
        particles = files.read()
        with console_progress(folder.log) as progress:
            journal = state_journal(folder.checkpoint, particles, settings, asked, progress)
            run = work(folder, particles, journal, progress, lambda: time.perf_counter() - begin)
            with progress.stage("writing the report", None, "files"):
                draw_report(run, progress.warn)
    return run

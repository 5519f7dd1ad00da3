"""What ``classify`` and ``motion`` have in common: a folder, its journal, the clock, the report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..estimate import expected_states
from ..fitting import Journal
from ..particles import Particles
from ..progress import REPORTING, Progress
from ..run_folder import RunFolder
from ..states import StateSettings, state_journal
from ._console import console_progress
from ._reconstruct import check_checkpoint
from ._report import draw_report
from ._state_options import StateFiles
from ._threads import use_threads


@dataclass(frozen=True, slots=True)
class StateRun:
    """A run under way, which ``began`` at a time of `time.perf_counter`."""

    folder: RunFolder
    particles: Particles
    journal: Journal
    progress: Progress
    began: float

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self.began

    def reported(self, run: RunFolder) -> RunFolder:
        """The finished ``run``, with its report."""
        with self.progress.stage(REPORTING, None, "files"):
            draw_report(run, self.progress.warn)
        return run


@contextmanager
def state_run(
    files: StateFiles, out: Path, settings: StateSettings, asked: Mapping[str, object],
    threads: int | None, overwrite: bool, resume: bool,
) -> Iterator[StateRun]:  # fmt: skip
    """Run on ``files`` in the folder ``out``; ``asked``: what else a checkpoint is of."""
    began = time.perf_counter()
    threads = use_threads(threads)
    with RunFolder.create(out, overwrite) as folder:
        check_checkpoint(folder.checkpoint, resume, overwrite)
        particles = files.read()
        with console_progress(folder.log) as progress:
            progress.expect(expected_states(
                len(particles), particles.box_size, threads, settings.starts, "coordinates" in asked
            ))  # fmt: skip
            journal = state_journal(folder.checkpoint, particles, settings, asked, progress)
            yield StateRun(folder, particles, journal, progress, began)

"""``cryosplat reconstruct``: look at the particles, say what it will cost, run, tell the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..estimate import expected_cost
from ..particles import Particles, read_particles
from ..reconstruction import Reconstruction, reconstruct
from ..report.run import finish_run
from ..run_folder import RunFolder
from ..settings import ReconstructionSettings
from ._console import console_progress
from ._tables import print_preflight, print_result
from ._threads import use_threads


@dataclass(frozen=True, slots=True)
class ParticleFiles:
    """The particles, and what their file does not say itself."""

    particles: Path
    datadir: Path | None = None
    poses: tuple[Path, ...] = ()
    ctf: Path | None = None
    pixel_size: float | None = None

    def read(self) -> Particles:
        """The particles; no pixel is read."""
        ctf = "none" if self.ctf is not None and str(self.ctf) == "none" else self.ctf
        return read_particles(
            self.particles, datadir=self.datadir, poses=self.poses or None, ctf=ctf,
            pixel_size=self.pixel_size,
        )  # fmt: skip


def run_reconstruct(
    files: ParticleFiles,
    out: Path,
    settings: ReconstructionSettings,
    threads: int | None,
    overwrite: bool,
) -> RunFolder:
    """Reconstruct ``files`` into the run folder ``out``."""
    threads = use_threads(threads)
    with RunFolder.create(out, overwrite) as folder:
        particles = files.read()
        cost = expected_cost(len(particles), particles.box_size, threads)
        print_preflight(particles, cost, threads)
        folder.check_space(cost.disk)
        reconstruct_into(folder, particles, settings)
        run = folder.commit()
    print_result(run)
    return run


def reconstruct_into(
    folder: RunFolder,
    particles: Particles,
    settings: ReconstructionSettings,
    compare: Callable[[Reconstruction], None] = lambda result: None,
) -> Reconstruction:
    """Run the recipe with progress on the terminal, then complete the folder with its report.

    ``compare`` may add to the result what only the caller knows.
    """
    with console_progress(folder.log) as progress:
        result = reconstruct(particles, settings, folder, progress)
        compare(result)
        finish_run(folder, result, settings, particles.source, progress, progress.warnings)
    return result

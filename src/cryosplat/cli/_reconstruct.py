"""``cryosplat reconstruct``: look at the particles, say what it will cost, run, tell the result."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..errors import OutputError
from ..estimate import expected_cost
from ..io.checkpoint import CheckpointFile
from ..particles import Particles, Selection, StackFaults, downsampled, read_particles
from ..progress import Progress
from ..reconstruction import reconstruct
from ..run_folder import RunFolder, read_start, write_run
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
    alignment_class: int | None = None
    selection: Selection = field(default_factory=Selection)
    downsample: int | None = None

    def read(self, faults: StackFaults | None = None) -> Particles:
        """The particles that are selected; no pixel is read. ``faults`` as `read_particles`."""
        ctf = "none" if self.ctf is not None and str(self.ctf) == "none" else self.ctf
        particles = read_particles(
            self.particles, datadir=self.datadir, poses=self.poses or None, ctf=ctf,
            pixel_size=self.pixel_size, alignment_class=self.alignment_class, faults=faults,
        )  # fmt: skip
        particles = self.selection.apply(particles)
        return particles if self.downsample is None else downsampled(particles, self.downsample)


def run_reconstruct(
    files: ParticleFiles,
    out: Path,
    settings: ReconstructionSettings,
    threads: int | None,
    overwrite: bool,
    resume: bool = False,
) -> RunFolder:
    """Reconstruct ``files`` into the run folder ``out``; with ``resume`` from its checkpoint."""
    threads = use_threads(threads)
    with RunFolder.create(out, overwrite) as folder:
        _check_checkpoint(folder.checkpoint, resume, overwrite)
        particles = files.read()
        cost = expected_cost(len(particles), particles.box_size, threads, settings.symmetry)
        print_preflight(particles, cost, threads)
        folder.check_space(cost.disk)
        run = reconstruct_into(folder, particles, settings)
    print_result(run)
    return run


def _check_checkpoint(checkpoint: Path, resume: bool, overwrite: bool) -> None:
    """Go on, or begin anew, but never by accident; raises `OutputError`."""
    if resume and not checkpoint.exists():
        raise OutputError(
            f"{checkpoint}: does not exist, so there is nothing to resume.\n"
            f"  Remedy: leave --resume out. Checkpoints are written once the fits have begun."
        )
    if checkpoint.exists() and not resume:
        if not overwrite:
            raise OutputError(
                f"{checkpoint}: a run of this name was broken off and left its checkpoint.\n"
                f"  Remedy: add --resume to go on from it, or --overwrite to begin anew."
            )
        checkpoint.unlink()


def reconstruct_into(
    folder: RunFolder,
    particles: Particles,
    settings: ReconstructionSettings,
    truth: Tensor | None = None,
) -> RunFolder:
    """Run the recipe with progress on the terminal; returns the finished run, with its report."""
    start = read_start(settings)
    with console_progress(folder.log) as progress:
        if start is not None:
            progress.say(f"Starting from the Gaussians of {settings.start}.")
        checkpoint = CheckpointFile(folder.checkpoint)
        result = reconstruct(particles, settings, progress, start=start, checkpoint=checkpoint)
        run = write_run(folder, result, truth)
        draw_report(run, progress)
    return run


def draw_report(run: RunFolder, progress: Progress) -> None:
    """Draw what a run looks like; where that fails the run is complete nevertheless.

    The user's matplotlib settings, fonts and LaTeX have a say in it, and none of them is worth the
    maps.
    """
    try:
        with progress.stage("writing the report", None, "files"):
            from ..report.run import write_report

            write_report(run)
    except Exception as error:
        progress.warn(
            f"The run is complete, but its report could not be drawn ({type(error).__name__}: "
            f"{error}). Remedy: cryosplat report {shlex.quote(str(run.path))}"
        )

"""``cryosplat reconstruct``: look at the particles, say what it will cost, run, tell the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer
from torch import Tensor

from ..errors import OutputError
from ..estimate import Cost, Forecast, expected_cost
from ..io.checkpoint import CheckpointFile
from ..notes import Note
from ..particles import Particles, downsampled
from ..poses import Poses
from ..progress import REPORTING
from ..reconstruction import reconstruct, refine
from ..run_folder import RunFolder, read_places, read_start, write_run
from ..settings import ReconstructionSettings, RefinementSettings
from ._abinit import with_found_poses
from ._console import console_progress
from ._outcome import ALARM
from ._particle_files import ParticleFiles
from ._report import draw_report
from ._tables import print_preflight, print_result
from ._threads import use_threads

ROUNDS = 3  # of a refinement, after which it has mostly ended by itself


def run_reconstruct(
    files: ParticleFiles,
    downsample: int | None,
    out: Path,
    settings: ReconstructionSettings,
    threads: int | None,
    overwrite: bool,
    resume: bool = False,
    abinit: bool = False,
    refinement: RefinementSettings | None = None,
    find_symmetry: bool = False,
) -> RunFolder:
    """Reconstruct ``files`` into the run folder ``out``; with ``resume`` from its checkpoint.

    ``abinit``: poses and half-sets are found first, none of the table's are read, and the
    ``refinement`` is as this search says; so is the point group with ``find_symmetry``. With a
    ``refinement`` poses are refined before the reconstruction.

    Exits with 1 where an alarm was raised: the run is complete, but not to be trusted unread.
    """
    threads = use_threads(threads)
    with RunFolder.create(out, overwrite) as folder:
        checkpoints = [folder.poses_checkpoint] if abinit else []
        checkpoints += [folder.refinement_checkpoint] if abinit or refinement is not None else []
        _check_checkpoints([*checkpoints, folder.checkpoint], resume, overwrite)
        others: tuple[Poses, ...] = ()
        if abinit:
            found = with_found_poses(files, folder, settings, threads, find_symmetry)
            particles, others, refinement = found.particles, found.others, found.refinement
            if find_symmetry:
                settings = replace(settings, symmetry=found.symmetry)
        else:
            particles = files.read()
            if refinement is not None and refinement.prior == "none":
                others = read_places(files.particles, particles.poses)
        particles = particles if downsample is None else downsampled(particles, downsample)
        rounds = 0 if refinement is None else min(refinement.rounds, ROUNDS)
        cost = expected_cost(len(particles), particles.box_size, threads, settings, rounds)
        print_preflight(particles, cost, threads)
        folder.check_space(cost.disk)
        run, notes = reconstruct_into(folder, particles, settings, cost, None, refinement, others)
    print_result(run, notes)
    if any(note.severity == "alarm" for note in run.read_summary().notes or []):
        raise typer.Exit(ALARM)
    return run


def check_checkpoint(checkpoint: Path, resume: bool, overwrite: bool) -> None:
    """Go on, or begin anew, but never by accident; raises `OutputError`."""
    _check_checkpoints([checkpoint], resume, overwrite)


def _check_checkpoints(checkpoints: Sequence[Path], resume: bool, overwrite: bool) -> None:
    """Those of the parts of a run, which may have been broken off in any of them."""
    left = [checkpoint for checkpoint in checkpoints if checkpoint.exists()]
    if resume and not left:
        raise OutputError(
            f"{checkpoints[-1]}: does not exist, so there is nothing to resume.\n"
            f"  Remedy: leave --resume out. Checkpoints are written once the fits have begun."
        )
    if left and not resume:
        if not overwrite:
            raise OutputError(
                f"{left[0]}: a run of this name was broken off and left its checkpoint.\n"
                f"  Remedy: add --resume to go on from it, or --overwrite to begin anew."
            )
        for checkpoint in left:
            checkpoint.unlink()


def reconstruct_into(
    folder: RunFolder,
    particles: Particles,
    settings: ReconstructionSettings,
    cost: Cost,
    truth: Tensor | None = None,
    refinement: RefinementSettings | None = None,
    others: Sequence[Poses] = (),
) -> tuple[RunFolder, list[Note]]:
    """Run the recipe with progress on the terminal.

    Returns the finished run, with its report, and the warnings that the terminal has not shown.
    """
    start = read_start(settings)
    with console_progress(folder.log, Forecast(cost)) as progress:
        if start is not None:
            progress.say(f"Starting from the Gaussians of {settings.start}.")
        refined = None
        if refinement is not None:
            checkpoint = CheckpointFile(folder.refinement_checkpoint)
            refined = refine(
                particles, settings, refinement, progress, others=others, checkpoint=checkpoint,
                show=folder.grow,
            )  # fmt: skip
            particles = refined.particles
        checkpoint = CheckpointFile(folder.checkpoint)
        result = reconstruct(particles, settings, progress, start=start, checkpoint=checkpoint)
        run = write_run(folder, result, truth, refined)
        with progress.stage(REPORTING, None, "files"):
            draw_report(run, progress.warn)
        return run, progress.unsaid(run.read_summary().notes or [])

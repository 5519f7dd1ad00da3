"""``cryosplat abinit``: poses from nothing, the map that comes with them, and a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import DeviceName
from ._particle_files import ParticleFiles

if TYPE_CHECKING:
    from ..abinitio import AbinitSettings, FoundPoses
    from ..estimate import Forecast
    from ..particles import Particles
    from ..progress import Progress
    from ..run_folder import RunFolder
    from ..settings import ReconstructionSettings

_option = partial(typer.Option, rich_help_panel="Ab initio")


@dataclass(frozen=True, slots=True)
class AbinitOptions:
    """How poses are sought, as options."""

    starts: Annotated[
        int, _option(metavar="N", help="Maximum number of random starts; the best is continued.")
    ] = 3
    shift: Annotated[
        float | None,
        _option(
            metavar="Å",
            help="Expected offset of particles from the centre of their images (standard deviation "
            "along each axis). Default: 8 Å, or 4 % of the box if that is more.",
        ),
    ] = None
    hand: Annotated[
        str,
        _option(
            metavar="as-found|flip",
            help="Handedness, which images cannot determine; 'flip' gives the mirror image.",
        ),
    ] = "as-found"

    symmetry: Annotated[
        str,
        _option(
            metavar="C1|auto|D7...",
            help="'auto' searches for a point group, a name for the axes of that group; map and poses "
            "are aligned to RELION's axes.",
        ),
    ] = "C1"

    def settings(self, seed: int, dark: bool | None, device: DeviceName | None) -> AbinitSettings:
        """The settings; raises `SettingsError`."""
        from ..abinitio import AbinitSettings
        from ..errors import SettingsError

        if self.hand not in ("as-found", "flip"):
            raise SettingsError(f"--hand {self.hand}: expected 'as-found' or 'flip'.")
        return AbinitSettings(
            symmetry=self.symmetry, device=device or "auto",
            seed=seed, starts=self.starts, carried=min(2, self.starts), shift=self.shift,
            contrast=None if dark is None else "dark" if dark else "bright", flip=self.hand == "flip",
        )  # fmt: skip


def run_abinit(
    files: ParticleFiles, out: Path, settings: AbinitSettings, threads: int | None,
    overwrite: bool, resume: bool,
) -> RunFolder:  # fmt: skip
    """Find the poses of ``files`` and write them, with maps and a report, into ``out``.

    Exits with 1 where there is no structure.
    """
    from ..run_folder import RunFolder, write_found_poses
    from ._console import console_progress
    from ._outcome import ALARM
    from ._reconstruct import check_checkpoint
    from ._report import draw_report
    from ._tables import print_found_poses
    from ._threads import use_threads

    threads = use_threads(threads)
    with RunFolder.create(out, overwrite) as folder:
        check_checkpoint(folder.poses_checkpoint, resume, overwrite)
        particles, forecast = _begun(files, folder, settings, threads)
        with console_progress(folder.log, forecast) as progress:
            found = _poses_of(particles, folder, settings, progress)
            run = write_found_poses(folder, found)
            with progress.stage("writing the report", None, "files"):
                draw_report(run, progress.warn)
    print_found_poses(run)
    if not found.found:
        raise typer.Exit(ALARM)
    return run


def with_found_poses(
    files: ParticleFiles, folder: RunFolder, settings: ReconstructionSettings, threads: int,
    find_symmetry: bool,
) -> FoundPoses:  # fmt: skip
    """Poses from nothing, for a refinement and a reconstruction, which are also written.

    In the point group of ``settings``, or in one that is searched for.

    Exits with 1 where there is no structure.
    """
    from ..abinitio import AbinitSettings
    from ..particles import write_particles
    from ..progress import tell
    from ._console import console_progress
    from ._outcome import ALARM

    contrast = None if settings.contrast == "auto" else settings.contrast
    symmetry = "auto" if find_symmetry else settings.symmetry
    wanted = AbinitSettings(
        seed=settings.seed, contrast=contrast, symmetry=symmetry, device=settings.device
    )
    particles, forecast = _begun(files, folder, wanted, threads)
    with console_progress(folder.log, forecast) as progress:
        found = _poses_of(particles, folder, wanted, progress)
        for note in found.notes:
            tell(progress, note)
    if not found.found:
        raise typer.Exit(ALARM)
    write_particles(found.particles, folder.particles)
    return found


def _begun(
    files: ParticleFiles, folder: RunFolder, settings: AbinitSettings, threads: int
) -> tuple[Particles, Forecast]:
    """The particles, none of whose poses are read, and what is said of the time."""
    from ..abinitio import search_cost
    from ..estimate import Forecast
    from ._tables import print_preflight

    particles = replace(files, poses=[Path("none")]).read()
    cost = search_cost(len(particles), particles.box_size, threads, settings)
    print_preflight(particles, cost, threads, "a random split, written to particles.star")
    folder.check_space(cost.disk)
    return particles, Forecast(cost)


def _poses_of(
    particles: Particles, folder: RunFolder, settings: AbinitSettings, progress: Progress
) -> FoundPoses:
    """The poses of ``particles``; levels are kept beside ``folder``."""
    from ..abinitio import find_poses
    from ..io.checkpoint import CheckpointFile

    for note in particles.notes:
        progress.say(str(note))
    checkpoint = CheckpointFile(folder.poses_checkpoint)
    return find_poses(particles, settings, progress, checkpoint, folder.grow)

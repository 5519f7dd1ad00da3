"""``cryosplat motion``: how a molecule moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import SettingsError
from ..grid import Grid
from ..report.wording import reached_by
from ..run_folder import RunFolder
from ..run_folder.states import write_motion
from ..states import (
    MOST_COORDINATES,
    StateSettings,
    binned,
    canonical_map,
    move,
    voxel_states,
    whole_images,
)
from ._console import plain_console
from ._state_options import StateFiles
from ._state_run import state_run
from ._state_tables import print_verdict

PARTS = 5  # of the particles along the first coordinate, each with a voxel map


def run_motion(
    files: StateFiles,
    out: Path,
    settings: StateSettings,
    number: str,
    threads: int | None,
    overwrite: bool,
    resume: bool,
) -> RunFolder:
    """Find the motion of ``files`` and write it to the run folder ``out``; ``number``: of coordinates,
    or "auto"."""
    coordinates, asked = _coordinates(number), {"coordinates": number}
    with state_run(files, out, settings, asked, threads, overwrite, resume) as under_way:
        progress, journal = under_way.progress, under_way.journal
        found = move(
            under_way.particles, settings, progress, coordinates=coordinates, journal=journal
        )
        halves, sign = found.prepared.particles, found.prepared.polarity.sign
        parts = binned(found.own_coordinate(), halves.half_sets.numpy(), PARTS)
        weights = np.column_stack([parts, 1.0 - found.states.absent])
        whole, noise = whole_images(halves, progress)
        *maps, every = voxel_states(whole, weights, sign, noise, progress)
        canonical = None
        if found.verdict.found:
            here = maps[PARTS // 2]
            canonical = canonical_map(
                found, whole, noise, every, here, progress, journal.of("canonical")
            )
        grid, folder = Grid(whole.box_size, whole.pixel_size), under_way.folder
        run = under_way.reported(
            write_motion(folder, found, grid, maps, every, canonical, under_way.seconds)
        )
    _print(run)
    return run


def _coordinates(number: str) -> int | None:
    if number == "auto":
        return None
    if not number.isdigit() or not 1 <= int(number) <= MOST_COORDINATES:
        raise SettingsError(f"--coordinates {number}: expected 1 to {MOST_COORDINATES}, or auto.")
    return int(number)


def _print(run: RunFolder) -> None:
    states = run.read_summary().states
    assert states is not None
    n = states.coordinates
    print_verdict(run, f"motion along {n} coordinate{'s' if n > 1 else ''}")
    console = plain_console()
    if states.moving:
        pixel_size = run.read_summary().pixel_size
        told = ", ".join(
            f"{name} {reached_by(at, pixel_size)}" for name, at in states.moving.items()
        )
        console.print(
            f"The part that moves, against the other half-set's particles in the middle fifth (this "
            f"state): {told}."
        )
    if states.further:
        console.print(states.further)
    console.print(f"\nMaps       {run.states}")
    console.print(f"Particles  {run.particles}  (cryosplatCoordinate1 ...)")
    console.print(f"Any state  cryosplat voxelize {run.path} --at 0.3 -o map.mrc")
    console.print(f"Report     {run.report}")
    console.print(f"ChimeraX   chimerax {run.chimerax}")

"""``cryosplat simulate``: particles from an atomic model or a map."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from ..commands import pasted
from ..errors import SettingsError
from ..grid import Grid
from ..io.mrc import read_map
from ..mixture import GaussianMixture
from ..simulation import (
    SimulationSettings,
    mixture_from_atoms,
    simulate_particles,
)
from ._console import console_progress, plain_console
from ._simulation_options import SimulationOptions

MAPS = (".mrc", ".map", ".ccp4")
BOX, PIXEL_SIZE = 128, 1.5


def run_simulate(model: Path, out: Path, options: SimulationOptions, seed: int) -> None:
    """Simulate particles of ``model`` into the new folder ``out``."""
    source, grid = _source(model, options.box, options.pixel_size, options.b_factor)
    settings = options.on(grid)
    generator = torch.Generator().manual_seed(seed)
    star = simulate_with_progress(source, grid, settings, out, generator)
    console = plain_console()
    grids = settings.image_grids or (grid,)
    sizes = " and ".join(f"{g.box_size} px, {g.pixel_size:g} Å" for g in grids)
    console.print(f"{settings.n:,} particles of {sizes}: {star}")
    run = out.parent / f"{out.name}-run"
    console.print(f"Next: {pasted('cryosplat', 'reconstruct', star, '-o', run)}")


def simulate_with_progress(
    source: Tensor | GaussianMixture,
    grid: Grid,
    settings: SimulationSettings,
    out: Path,
    generator: torch.Generator,
) -> Path:
    """`simulate_particles` with a bar on the terminal."""
    with console_progress(Path(os.devnull)) as progress, \
            progress.stage("simulating particles", settings.n, "images") as stage:  # fmt: skip
        return simulate_particles(
            source, grid, settings, out, generator,
            lambda done, n: stage.advance(done - stage.done),
        )  # fmt: skip


def _source(
    model: Path, box: int | None, pixel_size: float | None, b_factor: float
) -> tuple[Tensor | GaussianMixture, Grid]:
    if model.suffix.lower() not in MAPS:
        grid = Grid(box or BOX, pixel_size or PIXEL_SIZE)
        return mixture_from_atoms(model, b_factor), grid
    found = read_map(model)
    for option, given in (("--box", box), ("--pixel-size", pixel_size)):
        if given is not None:
            raise SettingsError(
                f"{option} {given:g}: {model} is a map and has its own box and pixel size "
                f"({found.data.shape[0]} px, {found.pixel_size:g} Å).\n  Remedy: leave it out."
            )
    return torch.from_numpy(found.data), Grid(found.data.shape[0], found.pixel_size)

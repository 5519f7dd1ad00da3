"""``cryosplat demo``: everything once, on particles whose truth is known."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..devices import device_of
from ..estimate import expected_cost
from ..grid import Grid
from ..io.mrc import read_map
from ..particles import Particles, read_particles
from ..run_folder import RunFolder
from ..settings import ReconstructionSettings
from ..simulation import SimulationSettings, phantom
from ._console import plain_console
from ._reconstruct import reconstruct_into
from ._simulate import simulate_with_progress
from ._tables import print_preflight, print_result
from ._threads import use_threads

GRID = Grid(64, 2.5)
SHOWN_FRACTIONS = 0.25, 0.5, 0.75, 0.9, 1.0  # of Nyquist
PARTICLES = 2000
SNR = 0.05
DEFOCUS = 5_000.0, 15_000.0  # Angstrom: the box of 160 Å holds what it displaces
SHIFT_ERROR, ANGLE_ERROR = 0.3, 0.009  # Angstrom; radian, half a degree


def run_demo(out: Path, seed: int, device: str, threads: int | None) -> RunFolder:
    """Simulate, reconstruct, and compare with the truth; replaces an earlier demo."""
    threads = use_threads(threads)
    settings = ReconstructionSettings.from_dict({"seed": seed, "device": device})
    device_of(device)  # what is missing is better said now than after the simulation
    console = plain_console()
    with RunFolder.create(out, overwrite=True) as folder, tempfile.TemporaryDirectory() as scratch:
        console.print(
            f"A made-up protein with symmetry D3: {PARTICLES:,} images, noise variance {1 / SNR:.0f} "
            f"times that of the signal."
        )
        particles, truth = _simulated(Path(scratch) / "particles", seed)
        cost = expected_cost(PARTICLES, GRID.box_size, threads, settings)
        print_preflight(particles, cost, threads)
        run, notes = reconstruct_into(folder, particles, settings, cost, truth)
    print_result(run, notes)
    _print_comparison(run, console)
    console.print(f"Pictures   {run.fsc_figure}  {run.slices_figure}")
    return run


def _simulated(folder: Path, seed: int) -> tuple[Particles, Tensor]:
    """Particles of the made-up protein, and their true map."""
    settings = SimulationSettings(
        PARTICLES, SNR, angle_error=ANGLE_ERROR, shift_error=SHIFT_ERROR, defocus=DEFOCUS
    )
    generator = torch.Generator().manual_seed(seed)
    star = simulate_with_progress(phantom(), GRID, settings, folder, generator)
    return read_particles(star), torch.from_numpy(read_map(folder / "truth.mrc").data)


def _print_comparison(run: RunFolder, console: Console) -> None:
    """The FSC with truth that the half-maps predict, beside the measured one."""
    frequencies, curves = run.read_fsc_csv()
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("FSC of the map with the truth at")
    shells = [round(fraction * (GRID.n_shells - 1)) for fraction in SHOWN_FRACTIONS]
    for shell in shells:
        table.add_column(f"{1.0 / frequencies[shell]:.1f} Å", justify="right")
    for title, name in (
        ("measured", "map with truth, measured"),
        ("predicted from the half-maps alone", "map with truth, from half-maps"),
    ):
        table.add_row(title, *(f"{curves[name][shell]:.3f}" for shell in shells))
    console.print()
    console.print(table)

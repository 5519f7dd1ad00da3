"""``cryosplat voxelize`` and ``cryosplat fsc``."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ..errors import InputError, OutputError
from ..grid import Grid
from ..io.mrc import MapFile, read_map, write_map
from ..io.ply import read_ply
from ..mixture import GaussianMixture
from ..report.figures import fsc_figure
from ..run_folder import fsc_table
from ..simulation import band_limited_map
from ..splatting import voxelize
from ..validation.fsc import fourier_shell_correlation, masked_fsc, resolution

NARROWEST = 0.39  # pixels: a little below the floor of a fit
FIGURES = (".png", ".svg", ".pdf")


def run_voxelize(gaussians: Path, out: Path, box: int, pixel_size: float) -> None:
    """Write the map of the mixture in ``gaussians``.

    Gaussians too narrow for the pixels are band-limited instead of sampled, so nothing aliases.
    """
    grid = Grid(box, pixel_size)
    ply = read_ply(gaussians)
    arrays = (ply.means, ply.scales, ply.quaternions, ply.amplitudes)
    mixture = GaussianMixture(*map(torch.from_numpy, arrays))
    narrow = float(mixture.scales.min()) < NARROWEST * pixel_size
    volume = band_limited_map(mixture, grid) if narrow else voxelize(mixture, grid)
    write_map(out, volume.numpy(), pixel_size, f"from {gaussians.name}")
    Console(highlight=False, soft_wrap=True).print(
        f"{out}: {len(mixture):,} Gaussians on {box} px of {pixel_size:g} Å"
    )


def run_fsc(first: Path, second: Path, mask: Path | None, out: Path | None, seed: int) -> None:
    """Tell the resolution from the FSC of two maps; write the curves to ``out``."""
    _check_suffix(out)
    maps = [read_map(path) for path in (first, second)]
    _check_alike((first, second), maps)
    grid = Grid(maps[0].data.shape[0], maps[0].pixel_size)
    a, b = (torch.from_numpy(m.data) for m in maps)
    if mask is None:
        curves = {"unmasked": fourier_shell_correlation(a, b)}
    else:
        weights = torch.from_numpy(read_map(mask).data)
        found = masked_fsc(a, b, weights, torch.Generator().manual_seed(seed))
        curves = {
            "corrected": found.corrected, "masked": found.masked, "unmasked": found.unmasked,
            "random phases": found.randomised,
        }  # fmt: skip
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("FSC", "0.143", "0.5"):
        table.add_column(title)
    for name, curve in curves.items():
        if name != "random phases":
            table.add_row(name, *(str(resolution(curve, grid, t)) for t in (0.143, 0.5)))
    Console(highlight=False, soft_wrap=True).print(table)
    if out is not None:
        values = {name: curve.tolist() for name, curve in curves.items()}
        if out.suffix.lower() in FIGURES:
            fsc_figure(out, values, grid.box_size, grid.pixel_size)
        else:
            fsc_table(out, grid.shell_frequencies().tolist(), values)


def _check_suffix(out: Path | None) -> None:
    if out is not None and out.suffix.lower() not in (*FIGURES, ".csv"):
        raise OutputError(
            f"{out}: curves are written as .csv, .png, .svg or .pdf, not as "
            f"{out.suffix or 'a file without suffix'}.\n  Remedy: {out.with_suffix('.csv').name}"
        )


def _check_alike(paths: tuple[Path, Path], maps: list[MapFile]) -> None:
    one, two = (m.pixel_size for m in maps)
    if abs(one - two) > 1e-3 * one:
        raise InputError(
            f"{paths[0]} has pixels of {one:.4f} Å, {paths[1]} of {two:.4f} Å.\n"
            f"  Remedy: resample one of the maps, or correct the pixel size in its header."
        )

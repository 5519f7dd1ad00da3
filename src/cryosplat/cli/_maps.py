"""``cryosplat voxelize``: Gaussians as a map."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from ..errors import OutputError
from ..grid import Grid
from ..io.atomic import check_no_input
from ..io.mrc import write_map
from ..io.ply import read_ply
from ..mixture import GaussianMixture
from ..simulation import band_limited_map
from ..splatting import voxelize

NARROWEST = 0.39  # pixels: a little below the floor of a fit


def run_voxelize(gaussians: Path, out: Path, box: int, pixel_size: float) -> None:
    """Write the map of the mixture in ``gaussians``.

    Gaussians too narrow for the pixels are band-limited instead of sampled, so nothing aliases.
    """
    check_map_name("-o", out)
    check_no_input("-o", out, [gaussians])
    grid = Grid(box, pixel_size)
    ply = read_ply(gaussians)
    arrays = (ply.means, ply.scales, ply.quaternions, ply.amplitudes)
    mixture = GaussianMixture(*map(torch.from_numpy, arrays), symmetry=ply.symmetry)
    narrow = float(mixture.scales.min()) < NARROWEST * pixel_size
    volume = band_limited_map(mixture, grid) if narrow else voxelize(mixture, grid)
    write_map(out, volume.numpy(), pixel_size, f"from {gaussians.name}")
    Console(highlight=False, soft_wrap=True).print(
        f"{out}: {mixture.copies * len(mixture):,} Gaussians on {box} px of {pixel_size:g} Å"
    )


def check_map_name(option: str, out: Path) -> None:
    """Raise `OutputError` where ``out`` is not named as a map."""
    if out.suffix.lower() not in (".mrc", ".map"):
        raise OutputError(
            f"{option} {out}: maps are written as .mrc or .map, not as "
            f"{out.suffix or 'a file without suffix'}.\n"
            f"  Remedy: {option} {out}.mrc"
        )

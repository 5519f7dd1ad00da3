"""The solvent in the forward model: images show a molecule against water, not in vacuum.

What a molecule and the water that it displaces have in common cannot be seen. At low frequencies that
is nearly all, at high ones nothing, for water is disordered. By Babinet's principle images show the
molecule's transform times

    H(s) = 1 - k exp(-B s^2 / 4)

(crystallography's model of bulk solvent: Moews & Kretsinger 1975, Tronrud 1997). In real space every
Gaussian has a companion of the opposite sign, wider by B. A Gaussian high-pass filter of the images is
the same function with k = 1. H is a factor of the map, not of noise: in the statistics it turns b into
H b and K into H^2 K (`Statistics.seen_through`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import fourier
from .errors import SettingsError
from .grid import Grid

Response = Callable[[Tensor], Tensor]
"""A real factor by spatial frequency (1/Angstrom), of any shape."""


@dataclass(frozen=True, slots=True)
class Solvent:
    """``H(s) = 1 - k exp(-B s^2 / 4)``: k is the ``contrast``, B the ``b_factor`` in square Angstrom.

    k = 0 is vacuum. Deposited models in ice have k of about 0.93 and B of about 4,500 A^2.
    """

    contrast: float = 0.0
    b_factor: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.contrast <= 1.0 and self.b_factor >= 0.0):
            raise SettingsError(
                f"Solvent: contrast {self.contrast} and B-factor {self.b_factor} A^2, expected 0 to 1 "
                f"and at least 0."
            )

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self.contrast > 0.0

    def __call__(self, frequencies: Tensor) -> Tensor:
        """H at spatial frequencies in 1/Angstrom; dtype and shape of ``frequencies``."""
        return 1.0 - self.contrast * torch.exp(-0.25 * self.b_factor * frequencies.square())

    def shown(self, volume: Tensor, grid: Grid) -> Tensor:
        """The map (d, d, d) that images show of a molecule whose map is ``volume``, on ``grid``."""
        return filtered(volume, grid, self) if self else volume


VACUUM = Solvent()


def filtered(volume: Tensor, grid: Grid, response: Response) -> Tensor:
    """A map (d, d, d) filtered by a radial ``response`` in empty surroundings; on its device.

    The map is padded to twice its side, so that nothing comes in at the opposite face.
    """
    d = grid.box_size
    start = d - d // 2  # the rotation centre, voxel d // 2, goes to voxel d
    inner = (slice(start, start + d),) * 3
    padded = volume.new_zeros((2 * d,) * 3)
    padded[inner] = volume
    gain = response(padded_frequencies(grid, volume.device)).to(volume.dtype)
    return fourier.filter(padded, gain, 3)[inner].contiguous()


def padded_frequencies(grid: Grid, device: fourier.Device = None) -> Tensor:
    """Spatial frequencies (2d, 2d, d + 1) in 1/Angstrom of a box of twice the side; float32."""
    d = grid.box_size
    return (fourier.squared_radii((2 * d,) * 3, device).sqrt() / (2.0 * grid.side)).float()


def image_frequencies(grid: Grid, device: fourier.Device = None) -> Tensor:
    """Spatial frequencies (d, d // 2 + 1) in 1/Angstrom of the images' transforms; float32."""
    radii = fourier.squared_radii((grid.box_size,) * 2, device).sqrt()
    return (radii / grid.side).float()

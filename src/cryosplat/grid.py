"""The sampling grid: where voxels lie, and which spatial frequencies their shells are.

The rotation centre is voxel ``box_size // 2`` (0-based) on every axis, for odd and even boxes.
Arrays index ``[z, y, x]``; coordinates end in ``(x, y, z)``. Transforms and shells: `fourier`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import InputError, SettingsError


@dataclass(frozen=True, slots=True)
class Grid:
    """A cubic (or square) box of ``box_size`` voxels of ``pixel_size`` Angstrom."""

    box_size: int
    pixel_size: float

    def __post_init__(self) -> None:
        if self.box_size < 4:
            raise SettingsError(f"Grid: box_size is {self.box_size}, expected at least 4 pixels.")
        if not 0.0 < self.pixel_size < 1e3:
            raise SettingsError(
                f"Grid: pixel_size is {self.pixel_size} Angstrom, expected between 0 and 1000."
            )

    @property
    def centre(self) -> int:
        """Index of the rotation centre on every axis."""
        return self.box_size // 2

    @property
    def side(self) -> float:
        """Side of the box in Angstrom."""
        return self.box_size * self.pixel_size

    @property
    def n_shells(self) -> int:
        """Number of RELION shells, ``0 .. box_size // 2``."""
        return self.box_size // 2 + 1

    @property
    def nyquist(self) -> float:
        """Nyquist frequency in 1/Angstrom."""
        return 0.5 / self.pixel_size

    def check_cube(self, volume: Tensor, name: str) -> None:
        """Raise `InputError` unless ``volume`` is a cube of this box size with finite values.

        ``name`` begins the message: the function and the argument.
        """
        if tuple(volume.shape) != (self.box_size,) * 3:
            raise InputError(
                f"{name} has shape {tuple(volume.shape)}, expected a cube of {self.box_size} voxels."
            )
        if not bool(torch.isfinite(volume).all()):
            raise InputError(f"{name} holds NaN or infinite values, expected finite numbers.")

    def coordinates(self) -> Tensor:
        """Positions along one axis in Angstrom, float64 of shape (d,); 0 at the rotation centre."""
        return (torch.arange(self.box_size, dtype=torch.float64) - self.centre) * self.pixel_size

    def shell_frequencies(self) -> Tensor:
        """Spatial frequency of each shell in 1/Angstrom, float64 of shape (n_shells,)."""
        return torch.arange(self.n_shells, dtype=torch.float64) / self.side

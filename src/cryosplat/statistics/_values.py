"""The sufficient statistics of particles with known poses: a commutative monoid."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.fft
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError, SettingsError
from ..grid import Grid


def workers() -> int:
    """Threads for scipy's transforms: as many as torch uses."""
    return torch.get_num_threads()


@dataclass(frozen=True, slots=True)
class Statistics:
    """All that a data set says about a map (DESIGN: Wang, Shkolnisky & Singer 2013).

    With ``L(V) = energy + 1/2 <V, K*V> - <b, V>`` the negative log-likelihood of the particles:

    ``backprojection``: b, (d, d, d) float32, ``[z, y, x]``;
    ``transfer``: transform of the kernel K on a box of 2 d, (2d, 2d, d + 1) float32, real;
    ``energy``: ``1/2 sum |y|^2 / s^2``;  ``n_images``;
    ``n_frequencies``: Fourier coefficients summed over, both members of a Friedel pair counted.
    """

    grid: Grid
    backprojection: Tensor
    transfer: Tensor
    energy: float
    n_images: int
    n_frequencies: int

    def __post_init__(self) -> None:
        d = self.grid.box_size
        expected = (d, d, d), (2 * d, 2 * d, d + 1)
        given = tuple(self.backprojection.shape), tuple(self.transfer.shape)
        if given != expected:
            raise SettingsError(f"Statistics: arrays have shapes {given}, expected {expected}.")

    @staticmethod
    def zero(grid: Grid) -> Statistics:
        """The statistics of no particles: the neutral element of ``+``."""
        d = grid.box_size
        return Statistics(grid, torch.zeros(d, d, d), torch.zeros(2 * d, 2 * d, d + 1), 0.0, 0, 0)

    def __add__(self, other: Statistics) -> Statistics:
        if self.grid != other.grid:
            raise SettingsError(
                f"Statistics: cannot add statistics on {self.grid} and {other.grid}. "
                f"Remedy: accumulate both on one grid."
            )
        return Statistics(
            self.grid,
            self.backprojection + other.backprojection,
            self.transfer + other.transfer,
            self.energy + other.energy,
            self.n_images + other.n_images,
            self.n_frequencies + other.n_frequencies,
        )

    def inverted(self) -> Statistics:
        """The statistics of the same images with their contrast inverted."""
        return replace(self, backprojection=-self.backprojection)

    def downsampled(self, box_size: int) -> Statistics:
        """The same problem on ``box_size`` voxels of the same box: Fourier-cropped, exact.

        ``box_size`` must be even and at most the present one.
        """
        d = self.grid.box_size
        if box_size == d:
            return self
        if box_size % 2 or not 4 <= box_size < d:
            raise SettingsError(
                f"Statistics.downsampled: box_size is {box_size}, expected even, from 4 to {d}."
            )
        grid = Grid(box_size, self.grid.side / box_size)
        scale = (box_size / d) ** 3
        # sums over voxels: V keeps its mass, so K as a function of position keeps its values
        transfer = _crop_half(self.transfer.numpy(), 2 * box_size) * np.float32(scale)
        return Statistics(
            grid,
            fourier_cropped(self.backprojection, box_size),
            torch.from_numpy(transfer),
            self.energy,
            self.n_images,
            self.n_frequencies,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as safetensors; the file appears whole or not at all."""
        path = Path(path)
        scalars = {
            "box_size": self.grid.box_size, "pixel_size": self.grid.pixel_size,
            "energy": self.energy, "n_images": self.n_images, "n_frequencies": self.n_frequencies,
        }  # fmt: skip
        tensors = {"backprojection": self.backprojection, "transfer": self.transfer}
        handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
        os.close(handle)
        try:
            save_file(
                {k: t.contiguous() for k, t in tensors.items()}, name,
                {"cryosplat.statistics": json.dumps(scalars)},
            )  # fmt: skip
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Statistics:
        """Read what `save` wrote."""
        try:
            with safe_open(path, "pt") as file:
                scalars = json.loads((file.metadata() or {})["cryosplat.statistics"])
                b, k = file.get_tensor("backprojection"), file.get_tensor("transfer")
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(
                f"{path}: not a statistics file written by cryosplat ({error}). "
                f"Remedy: accumulate the statistics again from the particles."
            ) from error
        grid = Grid(scalars.pop("box_size"), scalars.pop("pixel_size"))
        return Statistics(grid, b, k, **scalars)


def _crop_half(transform: np.ndarray, box_size: int) -> np.ndarray:
    """The low frequencies of a half transform in ``rfftn`` layout, for an even ``box_size``."""
    h = box_size // 2
    rows = np.r_[0:h, -h:0]
    return np.ascontiguousarray(transform[rows][:, rows, : h + 1])


def fourier_cropped(volume: Tensor, box_size: int) -> Tensor:
    """A real cubic array resampled to an even, smaller ``box_size`` by cropping its transform.

    Values, not masses, are kept; the rotation centre stays on voxel ``box_size // 2``.
    """
    d = volume.shape[0]
    array = scipy.fft.ifftshift(volume.numpy())
    transform = _crop_half(scipy.fft.rfftn(array, workers=workers()), box_size)
    h = box_size // 2
    transform[h] = transform[:, h] = transform[:, :, h] = 0.0
    small = scipy.fft.irfftn(transform, s=(box_size,) * 3, workers=workers())
    small = scipy.fft.fftshift(small) * np.float32((box_size / d) ** 3)
    return torch.from_numpy(np.ascontiguousarray(small.astype(np.float32)))

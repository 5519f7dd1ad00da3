"""Particle images as states are learned from them: few points each, all of them in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import seen_rotations, weigh

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """n images at the p points of a half plane that lie below Nyquist, nearest to the origin first.

    ``points`` (p, 2) as (kx, ky), ``counts`` (p,): 2 for a point and its Friedel mate, 1 at the
    origin. ``values`` (n, p) complex64: ``conj(H) y / s^2``; ``precisions`` (n, p): ``|H|^2 / s^2``;
    about the rotation centre (`optics.weigh`), 0 where an image or the map holds nothing. ``steps``
    (n, 2, 3): cells of a grid of twice ``box`` for each step of frequency. Single precision.
    ``device``: where they are compared with maps; they are kept in the computer's memory.
    """

    box: int
    pixel_size: float
    points: NDArray[np.float32]
    counts: NDArray[np.float32]
    values: NDArray[np.complex64]
    precisions: NDArray[np.float32]
    steps: NDArray[np.float32]
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.values)

    @property
    def grid(self) -> Grid:
        """Of the maps that the images are compared with."""
        return Grid(self.box, self.pixel_size)

    def within(self, radius: float) -> int:
        """How many points lie within ``radius`` steps of frequency."""
        squared = np.square(self.points).sum(1)
        return int(np.searchsorted(squared, radius * radius))

    def there(
        self, rows: NDArray[np.int64], n_points: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of the images ``rows`` and the first points, on the device: steps, points, counts, values and
        precisions."""
        of_images = (array[rows, :n_points] for array in (self.values, self.precisions))
        arrays = self.steps[rows], self.points[:n_points], self.counts[:n_points], *of_images
        steps, points, counts, values, precisions = (
            torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays
        )
        return steps, points, counts, values, precisions

    def select(self, rows: NDArray[np.int64]) -> Observations:
        """Some of the images."""
        return replace(
            self, values=self.values[rows], precisions=self.precisions[rows], steps=self.steps[rows]
        )

    def at(self, steps: NDArray[np.float32]) -> Observations:
        """The images at other poses."""
        return replace(self, steps=np.ascontiguousarray(steps, np.float32))

    def shifted(self, axis: int, pixels: float) -> Observations:
        """The images moved along x (0) or y (1), in pixels of ``box``; all of one pixel size."""
        angle = -2.0 * np.pi * pixels / self.box * self.points[:, axis]
        return replace(self, values=self.values * np.exp(1j * angle).astype(np.complex64))

    def inverted(self) -> Observations:
        """The images with their sign changed."""
        return replace(self, values=-self.values)

    @property
    def n_bytes(self) -> int:
        """Memory of the images."""
        return self.values.nbytes + self.precisions.nbytes + self.steps.nbytes


class Observer:
    """Gathers `Observations` of n particles for maps on ``grid``, batch after batch."""

    def __init__(self, n: int, grid: Grid, noise: NoiseModel, device: torch.device = CPU) -> None:
        self.grid, self.noise, self.device = grid, noise, device
        k = half_points(grid.box_size)
        squared = np.square(k).sum(1)
        order = np.argsort(squared, kind="stable")
        self.points = k[order]
        self.counts = np.where(squared[order] > 0, 2.0, 1.0).astype(np.float32)
        self.values = np.zeros((n, len(k)), np.complex64)
        self.precisions = np.zeros((n, len(k)), np.float32)
        self.steps = np.zeros((n, 2, 3), np.float32)

    def add(self, batch: Batch) -> None:
        """Take the images of a batch, each to the row of its position ``batch.index``."""
        box, grid = batch.box_size, self.grid
        cells = 2.0 * grid.side / (batch.optics.of_group("pixel_size") * box)
        rotations = seen_rotations(batch.poses, batch.optics).rotations[:, :2]
        steps = rotations.double() * cells[:, None, None]
        reach = torch.linalg.matrix_norm(steps, 2)  # cells for each step, at most
        radii = (grid.box_size / reach).clamp_max(0.5 * box)
        transforms = fourier.transform(self.noise.normalised(batch), 2)
        precision = self.noise.precision(box)
        ready = weigh(transforms, batch.poses.shifts, batch.optics, precision, radii)
        found = self._at_points(ready.values)
        rows = batch.index.numpy()
        self.values[rows] = torch.view_as_complex(found[..., :2].contiguous()).numpy()
        self.precisions[rows] = found[..., 2].numpy()
        self.steps[rows] = steps.float().numpy()

    def _at_points(self, values: Tensor) -> Tensor:
        """Half planes (n, d, d // 2 + 1, 3) at the points (n, p, 3); nothing beyond the image's."""
        d = values.shape[1]
        kx, ky = torch.from_numpy(self.points).long().unbind(1)
        inside = (ky.abs() < d / 2) & (kx < d / 2)
        found = values[:, ky % d, kx.clamp_max(d // 2)]
        return found * inside[:, None]

    def result(self) -> Observations:
        """All of them."""
        return Observations(
            self.grid.box_size, self.grid.pixel_size, self.points, self.counts, self.values,
            self.precisions, self.steps, self.device,
        )  # fmt: skip


def half_points(box: int) -> NDArray[np.float32]:
    """One of each Friedel pair of frequencies (kx, ky) below Nyquist, (p, 2), and the origin."""
    reach = (box - 1) // 2
    ky, kx = np.meshgrid(np.arange(-reach, reach + 1), np.arange(reach + 1), indexing="ij")
    kept = (kx * kx + ky * ky < (box / 2) ** 2) & ((kx > 0) | (ky >= 0))
    return np.stack([kx[kept], ky[kept]], 1).astype(np.float32)

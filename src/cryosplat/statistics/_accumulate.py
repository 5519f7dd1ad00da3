"""One pass over particle images: everything a fit will ever need to know about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..batch import Batch, joined
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import seen_rotations, weigh
from . import _gridding as gridding
from ._equivalents import averaged, representatives
from ._values import Statistics, workers

PASS_BYTES = 2**26  # of images per pass over the Fourier grid


class Accumulator:
    """Collects batches of one set of particles; `result` turns the sums into `Statistics`.

    Parameters
    ----------
    grid: box and pixel size of the map.
    noise: variance of the noise per optics group and shell.
    symmetry: of the map: every image counts with all s equivalent poses ``A S``, 1 / s each. The
        energy of a map that has the symmetry is unchanged, and b and K have it.
    """

    def __init__(self, grid: Grid, noise: NoiseModel, symmetry: str = "C1") -> None:
        self.grid = grid
        self.symmetry = symmetry
        self._operators = representatives(symmetry)
        self.noise = noise
        self.period = 2 * grid.box_size
        self._corners = gridding.tile_corners(self.period)
        self._tiles = np.zeros((len(self._corners), gridding.EDGE**3 * 4), np.float32)
        self._energy = 0.0
        self._n_images = 0
        self._n_frequencies = 0

    def add(self, batch: Batch) -> None:
        """Add the images of a batch, normalised as the noise model says, with unit weights."""
        images = self.noise.normalised(batch)
        n, box, _ = images.shape
        seen = seen_rotations(batch.poses, batch.optics).rotations[:, :2].double()
        # cells of the map's transform per image frequency, and the last one that both can hold
        ratio = self.grid.side / (batch.optics.of_group("pixel_size") * box)
        stretch = (torch.linalg.matrix_norm(seen, 2) - 1e-9).clamp_min(1.0)
        radii = (0.5 * self.grid.box_size / ratio / stretch).clamp_max(0.5 * box)
        weighed = weigh(
            torch.from_numpy(scipy.fft.rfft2(images.numpy(), workers=workers())),
            batch.poses.shifts, batch.optics, torch.from_numpy(self.noise.precision(box)), radii,
        )  # fmt: skip
        steps = (seen * (self.period / self.grid.box_size * ratio[:, None, None])).numpy()
        order = gridding.balanced_order(self._corners)
        for operator in self._operators:
            gridding.spread(
                weighed.values.numpy(), np.ascontiguousarray(steps @ operator), radii.numpy(),
                self._tiles, self._corners, order, gridding.POLYNOMIALS,
            )  # fmt: skip
        self._energy += float(weighed.energy.sum())
        self._n_images += n
        self._n_frequencies += int(weighed.n_frequencies.sum())

    def result(self) -> Statistics:
        """The statistics of all images added; the accumulator's memory is given up."""
        d, period = self.grid.box_size, self.period
        b_grid, k_grid = gridding.assemble(self._tiles, self._corners, period)
        self._tiles = np.zeros((0, 0), np.float32)
        # in voxels from the rotation centre, which comes first on each axis
        positions = np.fft.fftfreq(period, 1.0 / period)
        correction = (1.0 / gridding.kernel_transform(positions, period)).astype(np.float32)
        near = np.arange(d) - d // 2
        share = np.float32(1.0 / len(self._operators))
        b = averaged(_real_space(b_grid), self.symmetry)
        for axis in range(3):
            b = np.take(b, near, axis=axis)
        b = _corrected(b, correction[near], share)
        del b_grid
        k = _corrected(averaged(_real_space(k_grid), self.symmetry), correction, share)
        del k_grid
        transfer = scipy.fft.rfftn(k, workers=workers(), overwrite_x=True)
        return Statistics(
            self.grid,
            torch.from_numpy(np.ascontiguousarray(b)),
            torch.from_numpy(np.ascontiguousarray(transfer.real)),
            self._energy,
            self._n_images,
            self._n_frequencies,
        )


def _real_space(half_grid: NDArray) -> NDArray[np.float32]:
    """Sum over the frequencies of a half grid; the rotation centre is voxel 0 of each axis."""
    shape = (half_grid.shape[0],) * 3
    sums = scipy.fft.irfftn(half_grid, s=shape, norm="forward", workers=workers(), overwrite_x=True)
    return np.asarray(sums, np.float32)


def _corrected(
    volume: NDArray[np.float32], correction: NDArray[np.float32], factor: np.float32
) -> NDArray[np.float32]:
    """A volume times a separable correction and a factor, in place."""
    volume *= factor * correction[:, None, None]
    volume *= correction[:, None]
    volume *= correction
    return volume


def accumulate(
    batches: Iterable[Batch],
    sets: Tensor,
    n_sets: int,
    grid: Grid,
    noise: NoiseModel,
    on_images: Callable[[int], None] = lambda n: None,
    symmetry: str = "C1",
) -> list[Statistics]:
    """The statistics of every set of particles, in one pass over their images.

    ``sets`` (n,) holds the set 0 .. n_sets - 1 of each particle by its position ``batch.index``.
    Images wait until a set has enough of them to make a pass over the Fourier grid worth while.
    ``on_images`` is told how many images were read with each batch; ``symmetry`` as `Accumulator`.
    """
    accumulators = [Accumulator(grid, noise, symmetry) for _ in range(n_sets)]
    waiting: list[list[Batch]] = [[] for _ in range(n_sets)]
    for batch in batches:
        for number, queue in enumerate(waiting):
            mine = (sets[batch.index] == number).nonzero().squeeze(1)
            if not len(mine):
                continue
            if queue and queue[0].box_size != batch.box_size:
                accumulators[number].add(joined(queue))
                queue.clear()
            queue.append(batch.select(mine))
            if sum(b.images.nbytes for b in queue) >= PASS_BYTES:
                accumulators[number].add(joined(queue))
                queue.clear()
        on_images(len(batch))
    statistics = []
    for queue in waiting:
        accumulator = accumulators.pop(0)
        if queue:
            accumulator.add(joined(queue))
        queue.clear()
        statistics.append(accumulator.result())
        del accumulator
    return statistics

"""From padded Fourier grids to b and K: transforms, the kernel divided out, and symmetry."""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier, gridding
from ..grid import Grid
from ._equivalents import averaged
from ._values import workers


def finished(
    grids: list[NDArray], grid: Grid, symmetry: str, n_operators: int
) -> tuple[Tensor, Tensor]:
    """b and the transform of K; ``grids`` are taken out of their list, and their memory used again."""
    d, period = grid.box_size, 2 * grid.box_size
    # in voxels from the rotation centre, which comes first on each axis
    correction = gridding.correction(fourier.signed_indices(period), period).float().numpy()
    near = np.arange(d) - d // 2
    share = np.float32(1.0 / n_operators)
    b = averaged(_real_space(grids.pop(0)), symmetry)
    for axis in range(3):
        b = np.take(b, near, axis=axis)
    b = _corrected(b, correction[near], share)
    k = _corrected(averaged(_real_space(grids.pop(0)), symmetry), correction, share)
    transfer = scipy.fft.rfftn(k, workers=workers(), overwrite_x=True)
    del k
    return torch.from_numpy(np.ascontiguousarray(b)), torch.from_numpy(
        np.ascontiguousarray(transfer.real)
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

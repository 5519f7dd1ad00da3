"""From padded Fourier grids to b and K: transforms, the kernel divided out, and symmetry."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import fourier, gridding
from ..grid import Grid
from ._equivalents import averaged


def finished(
    grids: list[Tensor], grid: Grid, symmetry: str, n_operators: int
) -> tuple[Tensor, Tensor]:
    """b and the transform of K; ``grids`` are taken out of their list, and their memory used again."""
    d, period, device = grid.box_size, 2 * grid.box_size, grids[0].device
    # in voxels from the rotation centre, which comes first on each axis
    correction = gridding.correction(fourier.signed_indices(period, device), period).float()
    near = (torch.arange(d, device=device) - d // 2) % period
    share = float(period) ** 3 / n_operators  # sums over frequencies, not means
    b = averaged(fourier.inverse_(grids.pop(0), period, 3), symmetry)
    for axis in range(3):
        b = b.index_select(axis, near)
    b = _corrected(b, correction[near], share)
    k = averaged(fourier.inverse_(grids.pop(0), period, 3), symmetry)
    transfer = fourier.transform_(_corrected(k, correction, share), 3)
    return b, transfer.real.contiguous()


def _corrected(volume: Tensor, correction: Tensor, factor: float) -> Tensor:
    """A volume times a separable correction and a factor, in place."""
    volume *= factor * correction[:, None, None]
    volume *= correction[:, None]
    volume *= correction
    return volume

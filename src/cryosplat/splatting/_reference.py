"""The definition of voxelisation: every Gaussian at every voxel, on any device, in any dtype.

A few Gaussians at a time, so that memory is bounded whatever their number; slow in large boxes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

PART_BYTES = 2**27  # of one array of values


def parts(number: int, values: int, like: Tensor) -> Iterator[slice]:
    """Runs of ``number`` items with so many ``values`` each, in the dtype of ``like``."""
    size = max(1, PART_BYTES // max(1, values * like.element_size()))
    return (slice(i, i + size) for i in range(0, number, size))


def _gaussians(
    centres: Tensor, precisions: Tensor, side: int
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Offsets from the centres (dx, dy, dz), and exp (k, side, side, side)."""
    axis = torch.arange(side, dtype=centres.dtype, device=centres.device)
    offsets = axis - centres[..., None]
    dx, dy, dz = (
        offsets[:, 0, None, None],
        offsets[:, 1, None, :, None],
        offsets[:, 2, :, None, None],
    )
    xx, xy, xz, yy, yz, zz = (p[:, None, None, None] for p in precisions.unbind(-1))
    lines = yy * dy * dy + 2.0 * yz * dy * dz + zz * dz * dz
    form = xx * dx * dx + 2.0 * (xy * dy + xz * dz) * dx + lines
    return (dx, dy, dz), torch.exp(-0.5 * form)


def voxelize_dense(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """``V[z, y, x] = sum_g w_g exp(-1/2 (r - c_g)^T P_g (r - c_g))``, (side, side, side).

    ``centres`` (k, 3) as (x, y, z) voxel indices; ``precisions`` (k, 6): xx, xy, xz, yy, yz, zz in
    1 / voxel^2; ``weights`` (k,).
    """
    volume = weights.new_zeros(side, side, side)
    for part in parts(len(weights), side**3, weights):
        _, e = _gaussians(centres[part], precisions[part], side)
        volume += torch.einsum("g,gzyx->zyx", weights[part], e)
    return volume


def voxelize_dense_adjoint(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``<gradient, voxelize_dense>`` by centres, precisions and weights.

    With e the Gaussian times the gradient: ``w P sum(e d)``, ``-w/2 sum(e d d^T)`` (off-diagonal
    entries stand for two of the matrix), ``sum(e)`` (CryoSplat, eqs. 15-20, in three dimensions).
    """
    moments = weights.new_zeros(len(weights), 10)
    for part in parts(len(weights), gradient.numel(), weights):
        (dx, dy, dz), e = _gaussians(centres[part], precisions[part], len(gradient))
        e = e * gradient
        pairs = ((dx, dx), (dx, dy), (dx, dz), (dy, dy), (dy, dz), (dz, dz))
        factors = (torch.ones_like(dx), dx, dy, dz, *(a * b for a, b in pairs))
        moments[part] = torch.stack([(e * factor).sum((1, 2, 3)) for factor in factors], -1)
    matrices = precisions[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    by_centre = weights[:, None] * torch.einsum("gij,gj->gi", matrices, moments[:, 1:4])
    factor = weights.new_tensor([-0.5, -1.0, -1.0, -0.5, -1.0, -0.5])
    return by_centre, factor * weights[:, None] * moments[:, 4:], moments[:, 0].clone()

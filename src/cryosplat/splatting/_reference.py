"""The definition of voxelisation: every Gaussian at every voxel, on any device, in any dtype."""

from __future__ import annotations

import torch
from torch import Tensor


def _offsets(centres: Tensor, side: int) -> Tensor:
    """Voxel minus centre as (x, y, z), (k, side, side, side, 3)."""
    axis = torch.arange(side, dtype=centres.dtype, device=centres.device)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x, y, z], -1) - centres[:, None, None, None, :]


def _matrices(precisions: Tensor) -> Tensor:
    order = [0, 1, 2, 1, 3, 4, 2, 4, 5]
    return precisions[:, order].reshape(-1, 3, 3)


def voxelize_dense(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """``V[z, y, x] = sum_g w_g exp(-1/2 (r - c_g)^T P_g (r - c_g))``, (side, side, side).

    ``centres`` (k, 3) as (x, y, z) voxel indices; ``precisions`` (k, 6): xx, xy, xz, yy, yz, zz in
    1 / voxel^2; ``weights`` (k,).
    """
    d = _offsets(centres, side)
    form = torch.einsum("gzyxi,gij,gzyxj->gzyx", d, _matrices(precisions), d)
    return torch.einsum("g,gzyx->zyx", weights, torch.exp(-0.5 * form))


def voxelize_dense_adjoint(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``<gradient, voxelize_dense>`` by centres, precisions and weights.

    With e the Gaussian times the gradient: ``w P sum(e d)``, ``-w/2 sum(e d d^T)`` (off-diagonal
    entries stand for two of the matrix), ``sum(e)`` (CryoSplat, eqs. 15-20, in three dimensions).
    """
    d = _offsets(centres, gradient.shape[0])
    matrices = _matrices(precisions)
    form = torch.einsum("gzyxi,gij,gzyxj->gzyx", d, matrices, d)
    e = torch.exp(-0.5 * form) * gradient
    first = torch.einsum("gzyx,gzyxi->gi", e, d)
    second = torch.einsum("gzyx,gzyxi,gzyxj->gij", e, d, d)
    by_centre = weights[:, None] * torch.einsum("gij,gj->gi", matrices, first)
    factor = [(0, 0, -0.5), (0, 1, -1.0), (0, 2, -1.0), (1, 1, -0.5), (1, 2, -1.0), (2, 2, -0.5)]
    by_precision = torch.stack([f * weights * second[:, i, j] for i, j, f in factor], -1)
    return by_centre, by_precision, e.sum((1, 2, 3))

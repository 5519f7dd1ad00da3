"""``torch.library`` operators: the definition by default, a kernel where a device has one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _cpu
from ._reference import voxelize_dense, voxelize_dense_adjoint


@torch.library.custom_op("cryosplat::voxelize", mutates_args=())
def voxelize_op(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """`voxelize_dense` as an operator that devices can override."""
    return voxelize_dense(centres, precisions, weights, side)


@torch.library.custom_op("cryosplat::voxelize_adjoint", mutates_args=())
def voxelize_adjoint_op(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`voxelize_dense_adjoint` as an operator that devices can override."""
    return voxelize_dense_adjoint(centres, precisions, weights, gradient)


@voxelize_op.register_kernel("cpu")
def _(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    if centres.dtype != torch.float32:
        return voxelize_dense(centres, precisions, weights, side)
    c, p, w = (t.detach().contiguous().numpy() for t in (centres, precisions, weights))
    return torch.from_numpy(_cpu.voxelize(c, p, w, side, _cpu.slabs(side)))


@voxelize_adjoint_op.register_kernel("cpu")
def _(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if centres.dtype != torch.float32:
        return voxelize_dense_adjoint(centres, precisions, weights, gradient)
    arrays = [t.detach().contiguous().numpy() for t in (centres, precisions, weights, gradient)]
    a, b, c = _cpu.voxelize_adjoint(*arrays)
    return torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(c)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return (*voxelize_adjoint_op(*ctx.saved_tensors, gradient), None)


voxelize_op.register_autograd(_backward, setup_context=_keep)

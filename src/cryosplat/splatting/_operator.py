"""``torch.library`` operators: the definition by default, a kernel where a device has one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..kernels import register_kernels
from . import _cpu, _splat_cpu
from ._reference import voxelize_dense, voxelize_dense_adjoint
from ._splat_reference import splat_dense, splat_dense_adjoint


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


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return (*voxelize_adjoint_op(*ctx.saved_tensors, gradient), None)


voxelize_op.register_autograd(_backward, setup_context=_keep)


@torch.library.custom_op("cryosplat::splat", mutates_args=())
def splat_op(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """`splat_dense` as an operator that devices can override."""
    return splat_dense(centres, precisions, weights, side)


@torch.library.custom_op("cryosplat::splat_adjoint", mutates_args=())
def splat_adjoint_op(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`splat_dense_adjoint` as an operator that devices can override."""
    return splat_dense_adjoint(centres, precisions, weights, gradient)


@splat_op.register_fake
def _(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    return centres.new_empty(centres.shape[0], side, side)


@splat_adjoint_op.register_fake
def _(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(t.new_empty(t.shape) for t in (centres, precisions, weights))  # pyright: ignore


def _splat_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return (*splat_adjoint_op(*ctx.saved_tensors, gradient), None)


splat_op.register_autograd(_splat_backward, setup_context=_keep)


_VOXELIZE, _SPLAT = f"{__package__}._voxelize_cuda", f"{__package__}._splat_cuda"
register_kernels(voxelize_op, voxelize_dense, _cpu.volume, (_VOXELIZE, "voxelize"))
register_kernels(
    voxelize_adjoint_op, voxelize_dense_adjoint, _cpu.gradients, (_VOXELIZE, "voxelize_adjoint")
)
register_kernels(splat_op, splat_dense, _splat_cpu.images, (_SPLAT, "splat"))
register_kernels(
    splat_adjoint_op, splat_dense_adjoint, _splat_cpu.gradients, (_SPLAT, "splat_adjoint")
)

"""``torch.library`` operators: the definition by default, a kernel where a device has one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..errors import SettingsError
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


@splat_op.register_kernel("cpu")
def _(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    body = _splat_cpu.images if centres.dtype == torch.float32 else splat_dense
    return body(centres, precisions, weights, side)


@splat_adjoint_op.register_kernel("cpu")
def _(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    body = _splat_cpu.gradients if centres.dtype == torch.float32 else splat_dense_adjoint
    return body(centres, precisions, weights, gradient)


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


def _triton(name: str) -> Any:
    """A module of Triton kernels, loaded when first used: CPU builds of PyTorch come without Triton."""
    try:
        return import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"Gaussians on a CUDA device need the package {error.name}, which is not installed. "
            "Remedy: pip install 'cryosplat[gpu]', or run on the CPU."
        ) from error


@voxelize_op.register_kernel("cuda")
def _(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    single = centres.dtype == torch.float32
    body = _triton("_voxelize_cuda").voxelize if single else voxelize_dense
    return body(centres, precisions, weights, side)


@voxelize_adjoint_op.register_kernel("cuda")
def _(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    single = centres.dtype == torch.float32
    body = _triton("_voxelize_cuda").voxelize_adjoint if single else voxelize_dense_adjoint
    return body(centres, precisions, weights, gradient)


@splat_op.register_kernel("cuda")
def _(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    single = centres.dtype == torch.float32
    body = _triton("_splat_cuda").splat if single else splat_dense
    return body(centres, precisions, weights, side)


@splat_adjoint_op.register_kernel("cuda")
def _(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    single = centres.dtype == torch.float32
    body = _triton("_splat_cuda").splat_adjoint if single else splat_dense_adjoint
    return body(centres, precisions, weights, gradient)

"""``torch.library`` operators: the definition by default, a kernel where a device has one.

`slices` and `spread` are adjoint where sums run over whole planes and whole grids: every number of
a half transform counts as often as it occurs there (`friedel_counts`), once or twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..fourier import friedel_counts
from ..kernels import register_kernels
from . import _cpu
from ._reference import slices_dense, slopes_dense, spread_dense, with_mates


@torch.library.custom_op("cryosplat::slices", mutates_args=())
def slices_op(grid: Tensor, steps: Tensor, radii: Tensor, box_size: int) -> Tensor:
    """`slices_dense` as an operator that devices can override."""
    return slices_dense(grid, steps, radii, box_size)


@torch.library.custom_op("cryosplat::spread", mutates_args=())
def spread_op(values: Tensor, steps: Tensor, radii: Tensor, period: int) -> Tensor:
    """`spread_dense` as an operator that devices can override."""
    return spread_dense(values, steps, radii, period)


@torch.library.custom_op("cryosplat::slopes", mutates_args=())
def slopes_op(grid: Tensor, values: Tensor, steps: Tensor, radii: Tensor) -> Tensor:
    """`slopes_dense` as an operator that devices can override."""
    return slopes_dense(grid, values, steps, radii)


_CUDA = f"{__package__}._cuda"
register_kernels(slices_op, slices_dense, _cpu.slices, (_CUDA, "slices"))
register_kernels(spread_op, spread_dense, _cpu.spread, (_CUDA, "spread"))
register_kernels(slopes_op, slopes_dense, _cpu.slopes, (_CUDA, "slopes"))


@slices_op.register_fake
def _(grid: Tensor, steps: Tensor, radii: Tensor, box_size: int) -> Tensor:
    return grid.new_empty(len(steps), box_size, box_size // 2 + 1)


@spread_op.register_fake
def _(values: Tensor, steps: Tensor, radii: Tensor, period: int) -> Tensor:
    return values.new_empty(period, period, period // 2 + 1)


@slopes_op.register_fake
def _(grid: Tensor, values: Tensor, steps: Tensor, radii: Tensor) -> Tensor:
    return torch.empty_like(steps, dtype=torch.float64)


def _counts(half: Tensor, side: int) -> Tensor:
    """`friedel_counts` of a half transform of a real array of ``side``, in its precision."""
    return friedel_counts(side, half.device).to(half.real.dtype)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.side = inputs[3]


def _slices_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    grid, steps, radii = ctx.saved_tensors
    by_grid = by_steps = None
    if ctx.needs_input_grad[0]:
        period = grid.shape[0]
        by_grid = spread_op(gradient / _counts(gradient, ctx.side), steps, radii, period)
        by_grid = by_grid * _counts(by_grid, period)
    if ctx.needs_input_grad[1]:
        by_steps = slopes_op(grid, gradient, steps, radii).to(steps.dtype)
    return by_grid, by_steps, None, None


def _spread_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    values, steps, radii = ctx.saved_tensors
    box = values.shape[1]
    grid = with_mates(0.5 * gradient)  # a gradient need not be Hermitian where it holds pairs
    weighed = _counts(values, box)
    by_values = by_steps = None
    if ctx.needs_input_grad[0]:
        by_values = slices_op(grid, steps, radii, box) * weighed
    if ctx.needs_input_grad[1]:
        by_steps = slopes_op(grid, values * weighed, steps, radii).to(steps.dtype)
    return by_values, by_steps, None, None


slices_op.register_autograd(_slices_backward, setup_context=_keep)
spread_op.register_autograd(_spread_backward, setup_context=_keep)

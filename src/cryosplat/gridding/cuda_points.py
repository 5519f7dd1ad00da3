"""What Triton kernels read a padded grid by: the taps of a point, and where their cells are stored."""

# Triton's types know neither launch options nor numbers in place of constexpr and pointers
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ._kernel import POLYNOMIALS

DEGREE = tl.constexpr(len(POLYNOMIALS) - 1)
LOW = tl.constexpr(1)


@triton.jit
def tap(table, position, j):
    """The cell of tap ``j`` of a coordinate, the kernel's value there and its derivative."""
    cell = tl.floor(position)
    t = (2.0 * (position - cell) - 1.0).to(tl.float32)
    value = tl.load(table + j) + tl.zeros_like(t)
    slope = tl.zeros_like(value)
    for degree in tl.static_range(1, DEGREE + 1):
        slope = slope * t + value
        value = value * t + tl.load(table + 4 * degree + j)
    return cell.to(tl.int32) + j - LOW, value, 2.0 * slope


@triton.jit
def place(x, y, z, period):
    """Where a cell is in a half grid, and whether that is its mate."""
    half = period // 2
    mate = (x < 0) | (x > half)
    x = tl.where(x < 0, -x, tl.where(x > half, period - x, x))
    y = (tl.where(mate, -y, y) + 2 * period) % period
    z = (tl.where(mate, -z, z) + 2 * period) % period
    return (z.to(tl.int64) * period + y) * (half + 1) + x, mate


def table_on(device: torch.device) -> Tensor:
    """The kernel's polynomials, as `tap` reads them."""
    return torch.from_numpy(POLYNOMIALS).to(device, torch.float32)

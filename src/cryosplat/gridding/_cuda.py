"""Gridding on CUDA devices: Triton kernels of the definition in `_reference`, in single precision.

A program owns a few points of one image and all 64 cells that each of them touches. Points are found
in double precision. Spreading adds by atomics, so its sums differ from run to run by rounding.
"""

# Triton's types know neither launch options nor numbers in place of constexpr and pointers
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ._reference import with_mates
from .cuda_points import place, table_on, tap

POINTS, WARPS = 16, 4


@triton.jit
def _place(steps, radii, image, box, POINTS: tl.constexpr):
    """Which points this program has, as (kx, ky), and where they are: (x, y, z), of the member of a
    Friedel pair with x >= 0; whether that is the mate, and whether a point counts."""
    columns = box // 2 + 1
    at = tl.program_id(1) * POINTS + tl.arange(0, POINTS)[:, None]
    row = at // columns
    kx = at % columns
    ky = tl.where(row < (box + 1) // 2, row, row - box)
    radius = tl.load(radii + image)
    inside = (at < box * columns) & ((kx * kx + ky * ky).to(tl.float64) < radius * radius)
    u = steps + 6 * image
    across, down = kx.to(tl.float64), ky.to(tl.float64)
    x = across * tl.load(u) + down * tl.load(u + 3)
    y = across * tl.load(u + 1) + down * tl.load(u + 4)
    z = across * tl.load(u + 2) + down * tl.load(u + 5)
    mirrored = x < 0.0
    sign = tl.where(mirrored, -1.0, 1.0)
    return at, kx, ky, x * sign, y * sign, z * sign, mirrored, inside


@triton.jit
def _slices(grid, steps, radii, table, out, box, period, POINTS: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    at, kx, ky, x, y, z, mirrored, inside = _place(steps, radii, image, box, POINTS)
    j = tl.arange(0, 64)[None, :]
    cell_x, by_x, _ = tap(table, x, j % 4)
    cell_y, by_y, _ = tap(table, y, j // 4 % 4)
    cell_z, by_z, _ = tap(table, z, j // 16)
    cell, mate = place(cell_x, cell_y, cell_z, period)
    weight = by_x * by_y * by_z
    real = tl.load(grid + 2 * cell, mask=inside, other=0.0)
    imaginary = tl.load(grid + 2 * cell + 1, mask=inside, other=0.0)
    imaginary = tl.where(mate, -imaginary, imaginary)
    total = tl.sum(weight * imaginary, 1, keep_dims=True)
    to = out + 2 * (image * box * (box // 2 + 1) + at)
    tl.store(to, tl.sum(weight * real, 1, keep_dims=True), mask=inside)
    tl.store(to + 1, tl.where(mirrored, -total, total), mask=inside)


@triton.jit
def _slopes(grid, values, steps, radii, table, out, box, period, POINTS: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    at, kx, ky, x, y, z, mirrored, inside = _place(steps, radii, image, box, POINTS)
    j = tl.arange(0, 64)[None, :]
    cell_x, by_x, slope_x = tap(table, x, j % 4)
    cell_y, by_y, slope_y = tap(table, y, j // 4 % 4)
    cell_z, by_z, slope_z = tap(table, z, j // 16)
    cell, mate = place(cell_x, cell_y, cell_z, period)
    given = values + 2 * (image * box * (box // 2 + 1) + at)
    c = tl.load(given, mask=inside, other=0.0)
    s = tl.load(given + 1, mask=inside, other=0.0)
    s = tl.where(mirrored != mate, -s, s)
    real = tl.load(grid + 2 * cell, mask=inside, other=0.0)
    held = c * real + s * tl.load(grid + 2 * cell + 1, mask=inside, other=0.0)
    held = tl.where(mirrored, -held, held)
    to = out + 6 * (image * tl.num_programs(1) + tl.program_id(1))
    across, down = kx.to(tl.float32), ky.to(tl.float32)
    slope = held * slope_x * by_y * by_z
    tl.store(to, tl.sum(across * slope))
    tl.store(to + 3, tl.sum(down * slope))
    slope = held * by_x * slope_y * by_z
    tl.store(to + 1, tl.sum(across * slope))
    tl.store(to + 4, tl.sum(down * slope))
    slope = held * by_x * by_y * slope_z
    tl.store(to + 2, tl.sum(across * slope))
    tl.store(to + 5, tl.sum(down * slope))


@triton.jit
def _spread(
    values, steps, radii, table, grid, weights, box, period,
    WIDTH: tl.constexpr, POINTS: tl.constexpr,
):  # fmt: skip
    """``values`` of WIDTH numbers: real and imaginary part, and, if three, a weight."""
    image = tl.program_id(0).to(tl.int64)
    at, kx, ky, x, y, z, mirrored, inside = _place(steps, radii, image, box, POINTS)
    j = tl.arange(0, 64)[None, :]
    cell_x, by_x, _ = tap(table, x, j % 4)
    cell_y, by_y, _ = tap(table, y, j // 4 % 4)
    cell_z, by_z, _ = tap(table, z, j // 16)
    cell, mate = place(cell_x, cell_y, cell_z, period)
    # the column kx = 0 holds both members of its Friedel pairs
    share = by_x * by_y * by_z * tl.where(kx == 0, 0.5, 1.0)
    given = values + WIDTH * (image * box * (box // 2 + 1) + at)
    real = tl.load(given, mask=inside, other=0.0)
    imaginary = tl.load(given + 1, mask=inside, other=0.0)
    imaginary = tl.where(mirrored != mate, -imaginary, imaginary)
    held = inside & (j >= 0)
    tl.atomic_add(grid + 2 * cell, share * real, mask=held, sem="relaxed")
    tl.atomic_add(grid + 2 * cell + 1, share * imaginary, mask=held, sem="relaxed")
    if WIDTH == 3:
        weight = tl.load(given + 2, mask=inside, other=0.0)
        tl.atomic_add(weights + cell, share * weight, mask=held, sem="relaxed")


def _places(steps: Tensor, radii: Tensor, box: int) -> tuple[Tensor, Tensor]:
    return steps.detach().double().contiguous(), radii.double().clamp_max(0.5 * box).contiguous()


def _programs(n: int, box: int) -> tuple[int, int]:
    return n, -(-box * (box // 2 + 1) // POINTS)


def _real(values: Tensor) -> Tensor:
    return torch.view_as_real(values.detach().resolve_conj().contiguous())


def slices(grid: Tensor, steps: Tensor, radii: Tensor, box_size: int) -> Tensor:
    """`slices_dense` of a complex64 grid that is the transform of a real array."""
    n = len(steps)
    out = grid.new_zeros(n, box_size, box_size // 2 + 1)
    if n:
        with torch.cuda.device_of(grid):
            _slices[_programs(n, box_size)](
                _real(grid), *_places(steps, radii, box_size), table_on(grid.device),
                torch.view_as_real(out), box_size, grid.shape[0], POINTS=POINTS, num_warps=WARPS,
            )  # fmt: skip
    return out


def slopes(grid: Tensor, values: Tensor, steps: Tensor, radii: Tensor) -> Tensor:
    """`slopes_dense` of a complex64 grid that is the transform of a real array."""
    n, box, _ = values.shape
    parts = torch.zeros(*_programs(n, box), 2, 3, device=grid.device)
    if n:
        with torch.cuda.device_of(grid):
            _slopes[_programs(n, box)](
                _real(grid), _real(values), *_places(steps, radii, box), table_on(grid.device),
                parts, box, grid.shape[0], POINTS=POINTS, num_warps=WARPS,
            )  # fmt: skip
    return parts.sum(1, dtype=torch.float64)


class Grids:
    """A half grid (P, P, P // 2 + 1) of complex values and, if ``weighed``, one of real weights."""

    def __init__(self, period: int, device: torch.device, weighed: bool = True) -> None:
        shape = (period, period, period // 2 + 1)
        self._values = torch.zeros(shape, dtype=torch.complex64, device=device)
        self._weights = torch.zeros(shape if weighed else (1,), device=device)

    def add(self, values: Tensor, steps: Tensor, radii: Tensor) -> None:
        """Spread n half planes (n, d, d // 2 + 1, w) of pairs (w = 2) or triples of float32."""
        n, box, _, width = values.shape
        if n:
            with torch.cuda.device_of(values):
                _spread[_programs(n, box)](
                    values.detach().contiguous(), *_places(steps, radii, box),
                    table_on(values.device), torch.view_as_real(self._values), self._weights, box,
                    len(self._values), WIDTH=width, POINTS=POINTS, num_warps=WARPS,
                )  # fmt: skip

    def grids(self) -> tuple[Tensor, Tensor]:
        """The half grids of values and of weights."""
        weights = self._weights if self._weights.dim() == 1 else with_mates(self._weights.clone())
        return with_mates(self._values.clone()), weights


def spread(values: Tensor, steps: Tensor, radii: Tensor, period: int) -> Tensor:
    """`spread_dense` of complex64 values."""
    held = Grids(period, values.device, weighed=False)
    held.add(_real(values), steps, radii)
    return held.grids()[0]

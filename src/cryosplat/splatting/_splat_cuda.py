"""Splatting on CUDA devices: Triton kernels of the definition in `_splat_reference`.

Forward, a program owns a tile of an image and adds up the Gaussians that reach it (`_bins`).
Backward, a program owns a few Gaussians and gathers the gradient's pixels under them. Nothing is
written twice, and sums have one order: results are the same bit for bit in every run on a device.

Cost, from the machine code for sm_90 (no spills, no shared memory): Gaussians of 0.7 to 2 pixels
reach 3.0 tiles, 760 evaluations, forward, and gather 163 pixels backward, at 8.8 and 37 instructions
an evaluation: 210 and 190 instructions of a warp. An H200 issues 1.05e12 a second (132
multiprocessors of 4 schedulers, 1.98 GHz), which bounds 30,000 Gaussians to 87,000 images/s,
forward and backward together. Bytes: some 600 a Gaussian (parameters, boxes, the lists and four
passes of their sort) and 8 a pixel, 19 MB an image of 256 pixels: 250,000 images/s at 4.8 TB/s. The
host waits once an image batch, to learn how long the lists are.
"""

# Triton's types know neither launch options nor numbers in place of constexpr and pointers
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import _bins
from ._bins import span

# Standard deviations. Relative errors found over scales of 0.4 to 6 pixels, also 10 to 1 and partly
# outside, at 4.5 / 4.8 / 5.0: images 1e-5 / 3e-6 / 1e-6, gradients 3e-4 / 9e-5 / 4e-5, the largest
# being the precisions', which weigh the cut-off by its distance squared.
CUTOFF = 5.0
TILE, TILE_GAUSSIANS, TILE_WARPS = 16, 4, 1  # pixels, Gaussians at once: 32 numbers a lane
GAUSSIANS, PIXELS, GATHER_WARPS = 8, 8, 1  # backward: Gaussians a program, pixels of each at once
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _boxes(
    centres, precisions, first, extent, number, k, side,
    CUTOFF: tl.constexpr, TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """The tiles that a Gaussian's ellipse reaches, as a box; extent 0 where it misses the image."""
    g = tl.program_id(0) * LANES + tl.arange(0, LANES)
    held = g < number
    xx = tl.load(precisions + 3 * g, mask=held, other=1.0)
    xy = tl.load(precisions + 3 * g + 1, mask=held, other=0.0)
    yy = tl.load(precisions + 3 * g + 2, mask=held, other=1.0)
    determinant = xx * yy - xy * xy
    cx = tl.load(centres + 2 * g, mask=held, other=0.0)
    cy = tl.load(centres + 2 * g + 1, mask=held, other=0.0)
    x, wide = span(cx, CUTOFF * tl.sqrt(yy / determinant), side, held, TILE)
    y, high = span(cy, CUTOFF * tl.sqrt(xx / determinant), side, held, TILE)
    tl.store(first + 3 * g, x, mask=held)
    tl.store(first + 3 * g + 1, y, mask=held)
    tl.store(first + 3 * g + 2, g // k, mask=held)
    tl.store(extent + 3 * g, wide, mask=held)
    tl.store(extent + 3 * g + 1, high, mask=held)
    tl.store(extent + 3 * g + 2, 1, mask=held)


@triton.jit
def _splat(
    centres, precisions, weights, starts, owners, images, side, tiles,
    TILE: tl.constexpr, GAUSSIANS: tl.constexpr,
):  # fmt: skip
    """One tile: the sum over its list, a few Gaussians at a time."""
    tile = tl.program_id(0)
    pixel = tl.arange(0, TILE * TILE)
    column = tile % tiles * TILE + pixel % TILE
    row = tile // tiles % tiles * TILE + pixel // TILE
    x = column.to(tl.float32)[None, :]
    y = row.to(tl.float32)[None, :]
    end = tl.load(starts + tile + 1)
    total = tl.zeros([GAUSSIANS, TILE * TILE], tl.float32)
    for begin in range(tl.load(starts + tile), end, GAUSSIANS):
        slot = begin + tl.arange(0, GAUSSIANS)[:, None]
        held = slot < end
        g = tl.load(owners + slot, mask=held, other=0)
        a = tl.load(precisions + 3 * g) * (-0.5 * LOG2E)
        b = tl.load(precisions + 3 * g + 1) * -LOG2E
        c = tl.load(precisions + 3 * g + 2) * (-0.5 * LOG2E)
        dx = x - tl.load(centres + 2 * g)
        dy = y - tl.load(centres + 2 * g + 1)
        weight = tl.load(weights + g, mask=held, other=0.0)
        total += weight * tl.exp2(a * dx * dx + dy * (b * dx + c * dy))
    plane = images + (tile // (tiles * tiles)).to(tl.int64) * side * side
    tl.store(plane + row * side + column, tl.sum(total, 0), mask=(column < side) & (row < side))


@triton.jit
def _splat_adjoint(
    centres, precisions, weights, gradient, d_centres, d_precisions, d_weights, number, k, side,
    CUTOFF: tl.constexpr, GAUSSIANS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """A few Gaussians: each gathers its pixels, some at a time, line by line along x.

    An ellipse's lines begin where its shear puts them, and all are taken as long as the longest:
    4 / pi of the ellipse's area whatever its orientation. A line's number is found by a product
    with 1 / length, exact for Gaussians up to 1,600 pixels wide.
    """
    g = tl.program_id(0) * GAUSSIANS + tl.arange(0, GAUSSIANS)[:, None]
    held = g < number
    cx = tl.load(centres + 2 * g, mask=held, other=0.0)
    cy = tl.load(centres + 2 * g + 1, mask=held, other=0.0)
    xx = tl.load(precisions + 3 * g, mask=held, other=1.0)
    xy = tl.load(precisions + 3 * g + 1, mask=held, other=0.0)
    yy = tl.load(precisions + 3 * g + 2, mask=held, other=1.0)
    shear = -xy / xx
    reach = CUTOFF / tl.sqrt(xx)
    reach_y = CUTOFF / tl.sqrt(yy + shear * xy)
    y0 = tl.ceil(tl.maximum(cy - reach_y, 0.0))
    rows = tl.floor(tl.minimum(cy + reach_y, side - 1.0)) - y0 + 1.0
    length = tl.minimum(tl.floor(2.0 * reach) + 1.0, side * 1.0)
    count = tl.where(held & (rows > 0.0), rows * length, 0.0).to(tl.int32)
    per_line = 1.0 / length
    plane = gradient + (g // k).to(tl.int64) * side * side
    a = xx * (-0.5 * LOG2E)
    b = xy * -LOG2E
    c = yy * (-0.5 * LOG2E)
    m = tl.zeros([GAUSSIANS, PIXELS], tl.float32)
    mx, my, mxx, mxy, myy = m, m, m, m, m
    for begin in range(0, tl.max(count), PIXELS):
        pixel = begin + tl.arange(0, PIXELS)[None, :]
        index = pixel.to(tl.float32)
        line = tl.floor((index + 0.5) * per_line)
        y = y0 + line
        dy = y - cy
        x = tl.ceil(tl.maximum(cx + shear * dy - reach, 0.0)) + index - line * length
        dx = x - cx
        inside = (pixel < count) & (x < side)
        value = tl.load(plane + (y * side + x).to(tl.int32), mask=inside, other=0.0)
        e = value * tl.exp2(a * dx * dx + dy * (b * dx + c * dy))
        ex = e * dx
        ey = e * dy
        m += e
        mx += ex
        my += ey
        mxx += ex * dx
        mxy += ex * dy
        myy += ey * dy
    w = tl.load(weights + g, mask=held, other=0.0)
    sx = tl.sum(mx, 1, keep_dims=True)
    sy = tl.sum(my, 1, keep_dims=True)
    tl.store(d_centres + 2 * g, w * (xx * sx + xy * sy), mask=held)
    tl.store(d_centres + 2 * g + 1, w * (xy * sx + yy * sy), mask=held)
    tl.store(d_precisions + 3 * g, -0.5 * w * tl.sum(mxx, 1, keep_dims=True), mask=held)
    tl.store(d_precisions + 3 * g + 1, -w * tl.sum(mxy, 1, keep_dims=True), mask=held)
    tl.store(d_precisions + 3 * g + 2, -0.5 * w * tl.sum(myy, 1, keep_dims=True), mask=held)
    tl.store(d_weights + g, tl.sum(m, 1, keep_dims=True), mask=held)


def splat(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """`splat_dense` (n, side, side), for float32 tensors on one device, to the cut-off."""
    n, k = weights.shape
    centres, precisions, weights = (t.contiguous() for t in (centres, precisions, weights))
    images = weights.new_zeros(n, side, side)
    if not images.numel() or not k:
        return images
    tiles = -(-side // TILE)
    with torch.cuda.device_of(images):
        first = weights.new_empty(n * k, 3, dtype=torch.int32)
        extent = torch.empty_like(first)
        _boxes[(triton.cdiv(n * k, _bins.LANES),)](
            centres, precisions, first, extent, n * k, k, side,
            CUTOFF=CUTOFF, TILE=TILE, LANES=_bins.LANES,
        )  # fmt: skip
        entries = _bins.count(extent).reshape(n, k).sum(1).tolist()
        for i, j in _bins.chunks(entries):
            chunk = slice(i * k, j * k)
            first[chunk, 2] -= i  # bins count from the chunk's first image
            starts, owners = _bins.lists(
                first[chunk], extent[chunk], sum(entries[i:j]), (j - i, tiles, tiles)
            )
            _splat[((j - i) * tiles * tiles,)](
                centres[i:j], precisions[i:j], weights[i:j], starts, owners, images[i:j], side,
                tiles, TILE=TILE, GAUSSIANS=TILE_GAUSSIANS, num_warps=TILE_WARPS,
            )  # fmt: skip
    return images


def splat_adjoint(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`splat_dense_adjoint`, for float32 tensors on one device, to the cut-off."""
    n, k = weights.shape
    inputs = [t.contiguous() for t in (centres, precisions, weights)]
    outputs = [torch.zeros_like(t) for t in inputs]
    if gradient.numel() and k:
        with torch.cuda.device_of(gradient):
            _splat_adjoint[(triton.cdiv(n * k, GAUSSIANS),)](
                *inputs, gradient.contiguous(), *outputs, n * k, k, gradient.shape[-1],
                CUTOFF=CUTOFF, GAUSSIANS=GAUSSIANS, PIXELS=PIXELS, num_warps=GATHER_WARPS,
            )  # fmt: skip
    return outputs[0], outputs[1], outputs[2]

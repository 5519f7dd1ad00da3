"""Voxelisation on CUDA devices: Triton kernels of the definition in `_reference`.

Forward, a program owns a brick of the map and adds up the Gaussians that reach it (`_bins`).
Backward, a program owns a Gaussian and gathers the gradient's voxels under it. Nothing is written
twice, and sums have one order: results are the same bit for bit in every run on a device.

Cost, from the machine code for sm_90 (no spills): a Gaussian of 1 voxel reaches 11 bricks, 5,800
evaluations, forward, and gathers 1,200 voxels backward, at 19 and 111 instructions an evaluation:
7,600 instructions of a warp. For 30,000 Gaussians that is 0.22 ms of an H200 at one instruction a
cycle and scheduler.
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

CUTOFF = 5.0  # standard deviations; errors as for images, see `_splat_cuda`
BRICK = 8
GAUSSIANS_AT_ONCE, BRICK_WARPS = 4, 4
VOXELS_AT_ONCE = 128
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _boxes(
    centres, precisions, first, extent, number, side,
    CUTOFF: tl.constexpr, BRICK: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """The bricks that a Gaussian's ellipsoid reaches, as a box; extent 0 where it misses the map."""
    g = tl.program_id(0) * LANES + tl.arange(0, LANES)
    held = g < number
    xx = tl.load(precisions + 6 * g, mask=held, other=1.0)
    xy = tl.load(precisions + 6 * g + 1, mask=held, other=0.0)
    xz = tl.load(precisions + 6 * g + 2, mask=held, other=0.0)
    yy = tl.load(precisions + 6 * g + 3, mask=held, other=1.0)
    yz = tl.load(precisions + 6 * g + 4, mask=held, other=0.0)
    zz = tl.load(precisions + 6 * g + 5, mask=held, other=1.0)
    of_x = yy * zz - yz * yz
    of_y = xx * zz - xz * xz
    of_z = xx * yy - xy * xy
    determinant = xx * of_x - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    cx = tl.load(centres + 3 * g, mask=held, other=0.0)
    cy = tl.load(centres + 3 * g + 1, mask=held, other=0.0)
    cz = tl.load(centres + 3 * g + 2, mask=held, other=0.0)
    x, wide = span(cx, CUTOFF * tl.sqrt(of_x / determinant), side, held, BRICK)
    y, high = span(cy, CUTOFF * tl.sqrt(of_y / determinant), side, held, BRICK)
    z, deep = span(cz, CUTOFF * tl.sqrt(of_z / determinant), side, held, BRICK)
    tl.store(first + 3 * g, x, mask=held)
    tl.store(first + 3 * g + 1, y, mask=held)
    tl.store(first + 3 * g + 2, z, mask=held)
    tl.store(extent + 3 * g, wide, mask=held)
    tl.store(extent + 3 * g + 1, high, mask=held)
    tl.store(extent + 3 * g + 2, deep, mask=held)


@triton.jit
def _voxelize(
    centres, precisions, weights, starts, owners, volume, side, bricks,
    BRICK: tl.constexpr, GAUSSIANS: tl.constexpr,
):  # fmt: skip
    """One brick: the sum over its list, a few Gaussians at a time."""
    brick = tl.program_id(0)
    voxel = tl.arange(0, BRICK * BRICK * BRICK)
    x = brick % bricks * BRICK + voxel % BRICK
    y = brick // bricks % bricks * BRICK + voxel // BRICK % BRICK
    z = brick // (bricks * bricks) * BRICK + voxel // (BRICK * BRICK)
    end = tl.load(starts + brick + 1)
    total = tl.zeros([GAUSSIANS, BRICK * BRICK * BRICK], tl.float32)
    for begin in range(tl.load(starts + brick), end, GAUSSIANS):
        slot = begin + tl.arange(0, GAUSSIANS)[:, None]
        held = slot < end
        g = tl.load(owners + slot, mask=held, other=0)
        xx = tl.load(precisions + 6 * g)
        xy = 2.0 * tl.load(precisions + 6 * g + 1)
        xz = 2.0 * tl.load(precisions + 6 * g + 2)
        yy = tl.load(precisions + 6 * g + 3)
        yz = 2.0 * tl.load(precisions + 6 * g + 4)
        zz = tl.load(precisions + 6 * g + 5)
        dx = x.to(tl.float32)[None, :] - tl.load(centres + 3 * g)
        dy = y.to(tl.float32)[None, :] - tl.load(centres + 3 * g + 1)
        dz = z.to(tl.float32)[None, :] - tl.load(centres + 3 * g + 2)
        form = dx * (xx * dx + xy * dy + xz * dz) + dy * (yy * dy + yz * dz) + zz * dz * dz
        weight = tl.load(weights + g, mask=held, other=0.0)
        total += weight * tl.exp2(form * (-0.5 * LOG2E))
    inside = (x < side) & (y < side) & (z < side)
    line = z.to(tl.int64) * side + y
    tl.store(volume + line * side + x, tl.sum(total, 0), mask=inside)


@triton.jit
def _voxelize_adjoint(
    centres, precisions, weights, gradient, d_centres, d_precisions, d_weights, side,
    CUTOFF: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """One Gaussian: it gathers its voxels line by line along x, in a box sheared with it.

    Schur complements of the precision give the line's middle and the layer's; all lines of the box
    are as long as the longest and all layers as high as the highest: 6 / pi of the ellipsoid's
    volume whatever its orientation.
    """
    g = tl.program_id(0)
    cx = tl.load(centres + 3 * g)
    cy = tl.load(centres + 3 * g + 1)
    cz = tl.load(centres + 3 * g + 2)
    xx = tl.load(precisions + 6 * g)
    xy = tl.load(precisions + 6 * g + 1)
    xz = tl.load(precisions + 6 * g + 2)
    yy = tl.load(precisions + 6 * g + 3)
    yz = tl.load(precisions + 6 * g + 4)
    zz = tl.load(precisions + 6 * g + 5)
    x_by_y = -xy / xx
    x_by_z = -xz / xx
    s_yy = yy + x_by_y * xy
    s_yz = yz + x_by_y * xz
    y_by_z = -s_yz / s_yy
    reach_x = CUTOFF / tl.sqrt(xx)
    reach_y = CUTOFF / tl.sqrt(s_yy)
    reach_z = CUTOFF / tl.sqrt(zz + x_by_z * xz + y_by_z * s_yz)
    z0 = tl.ceil(tl.maximum(cz - reach_z, 0.0))
    deep = tl.floor(tl.minimum(cz + reach_z, side - 1.0)) - z0 + 1.0
    high = tl.minimum(tl.floor(2.0 * reach_y) + 1.0, side * 1.0).to(tl.int32)
    wide = tl.minimum(tl.floor(2.0 * reach_x) + 1.0, side * 1.0).to(tl.int32)
    count = tl.where(deep > 0.0, deep, 0.0).to(tl.int32) * high * wide
    m = tl.zeros([VOXELS], tl.float32)
    mx, my, mz, mxx, mxy, mxz, myy, myz, mzz = m, m, m, m, m, m, m, m, m
    for begin in range(0, count, VOXELS):
        voxel = begin + tl.arange(0, VOXELS)
        line = voxel // wide
        z = z0 + (line // high).to(tl.float32)
        dz = z - cz
        y = tl.ceil(tl.maximum(cy + y_by_z * dz - reach_y, 0.0)) + (line % high).to(tl.float32)
        dy = y - cy
        start = tl.ceil(tl.maximum(cx + x_by_y * dy + x_by_z * dz - reach_x, 0.0))
        x = start + (voxel % wide).to(tl.float32)
        dx = x - cx
        inside = (voxel < count) & (x < side) & (y < side)
        at = (z.to(tl.int64) * side + y.to(tl.int32)) * side + x.to(tl.int32)
        form = (
            dx * (xx * dx + 2.0 * (xy * dy + xz * dz))
            + dy * (yy * dy + 2.0 * yz * dz)
            + zz * dz * dz
        )
        e = tl.load(gradient + at, mask=inside, other=0.0) * tl.exp2(form * (-0.5 * LOG2E))
        ex = e * dx
        ey = e * dy
        ez = e * dz
        m += e
        mx += ex
        my += ey
        mz += ez
        mxx += ex * dx
        mxy += ex * dy
        mxz += ex * dz
        myy += ey * dy
        myz += ey * dz
        mzz += ez * dz
    w = tl.load(weights + g)
    sx = tl.sum(mx, 0)
    sy = tl.sum(my, 0)
    sz = tl.sum(mz, 0)
    tl.store(d_centres + 3 * g, w * (xx * sx + xy * sy + xz * sz))
    tl.store(d_centres + 3 * g + 1, w * (xy * sx + yy * sy + yz * sz))
    tl.store(d_centres + 3 * g + 2, w * (xz * sx + yz * sy + zz * sz))
    tl.store(d_precisions + 6 * g, -0.5 * w * tl.sum(mxx, 0))
    tl.store(d_precisions + 6 * g + 1, -w * tl.sum(mxy, 0))
    tl.store(d_precisions + 6 * g + 2, -w * tl.sum(mxz, 0))
    tl.store(d_precisions + 6 * g + 3, -0.5 * w * tl.sum(myy, 0))
    tl.store(d_precisions + 6 * g + 4, -w * tl.sum(myz, 0))
    tl.store(d_precisions + 6 * g + 5, -0.5 * w * tl.sum(mzz, 0))
    tl.store(d_weights + g, tl.sum(m, 0))


def voxelize(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """`voxelize_dense` (side, side, side) of float32 tensors on one device, to CUTOFF."""
    k = weights.shape[0]
    centres, precisions, weights = (t.contiguous() for t in (centres, precisions, weights))
    bricks = -(-side // BRICK)
    volume = weights.new_zeros(side, side, side)
    if not k:
        return volume
    with torch.cuda.device_of(volume):
        first = weights.new_empty(k, 3, dtype=torch.int32)
        extent = torch.empty_like(first)
        _boxes[(triton.cdiv(k, _bins.LANES),)](
            centres, precisions, first, extent, k, side,
            CUTOFF=CUTOFF, BRICK=BRICK, LANES=_bins.LANES,
        )  # fmt: skip
        entries = int(_bins.count(extent).sum())
        starts, owners = _bins.lists(first, extent, entries, (bricks, bricks, bricks))
        _voxelize[(bricks**3,)](
            centres, precisions, weights, starts, owners, volume, side, bricks,
            BRICK=BRICK, GAUSSIANS=GAUSSIANS_AT_ONCE, num_warps=BRICK_WARPS,
        )  # fmt: skip
    return volume


def voxelize_adjoint(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`voxelize_dense_adjoint` of float32 tensors on one device, to CUTOFF."""
    inputs = [t.contiguous() for t in (centres, precisions, weights)]
    outputs = [torch.zeros_like(t) for t in inputs]
    if gradient.numel() and weights.numel():
        with torch.cuda.device_of(gradient):
            _voxelize_adjoint[(weights.shape[0],)](
                *inputs, gradient.contiguous(), *outputs, gradient.shape[0],
                CUTOFF=CUTOFF, VOXELS=VOXELS_AT_ONCE, num_warps=1,
            )  # fmt: skip
    return outputs[0], outputs[1], outputs[2]

"""Likelihoods of images at poses on CUDA devices: a Triton kernel of `_cpu.evaluated`.

A program sums over every so many blocks of the points of one image. A point is read with all 64 cells
that it touches; it is found in double precision.
"""

# Triton's types know neither launch options nor numbers in place of constexpr and pointers
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..gridding.cuda_points import place, table_on, tap
from ._lines import SUMS

POINTS, WARPS = 16, 4
PARTS = 16  # programs of an image


@triton.jit
def _evaluated(
    grid, values, stretch, radii, images, rotations, shifts, table, out, box, period, reach,
    PARTS: tl.constexpr, POINTS: tl.constexpr,
):  # fmt: skip
    entry = tl.program_id(0).to(tl.int64)
    image = tl.load(images + entry)
    radius = tl.load(radii + image)
    b00, b01 = tl.load(stretch + 4 * image), tl.load(stretch + 4 * image + 1)
    b10, b11 = tl.load(stretch + 4 * image + 2), tl.load(stretch + 4 * image + 3)
    turn = rotations + 9 * entry
    a0, a1, a2 = tl.load(turn), tl.load(turn + 1), tl.load(turn + 2)
    c0, c1, c2 = tl.load(turn + 3), tl.load(turn + 4), tl.load(turn + 5)
    d0, d1, d2 = tl.load(turn + 6), tl.load(turn + 7), tl.load(turn + 8)
    shift_x, shift_y = tl.load(shifts + 2 * entry), tl.load(shifts + 2 * entry + 1)
    across = 6.283185307179586 / box
    j = tl.arange(0, 64)[None, :]
    rows, columns, half = 2 * reach - 1, reach, box // 2 + 1
    blocks = (rows * columns + POINTS - 1) // POINTS
    zero = tl.zeros([POINTS, 1], tl.float32)
    total, g0, g1, g2, g3, g4 = zero, zero, zero, zero, zero, zero
    h00, h01, h02, h03, h04, h11, h12 = zero, zero, zero, zero, zero, zero, zero
    h13, h14, h22, h23, h24, h33, h34, h44 = zero, zero, zero, zero, zero, zero, zero, zero
    for block in range(tl.program_id(1), blocks, PARTS):
        at = block * POINTS + tl.arange(0, POINTS)[:, None]
        kx = at % columns
        ky = at // columns - (reach - 1)
        inside = (at < rows * columns) & ((kx * kx + ky * ky).to(tl.float64) < radius * radius)
        # along the image's axes, in cells, and in the map
        x = kx.to(tl.float64) * b00 + ky.to(tl.float64) * b01
        y = kx.to(tl.float64) * b10 + ky.to(tl.float64) * b11
        px, py, pz = x * a0 + y * c0, x * a1 + y * c1, x * a2 + y * c2
        mirrored = px < 0.0
        sign = tl.where(mirrored, -1.0, 1.0)
        cell_x, by_x, slope_x = tap(table, px * sign, j % 4)
        cell_y, by_y, slope_y = tap(table, py * sign, j // 4 % 4)
        cell_z, by_z, slope_z = tap(table, pz * sign, j // 16)
        cell, mate = place(cell_x, cell_y, cell_z, period)
        re = tl.load(grid + 2 * cell, mask=inside, other=0.0)
        im = tl.load(grid + 2 * cell + 1, mask=inside, other=0.0)
        im = tl.where(mate, -im, im)
        # a mirrored point holds the conjugate of its mate's value, and minus that of its derivative
        flip = sign.to(tl.float32)
        weight = by_x * by_y * by_z
        sr = tl.sum(weight * re, 1, keep_dims=True)
        si = flip * tl.sum(weight * im, 1, keep_dims=True)
        weight = slope_x * by_y * by_z
        xr = flip * tl.sum(weight * re, 1, keep_dims=True)
        xi = tl.sum(weight * im, 1, keep_dims=True)
        weight = by_x * slope_y * by_z
        yr = flip * tl.sum(weight * re, 1, keep_dims=True)
        yi = tl.sum(weight * im, 1, keep_dims=True)
        weight = by_x * by_y * slope_z
        ur = flip * tl.sum(weight * re, 1, keep_dims=True)
        ui = tl.sum(weight * im, 1, keep_dims=True)
        row = tl.where(ky < 0, ky + box, ky)
        given = values + 3 * ((image * box + row) * half + kx)
        w0 = tl.load(given, mask=inside, other=0.0)
        w1 = tl.load(given + 1, mask=inside, other=0.0)
        p = tl.load(given + 2, mask=inside, other=0.0)
        angle = -across * (kx.to(tl.float64) * shift_x + ky.to(tl.float64) * shift_y)
        c, s = tl.cos(angle.to(tl.float32)), tl.sin(angle.to(tl.float32))
        pair = tl.where(kx == 0, 1.0, 2.0).to(tl.float32)
        wr, wi = pair * (c * w0 - s * w1), pair * (c * w1 + s * w0)
        p = pair * p
        # derivatives along the image's z axis, and by a turn about it
        zr = (d0 * xr + d1 * yr + d2 * ur).to(tl.float32)
        zi = (d0 * xi + d1 * yi + d2 * ui).to(tl.float32)
        e0, e1, e2 = y * a0 - x * c0, y * a1 - x * c1, y * a2 - x * c2
        tr = (e0 * xr + e1 * yr + e2 * ur).to(tl.float32)
        ti = (e0 * xi + e1 * yi + e2 * ui).to(tl.float32)
        x, y = x.to(tl.float32), y.to(tl.float32)
        fx, fy = (across * kx).to(tl.float32), (across * ky).to(tl.float32)
        rr, ri = wr - p * sr, wi - p * si
        power = p * (sr * sr + si * si)
        total += sr * wr + si * wi - 0.5 * power
        along_z, cross = zr * rr + zi * ri, sr * wi - si * wr
        g0 -= y * along_z
        g1 += x * along_z
        g2 += tr * rr + ti * ri
        g3 += fx * cross
        g4 += fy * cross
        zz, zt, tt = p * (zr * zr + zi * zi), p * (zr * tr + zi * ti), p * (tr * tr + ti * ti)
        sz, st = p * (sr * zi - si * zr), p * (sr * ti - si * tr)
        h00 += y * y * zz
        h01 -= x * y * zz
        h02 -= y * zt
        h03 -= fx * y * sz
        h04 -= fy * y * sz
        h11 += x * x * zz
        h12 += x * zt
        h13 += fx * x * sz
        h14 += fy * x * sz
        h22 += tt
        h23 += fx * st
        h24 += fy * st
        h33 += fx * fx * power
        h34 += fx * fy * power
        h44 += fy * fy * power
    to = out + 21 * (entry * PARTS + tl.program_id(1))
    tl.store(to, tl.sum(total))
    tl.store(to + 1, tl.sum(g0))
    tl.store(to + 2, tl.sum(g1))
    tl.store(to + 3, tl.sum(g2))
    tl.store(to + 4, tl.sum(g3))
    tl.store(to + 5, tl.sum(g4))
    tl.store(to + 6, tl.sum(h00))
    tl.store(to + 7, tl.sum(h01))
    tl.store(to + 8, tl.sum(h02))
    tl.store(to + 9, tl.sum(h03))
    tl.store(to + 10, tl.sum(h04))
    tl.store(to + 11, tl.sum(h11))
    tl.store(to + 12, tl.sum(h12))
    tl.store(to + 13, tl.sum(h13))
    tl.store(to + 14, tl.sum(h14))
    tl.store(to + 15, tl.sum(h22))
    tl.store(to + 16, tl.sum(h23))
    tl.store(to + 17, tl.sum(h24))
    tl.store(to + 18, tl.sum(h33))
    tl.store(to + 19, tl.sum(h34))
    tl.store(to + 20, tl.sum(h44))


def evaluated(
    transform: Tensor, values: Tensor, stretch: Tensor, radii: Tensor, image: Tensor,
    rotations: Tensor, shifts: Tensor,
) -> Tensor:  # fmt: skip
    """The log-likelihood of entries and its derivatives, (m, SUMS) float64: see `_cpu.evaluated`.

    ``transform``: the padded half grid, complex64; ``values`` float32, ``image`` int64, the others
    float64.
    """
    grid = torch.view_as_real(transform.resolve_conj().contiguous())
    reach = max(1, min(math.ceil(float(radii.max())), values.shape[2]))
    common = values.contiguous(), stretch.contiguous(), radii.contiguous()
    entries = image.contiguous(), rotations.contiguous(), shifts.contiguous()
    out = torch.empty(len(image), PARTS, SUMS, device=values.device)
    if len(image):
        with torch.cuda.device_of(grid):
            _evaluated[(len(image), PARTS)](
                grid, *common, *entries, table_on(values.device), out, values.shape[1],
                transform.shape[0], reach, PARTS=PARTS, POINTS=POINTS, num_warps=WARPS,
            )  # fmt: skip
    return out.sum(1, dtype=torch.float64)

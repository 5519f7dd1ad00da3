"""Rows of slices and their derivatives, and a row's part of a likelihood: the inner loops, in numba.

A point's 4 x 4 x 4 cells are read as sixteen rows of eight numbers, real and imaginary part of four
neighbours along x.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ..gridding import LOW, TAPS
from ..gridding.lanes import LANES, row_sum, tap_slopes, three_row_sums

SUMS = 21  # the likelihood, its 5 derivatives, and 15 numbers of their symmetric matrix
FAST = {"contract", "nsz", "arcp", "reassoc"}
_ROWS = TAPS * TAPS


@njit(inline="always")
def memory_of_point():
    """Working memory: taps and their slopes; where rows start, what they count, and their sums."""
    return (
        np.empty((6, TAPS), np.float32), np.empty(_ROWS, np.int64),
        np.empty(3 * _ROWS, np.float32), np.empty(3 * LANES, np.float32),
    )  # fmt: skip


@njit(inline="always", error_model="numpy", fastmath=FAST)
def _taps(q, weights, slopes):
    """Weights and slopes (TAPS,) of a coordinate's taps; returns the first of their cells."""
    cell = math.floor(q)
    t = np.float32(2.0 * (q - cell) - 1.0)
    tap_slopes(t, weights, slopes)  # pyright: ignore[reportCallIssue]
    return int(cell) - LOW


@njit(inline="always", error_model="numpy", fastmath=FAST)
def _across(weights, found, at):
    """The sum along x of every second number of a row, from ``at`` on."""
    return (
        weights[0] * found[at] + weights[1] * found[at + 2]
        + weights[2] * found[at + 4] + weights[3] * found[at + 6]
    )  # fmt: skip


@njit(inline="always", error_model="numpy", fastmath=FAST)
def slice_row(cells, shape, u, origin, width, near, out):
    """A slice and its derivatives at ``origin + kx u``, kx < ``width``, in cells (x, y, z).

    ``cells``: flat, real and imaginary parts of a cube of ``shape`` (rows, columns, lead) that begins
    at ``-lead`` along z and y, and at ``-LOW`` along x. ``out`` (8, width): real and imaginary part of
    the slice, and of its derivatives by x, y and z. ``near``: `memory_of_point`.
    """
    rows, columns, lead = shape
    taps, starts, heights, found = near
    wx, wy, wz, sx, sy, sz = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for kx in range(width):
        x, y, z = origin[0] + kx * u[0], origin[1] + kx * u[1], origin[2] + kx * u[2]
        mirrored = x < 0.0
        if mirrored:
            x, y, z = -x, -y, -z
        column = _taps(x, wx, sx) + LOW
        row, plane = _taps(y, wy, sy) + lead, _taps(z, wz, sz) + lead
        for jz in range(TAPS):
            for jy in range(TAPS):
                c = TAPS * jz + jy
                starts[c] = 2 * (((plane + jz) * rows + row + jy) * columns + column)
                heights[c] = wz[jz] * wy[jy]
                heights[_ROWS + c], heights[2 * _ROWS + c] = wz[jz] * sy[jy], sz[jz] * wy[jy]
        three_row_sums(cells, starts, heights, found)  # pyright: ignore[reportCallIssue]
        # a mirrored point holds the conjugate of its mate's value, and minus that of its derivative
        sign = np.float32(-1.0) if mirrored else np.float32(1.0)
        out[0, kx] = _across(wx, found, 0)
        out[1, kx] = sign * _across(wx, found, 1)
        out[2, kx] = sign * _across(sx, found, 0)
        out[3, kx] = _across(sx, found, 1)
        out[4, kx] = sign * _across(wx, found, 8)
        out[5, kx] = _across(wx, found, 9)
        out[6, kx] = sign * _across(wx, found, 16)
        out[7, kx] = _across(wx, found, 17)


@njit(inline="always", error_model="numpy", fastmath=FAST)
def values_row(cells, shape, u, origin, width, near, out):
    """The first two lines of `slice_row`: the slice alone."""
    rows, columns, lead = shape
    taps, starts, heights, found = near
    wx, wy, wz, unused = taps[0], taps[1], taps[2], taps[3]
    for kx in range(width):
        x, y, z = origin[0] + kx * u[0], origin[1] + kx * u[1], origin[2] + kx * u[2]
        mirrored = x < 0.0
        if mirrored:
            x, y, z = -x, -y, -z
        column = _taps(x, wx, unused) + LOW
        row, plane = _taps(y, wy, unused) + lead, _taps(z, wz, unused) + lead
        for jz in range(TAPS):
            for jy in range(TAPS):
                c = TAPS * jz + jy
                starts[c] = 2 * (((plane + jz) * rows + row + jy) * columns + column)
                heights[c] = wz[jz] * wy[jy]
        row_sum(cells, starts, heights, found)  # pyright: ignore[reportCallIssue]
        im = _across(wx, found, 1)
        out[0, kx], out[1, kx] = _across(wx, found, 0), -im if mirrored else im


@njit(inline="always", error_model="numpy", fastmath=FAST)
def add_row(slices, values, turned, width, axes, first, second, ky, across, sums):
    """Add a row's part to ``sums`` (SUMS,) of a likelihood: see `_cpu.evaluated`.

    ``slices`` (8, width) as `slice_row` gives them, ``values`` (width, 3): w and p, ``turned`` (2,
    width): the factor that moves w; ``axes``: rows of the rotation; ``first`` and ``second``: cells
    along x and y of the image that a step of kx, and of ky, moves a point by; ``across``: radian that
    a step of frequency makes a pixel's shift count.
    """
    (a0, a1, a2), (b0, b1, b2), (c0, c1, c2) = axes
    total = g0 = g1 = g2 = g3 = g4 = np.float32(0.0)
    h00 = h01 = h02 = h03 = h04 = np.float32(0.0)
    h11 = h12 = h13 = h14 = h22 = h23 = h24 = h33 = h34 = h44 = np.float32(0.0)
    fy = across * np.float32(ky)
    for kx in range(width):
        pair = np.float32(1.0) if kx == 0 else np.float32(2.0)
        x = np.float32(kx) * first[0] + np.float32(ky) * second[0]
        y = np.float32(kx) * first[1] + np.float32(ky) * second[1]
        fx = across * np.float32(kx)
        sr, si = slices[0, kx], slices[1, kx]
        # derivatives along the image's axes
        zr = c0 * slices[2, kx] + c1 * slices[4, kx] + c2 * slices[6, kx]
        zi = c0 * slices[3, kx] + c1 * slices[5, kx] + c2 * slices[7, kx]
        tr = (y * a0 - x * b0) * slices[2, kx] + (y * a1 - x * b1) * slices[4, kx]
        ti = (y * a0 - x * b0) * slices[3, kx] + (y * a1 - x * b1) * slices[5, kx]
        tr += (y * a2 - x * b2) * slices[6, kx]
        ti += (y * a2 - x * b2) * slices[7, kx]
        c, s = turned[0, kx], turned[1, kx]
        wr = c * values[kx, 0] - s * values[kx, 1]
        wi = c * values[kx, 1] + s * values[kx, 0]
        p = pair * values[kx, 2]
        wr, wi = pair * wr, pair * wi
        rr, ri = wr - p * sr, wi - p * si
        power = p * (sr * sr + si * si)
        total += sr * wr + si * wi - np.float32(0.5) * power
        along_z, along_t = zr * rr + zi * ri, tr * rr + ti * ri
        g0 -= y * along_z
        g1 += x * along_z
        g2 += along_t
        cross = sr * wi - si * wr  # of the residual too: what the slice takes off it is real
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
    row = (
        total, g0, g1, g2, g3, g4, h00, h01, h02, h03, h04, h11, h12, h13, h14, h22, h23, h24,
        h33, h34, h44,
    )  # fmt: skip
    for j in range(SUMS):
        sums[j] += row[j]

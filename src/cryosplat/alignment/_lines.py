"""Rows of slices and their derivatives, and a row's part of a likelihood: the inner loops, in numba.

A point's 4 x 4 x 4 cells are read as sixteen runs of eight numbers, real and imaginary part of four
neighbours along x, which the compiler keeps in registers.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ..gridding import LOW, POLYNOMIALS, TAPS

SUMS = 21  # the likelihood, its 5 derivatives, and 15 numbers of their symmetric matrix
FAST = {"contract", "nsz", "arcp", "reassoc"}
_TERMS = POLYNOMIALS.astype(np.float32)  # constants of the compiled code
_DEGREE = len(POLYNOMIALS) - 1


@njit(inline="always", error_model="numpy", fastmath=FAST)
def _taps(q, weights, slopes):
    """Weights and slopes (TAPS,) of a coordinate's taps; returns the first of their cells."""
    cell = math.floor(q)
    t = np.float32(2.0 * (q - cell) - 1.0)
    for j in range(TAPS):
        value, slope = _TERMS[0, j], np.float32(0.0)
        for degree in range(1, _DEGREE + 1):
            slope = slope * t + value
            value = value * t + _TERMS[degree, j]
        weights[j], slopes[j] = value, np.float32(2.0) * slope
    return int(cell) - LOW


@njit(inline="always", error_model="numpy", fastmath=FAST)
def slice_row(cells, shape, u, origin, width, taps, out):
    """A slice and its derivatives at ``origin + kx u``, kx < ``width``, in cells (x, y, z).

    ``cells``: flat, real and imaginary parts of a cube of ``shape`` (rows, columns, lead) that begins
    at ``-lead`` along z and y, and at ``-LOW`` along x. ``out`` (8, width): real and imaginary part of
    the slice, and of its derivatives by x, y and z. ``taps`` (6, TAPS): memory.
    """
    rows, columns, lead = shape
    wx, wy, wz, sx, sy, sz = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    zero = np.float32(0.0)
    for kx in range(width):
        x, y, z = origin[0] + kx * u[0], origin[1] + kx * u[1], origin[2] + kx * u[2]
        mirrored = x < 0.0
        if mirrored:
            x, y, z = -x, -y, -z
        column = _taps(x, wx, sx) + LOW
        row, plane = _taps(y, wy, sy) + lead, _taps(z, wz, sz) + lead
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
        b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = zero
        c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = zero
        for jz in range(TAPS):
            for jy in range(TAPS):
                at = 2 * (((plane + jz) * rows + row + jy) * columns + column)
                a, b, c = wz[jz] * wy[jy], wz[jz] * sy[jy], sz[jz] * wy[jy]
                v0, v1, v2, v3 = cells[at], cells[at + 1], cells[at + 2], cells[at + 3]
                v4, v5, v6, v7 = cells[at + 4], cells[at + 5], cells[at + 6], cells[at + 7]
                a0 += a * v0
                a1 += a * v1
                a2 += a * v2
                a3 += a * v3
                a4 += a * v4
                a5 += a * v5
                a6 += a * v6
                a7 += a * v7
                b0 += b * v0
                b1 += b * v1
                b2 += b * v2
                b3 += b * v3
                b4 += b * v4
                b5 += b * v5
                b6 += b * v6
                b7 += b * v7
                c0 += c * v0
                c1 += c * v1
                c2 += c * v2
                c3 += c * v3
                c4 += c * v4
                c5 += c * v5
                c6 += c * v6
                c7 += c * v7
        # a mirrored point holds the conjugate of its mate's value, and minus that of its derivative
        sign = np.float32(-1.0) if mirrored else np.float32(1.0)
        out[0, kx] = wx[0] * a0 + wx[1] * a2 + wx[2] * a4 + wx[3] * a6
        out[1, kx] = sign * (wx[0] * a1 + wx[1] * a3 + wx[2] * a5 + wx[3] * a7)
        out[2, kx] = sign * (sx[0] * a0 + sx[1] * a2 + sx[2] * a4 + sx[3] * a6)
        out[3, kx] = sx[0] * a1 + sx[1] * a3 + sx[2] * a5 + sx[3] * a7
        out[4, kx] = sign * (wx[0] * b0 + wx[1] * b2 + wx[2] * b4 + wx[3] * b6)
        out[5, kx] = wx[0] * b1 + wx[1] * b3 + wx[2] * b5 + wx[3] * b7
        out[6, kx] = sign * (wx[0] * c0 + wx[1] * c2 + wx[2] * c4 + wx[3] * c6)
        out[7, kx] = wx[0] * c1 + wx[1] * c3 + wx[2] * c5 + wx[3] * c7


@njit(inline="always", error_model="numpy", fastmath=FAST)
def values_row(cells, shape, u, origin, width, taps, out):
    """The first two lines of `slice_row`: the slice alone."""
    rows, columns, lead = shape
    wx, wy, wz, unused = taps[0], taps[1], taps[2], taps[3]
    zero = np.float32(0.0)
    for kx in range(width):
        x, y, z = origin[0] + kx * u[0], origin[1] + kx * u[1], origin[2] + kx * u[2]
        mirrored = x < 0.0
        if mirrored:
            x, y, z = -x, -y, -z
        column = _taps(x, wx, unused) + LOW
        row, plane = _taps(y, wy, unused) + lead, _taps(z, wz, unused) + lead
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
        for jz in range(TAPS):
            for jy in range(TAPS):
                at = 2 * (((plane + jz) * rows + row + jy) * columns + column)
                a = wz[jz] * wy[jy]
                a0 += a * cells[at]
                a1 += a * cells[at + 1]
                a2 += a * cells[at + 2]
                a3 += a * cells[at + 3]
                a4 += a * cells[at + 4]
                a5 += a * cells[at + 5]
                a6 += a * cells[at + 6]
                a7 += a * cells[at + 7]
        out[0, kx] = wx[0] * a0 + wx[1] * a2 + wx[2] * a4 + wx[3] * a6
        im = wx[0] * a1 + wx[1] * a3 + wx[2] * a5 + wx[3] * a7
        out[1, kx] = -im if mirrored else im


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

"""First hits of parallel rays on an isosurface, with depth and normal: a numba kernel.

The map is a cubic B-spline with the voxels as coefficients, so that surface and normals are smooth;
this blurs by a third of a voxel's variance per axis. Rays look for it trilinearly first, which is
cheap; the spline itself decides, and the crossing is bisected.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

STEP = 0.6  # voxels
NEAR = 0.8  # of the level: from here on the spline itself is asked
BISECTIONS = 8


@njit(inline="always")
def _trilinear(volume, x, y, z):
    i, j, k = math.floor(z), math.floor(y), math.floor(x)
    n = volume.shape[0]
    if i < 0 or j < 0 or k < 0 or i >= n - 1 or j >= n - 1 or k >= n - 1:
        return np.float32(0.0)
    w, v, u = z - i, y - j, x - k
    low = (volume[i, j, k] * (1 - u) + volume[i, j, k + 1] * u) * (1 - v) + (
        volume[i, j + 1, k] * (1 - u) + volume[i, j + 1, k + 1] * u
    ) * v
    i += 1
    high = (volume[i, j, k] * (1 - u) + volume[i, j, k + 1] * u) * (1 - v) + (
        volume[i, j + 1, k] * (1 - u) + volume[i, j + 1, k + 1] * u
    ) * v
    return np.float32(low * (1 - w) + high * w)


@njit(inline="always")
def _spline(t, weights, slopes):
    """Cubic B-spline weights of four neighbours at fraction ``t``, and their derivatives."""
    s = 1.0 - t
    weights[0], weights[3] = s * s * s / 6.0, t * t * t / 6.0
    weights[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    weights[2] = 1.0 - weights[0] - weights[1] - weights[3]
    slopes[0], slopes[3] = -0.5 * s * s, 0.5 * t * t
    slopes[1] = (-4.0 * t + 3.0 * t * t) / 2.0
    slopes[2] = -slopes[0] - slopes[1] - slopes[3]


@njit(fastmath=True)
def _value(volume, x, y, z, work):
    """The B-spline at a point; 0 at the border."""
    i, j, k = math.floor(z), math.floor(y), math.floor(x)
    n = volume.shape[0]
    if i < 1 or j < 1 or k < 1 or i >= n - 2 or j >= n - 2 or k >= n - 2:
        return 0.0
    _spline(x - k, work[0], work[1])
    _spline(y - j, work[2], work[3])
    _spline(z - i, work[4], work[5])
    a, b, c, d = work[0]
    value = 0.0
    for p in range(4):
        plane = 0.0
        for q in range(4):
            row = volume[i - 1 + p, j - 1 + q]
            plane += work[2, q] * (a * row[k - 1] + b * row[k] + c * row[k + 1] + d * row[k + 2])
        value += work[4, p] * plane
    return value


@njit(fastmath=True)
def _gradient(volume, x, y, z, normal, work):
    """Gradient (x, y, z) of the B-spline at a point, into ``normal``; 0 at the border."""
    i, j, k = math.floor(z), math.floor(y), math.floor(x)
    n = volume.shape[0]
    normal[:] = 0.0
    if i < 1 or j < 1 or k < 1 or i >= n - 2 or j >= n - 2 or k >= n - 2:
        return
    _spline(x - k, work[0], work[1])
    _spline(y - j, work[2], work[3])
    _spline(z - i, work[4], work[5])
    for c in range(4):
        for b in range(4):
            line = slope = 0.0
            for a in range(4):
                voxel = volume[i - 1 + c, j - 1 + b, k - 1 + a]
                line += work[0, a] * voxel
                slope += work[1, a] * voxel
            normal[0] += work[4, c] * work[2, b] * slope
            normal[1] += work[4, c] * work[3, b] * line
            normal[2] += work[5, c] * work[2, b] * line


@njit(parallel=True, fastmath={"contract", "reassoc", "arcp"}, cache=True)
def first_hits(volume, blurred, level, view, reach, pixels, points, normals):
    """Fill ``points`` and ``normals``, each (pixels, pixels, 3) as (x, y, z); NaN where no hit.

    ``volume`` [z, y, x] are the spline's coefficients and ``blurred`` its values at the voxels;
    rows of ``view`` are the picture's right, up and towards the eye in the map's frame; the
    picture is a square of ``2 * reach`` voxels around the rotation centre, row 0 at the top.
    Points are in voxels from the corner of the array, normals of unit length, pointing outwards.
    """
    centre = volume.shape[0] // 2
    deep = math.sqrt(3.0) * reach
    for row in prange(pixels):
        work = np.empty((6, 4))
        normal = np.empty(3)
        up = reach * (1.0 - 2.0 * (row + 0.5) / pixels)
        for column in range(pixels):
            right = reach * (2.0 * (column + 0.5) / pixels - 1.0)
            points[row, column] = np.nan
            normals[row, column] = np.nan
            x0 = centre + right * view[0, 0] + up * view[1, 0]
            y0 = centre + right * view[0, 1] + up * view[1, 1]
            z0 = centre + right * view[0, 2] + up * view[1, 2]
            t = deep
            while t > -deep:
                x, y, z = x0 + t * view[2, 0], y0 + t * view[2, 1], z0 + t * view[2, 2]
                if (
                    _trilinear(blurred, x, y, z) >= NEAR * level
                    and _value(volume, x, y, z, work) >= level
                ):
                    break
                t -= STEP
            if t <= -deep:
                continue
            outside, inside = t + STEP, t
            for _ in range(BISECTIONS):
                t = 0.5 * (outside + inside)
                x, y, z = x0 + t * view[2, 0], y0 + t * view[2, 1], z0 + t * view[2, 2]
                if _value(volume, x, y, z, work) >= level:
                    inside = t
                else:
                    outside = t
            _gradient(volume, x, y, z, normal, work)
            length = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
            if length == 0.0:
                continue
            points[row, column, 0] = x
            points[row, column, 1] = y
            points[row, column, 2] = z
            for axis in range(3):
                normals[row, column, axis] = -normal[axis] / length

"""Steps of rotations that compose exactly, and the solution of five equations, in numba."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

UNKNOWNS = 5


@njit(inline="always", error_model="numpy")
def turned_by(vector, rotation, out):
    """``exp([vector]_x) rotation`` into ``out``, by Rodrigues' formula; exact for any angle."""
    x, y, z = vector[0], vector[1], vector[2]
    squared = x * x + y * y + z * z
    angle = math.sqrt(squared)
    if angle > 1e-4:
        s, c = math.sin(angle) / angle, (1.0 - math.cos(angle)) / squared
    else:
        s, c = 1.0 - squared / 6.0, 0.5 - squared / 24.0
    for j in range(3):
        a, b, d = rotation[0, j], rotation[1, j], rotation[2, j]
        along = c * (x * a + y * b + z * d)
        keep = 1.0 - c * squared
        out[0, j] = keep * a + along * x + s * (y * d - z * b)
        out[1, j] = keep * b + along * y + s * (z * a - x * d)
        out[2, j] = keep * d + along * z + s * (x * b - y * a)


@njit(inline="always", error_model="numpy")
def vector_between(a, b, out):
    """The rotation vector w of ``a = exp([w]_x) b`` into ``out``, shorter than half a turn."""
    m = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            m[i, j] = a[i, 0] * b[j, 0] + a[i, 1] * b[j, 1] + a[i, 2] * b[j, 2]
    x, y, z = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    sine = 0.5 * math.sqrt(x * x + y * y + z * z)
    cosine = 0.5 * (m[0, 0] + m[1, 1] + m[2, 2] - 1.0)
    angle = math.atan2(sine, cosine)
    factor = 0.5 if sine < 1e-9 else 0.5 * angle / sine
    out[0], out[1], out[2] = factor * x, factor * y, factor * z


@njit(inline="always", error_model="numpy")
def solved(matrix, vector, out):
    """Solve a positive definite system of `UNKNOWNS` equations by Cholesky; whether it was one."""
    n = UNKNOWNS
    low = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= low[i, k] * low[j, k]
            if i == j:
                if not rest > 0.0:
                    return False
                low[i, i] = math.sqrt(rest)
            else:
                low[i, j] = rest / low[j, j]
    for i in range(n):
        rest = vector[i]
        for k in range(i):
            rest -= low[i, k] * out[k]
        out[i] = rest / low[i, i]
    for i in range(n - 1, -1, -1):
        rest = out[i]
        for k in range(i + 1, n):
            rest -= low[k, i] * out[k]
        out[i] = rest / low[i, i]
    return True

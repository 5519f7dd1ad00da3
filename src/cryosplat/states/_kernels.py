"""Central slices of J maps at the same points, and their adjoint: one walk over cells for all.

The grids of all maps lie beside each other, ``[z, y, x, lane]``, so that the weights of the 4 x 4 x 4
cells about a point are found once. Lanes are single precision numbers, a multiple of `LANES`. Cells
of negative x are there too, as far as points with x >= 0 reach; y and z are shifted by half the period.
"""

# numba kernels: plain loops
from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from ..gridding import LOW
from ..gridding.lanes import gather, scatter, tap_weights

MARGIN = 2  # cells beyond those in which points lie
_FAST = {"contract", "nsz", "arcp", "reassoc"}


@njit(inline="always")
def _reach(x, y, z, half, weights, cells):
    """Weights and first cells of a point; whether its mate was taken instead."""
    mirrored = x < 0.0
    if mirrored:
        x, y, z = -x, -y, -z
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    tap_weights(np.float32(2.0 * (x - fx) - 1.0), weights[0])  # pyright: ignore[reportCallIssue]
    tap_weights(np.float32(2.0 * (y - fy) - 1.0), weights[1])  # pyright: ignore[reportCallIssue]
    tap_weights(np.float32(2.0 * (z - fz) - 1.0), weights[2])  # pyright: ignore[reportCallIssue]
    cells[0] = int(fx) - LOW + MARGIN
    cells[1] = int(fy) - LOW + half + MARGIN
    cells[2] = int(fz) - LOW + half + MARGIN
    return mirrored


@njit(inline="always")
def _rows(weights, cells, n_rows, n_columns, lanes, starts, heights):
    """Where the 16 rows of cells about a point start, and their weights along y and z."""
    for jz in range(4):
        for jy in range(4):
            row = ((cells[2] + jz) * n_rows + cells[1] + jy) * n_columns + cells[0]
            starts[4 * jz + jy] = row * lanes
            heights[4 * jz + jy] = weights[2, jz] * weights[1, jy]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def compare(grid, steps, points, counts, values, precisions, n_points, whole, out):
    """``out[i, 0]`` is Re <y, S_j> for the J maps; what follows is <S_j, S_l> under the precisions.

    ``grid`` holds the real parts of all maps, then the imaginary parts; ``points`` (p, 2) of which the
    first ``n_points`` count, ``counts`` (p,) how often. ``out`` (n, 1 + J, J) with ``whole``, else
    (n, 2, J): the diagonal alone.
    """
    n, n_maps = len(steps), out.shape[2]
    _, rows, columns, lanes = grid.shape
    flat = grid.reshape(-1)
    half = (rows - 2 * MARGIN) // 2
    for i in prange(n):
        weights = np.empty((3, 4), np.float32)
        cells = np.empty(3, np.int64)
        starts, heights = np.empty(16, np.int64), np.empty(16, np.float32)
        s = np.empty(lanes, np.float32)
        for p in range(n_points):
            kx, ky = points[p, 0], points[p, 1]
            mirrored = _reach(
                kx * steps[i, 0, 0] + ky * steps[i, 1, 0],
                kx * steps[i, 0, 1] + ky * steps[i, 1, 1],
                kx * steps[i, 0, 2] + ky * steps[i, 1, 2],
                half, weights, cells,
            )  # fmt: skip
            _rows(weights, cells, rows, columns, lanes, starts, heights)
            gather(flat, starts, heights, weights[0], s, lanes)  # pyright: ignore[reportCallIssue]
            re = counts[p] * values[i, p].real
            im = counts[p] * values[i, p].imag
            if mirrored:
                im = -im
            precision = counts[p] * precisions[i, p]
            for j in range(n_maps):
                out[i, 0, j] += re * s[j] + im * s[n_maps + j]
            if whole:
                for j in range(n_maps):
                    a, b = precision * s[j], precision * s[n_maps + j]
                    for other in range(n_maps):
                        out[i, 1 + j, other] += a * s[other] + b * s[n_maps + other]
            else:
                for j in range(n_maps):
                    out[i, 1, j] += precision * (s[j] * s[j] + s[n_maps + j] * s[n_maps + j])


@njit(parallel=True, cache=True, error_model="numpy", fastmath=_FAST)
def collect(grids, steps, points, counts, values, precisions, rows, linear, square):
    """Spread images along their slices into J grids, one set of ``grids`` for each thread.

    Lanes: J real parts and J imaginary parts of ``linear[i, j] values``, J of ``square[i, j]
    precisions``. Rows of images ``rows`` (n,); each point counts half as often as in ``counts``: the
    mates are added by whoever folds the grids.
    """
    n, n_maps = linear.shape
    n_parts, _, n_rows, columns, lanes = grids.shape
    half = (n_rows - 2 * MARGIN) // 2
    for part in prange(n_parts):
        own = grids[part].reshape(-1)
        weights = np.empty((3, 4), np.float32)
        cells = np.empty(3, np.int64)
        starts, heights = np.empty(16, np.int64), np.empty(16, np.float32)
        t = np.zeros(lanes, np.float32)
        for i in range(part, n, n_parts):
            row = rows[i]
            for p in range(len(points)):
                kx, ky = points[p, 0], points[p, 1]
                mirrored = _reach(
                    kx * steps[row, 0, 0] + ky * steps[row, 1, 0],
                    kx * steps[row, 0, 1] + ky * steps[row, 1, 1],
                    kx * steps[row, 0, 2] + ky * steps[row, 1, 2],
                    half, weights, cells,
                )  # fmt: skip
                share = np.float32(0.5) * counts[p]
                re, im = share * values[row, p].real, share * values[row, p].imag
                if mirrored:
                    im = -im
                precision = share * precisions[row, p]
                for j in range(n_maps):
                    t[j] = linear[i, j] * re
                    t[n_maps + j] = linear[i, j] * im
                    t[2 * n_maps + j] = square[i, j] * precision
                _rows(weights, cells, n_rows, columns, lanes, starts, heights)
                scatter(own, starts, heights, weights[0], t, lanes)  # pyright: ignore[reportCallIssue]


@njit(parallel=True, cache=True, error_model="numpy")
def opened(spectra, grid):
    """Fill ``grid`` (2s + 4, 2s + 4, s + 4, lanes) from half grids ``spectra`` (J, 2s, 2s, s + 1)."""
    n_maps, period, _, _ = spectra.shape
    reach = period // 2 + MARGIN
    for plane in prange(grid.shape[0]):
        for row in range(grid.shape[1]):
            for column in range(grid.shape[2]):
                z, y, x = plane - reach, row - reach, column - MARGIN
                mate = x < 0 or x > period // 2
                if mate:
                    z, y, x = -z, -y, (-x if x < 0 else period - x)
                for j in range(n_maps):
                    value = spectra[j, z % period, y % period, x]
                    grid[plane, row, column, j] = value.real
                    grid[plane, row, column, n_maps + j] = -value.imag if mate else value.imag


@njit(parallel=True, cache=True, error_model="numpy")
def closed(grids, values, precisions):
    """Half grids of spread ones: threads' shares added, cells beyond folded back, mates added.

    ``values`` (J, P, P, s + 1) complex and ``precisions`` of the same shape.
    """
    n_maps, period, _, n_columns = values.shape
    half = period // 2
    reach = half + MARGIN
    for z in prange(period):
        for y in range(period):
            for x in range(n_columns):
                for copy in range(2):  # cells as they are, then those of their mates
                    if copy == 1 and 0 < x < half - MARGIN and x > MARGIN:
                        continue
                    for fold in range(2):
                        # along x: the cell itself; the mate's at -x, and beyond half the period
                        column = x if copy == 0 else (-x if fold == 0 else period - x)
                        if copy == 0 and fold == 1:
                            continue
                        if (
                            column < -MARGIN
                            or column >= half + MARGIN
                            or (copy == 1 and 0 < column < half)
                        ):
                            continue
                        zz, yy = (z, y) if copy == 0 else (-z, -y)
                        sign = np.float32(1.0) if copy == 0 else np.float32(-1.0)
                        for a in range(2):
                            plane = (zz + reach) % period + a * period
                            if plane >= 2 * reach:
                                continue
                            for b in range(2):
                                row = (yy + reach) % period + b * period
                                if row >= 2 * reach:
                                    continue
                                for part in range(len(grids)):
                                    cell = grids[part, plane, row, column + MARGIN]
                                    for j in range(n_maps):
                                        values[j, z, y, x] += complex(
                                            cell[j], sign * cell[n_maps + j]
                                        )
                                        precisions[j, z, y, x] += cell[2 * n_maps + j]


def n_parts() -> int:
    """How many sets of grids `collect` should be given."""
    return get_num_threads()

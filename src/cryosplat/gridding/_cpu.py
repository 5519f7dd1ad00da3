"""Gridding on the CPU: numba kernels of the definition in `_reference`, in single precision.

Points are found in double precision. A slice is gathered point by point; spreading goes by tiles
(`_tiles`), which stay as they are while batch after batch is added to them.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from . import _tiles
from ._kernel import DEGREE, LOW, POLYNOMIALS, TAPS

_TERMS = POLYNOMIALS.astype(np.float32)  # a constant of the compiled code


@njit(inline="always", error_model="numpy")
def _reach(x, y, z, period, weights, slopes, columns, rows, planes):
    """Weights and slopes of a point's taps, and the cells: ``columns`` of x, and of y and z those
    of a cell and of its mate. Returns whether the point's values are conjugated, being its mate's.
    """
    mirrored = x < 0.0
    for axis in range(3):
        p = x if axis == 0 else y if axis == 1 else z
        p = -p if mirrored else p
        cell = int(np.floor(p))
        t = np.float32(2.0 * (p - cell) - 1.0)
        for j in range(TAPS):
            value = _TERMS[0, j]
            slope = np.float32(0.0)
            for degree in range(1, DEGREE + 1):
                slope = slope * t + value
                value = value * t + _TERMS[degree, j]
            weights[axis, j] = value
            slopes[axis, j] = np.float32(2.0) * slope
            at = cell + j - LOW
            if axis == 0:
                columns[j] = at
            elif axis == 1:
                rows[0, j] = at % period
                rows[1, j] = -at % period
            else:
                planes[0, j] = at % period
                planes[1, j] = -at % period
    return mirrored


@njit(inline="always", error_model="numpy")
def _line(grid, plane, row, columns, mate_plane, mate_row, taps):
    """The sum along x over the taps of one line of cells: a number, complex."""
    half = grid.shape[0] // 2
    re = np.float32(0.0)
    im = np.float32(0.0)
    for j in range(TAPS):
        x = columns[j]
        if 0 <= x <= half:
            value = grid[plane, row, x]
            re += taps[j] * value.real
            im += taps[j] * value.imag
        else:
            value = grid[mate_plane, mate_row, -x if x < 0 else grid.shape[0] - x]
            re += taps[j] * value.real
            im -= taps[j] * value.imag
    return re, im


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _slices(grid, steps, radii, box):
    n = steps.shape[0]
    period = grid.shape[0]
    out = np.zeros((n, box, box // 2 + 1), np.complex64)
    for i in prange(n):
        weights, slopes = np.empty((3, TAPS), np.float32), np.empty((3, TAPS), np.float32)
        columns = np.empty(TAPS, np.int64)
        rows, planes = np.empty((2, TAPS), np.int64), np.empty((2, TAPS), np.int64)
        u, v = steps[i, 0], steps[i, 1]
        for row in range(box):
            ky = row if row < (box + 1) // 2 else row - box
            for kx in range(box // 2 + 1):
                if kx * kx + ky * ky >= radii[i] * radii[i]:
                    break
                mirrored = _reach(
                    kx * u[0] + ky * v[0], kx * u[1] + ky * v[1], kx * u[2] + ky * v[2],
                    period, weights, slopes, columns, rows, planes,
                )  # fmt: skip
                re, im = np.float32(0.0), np.float32(0.0)
                for jz in range(TAPS):
                    for jy in range(TAPS):
                        a, b = _line(
                            grid, planes[0, jz], rows[0, jy], columns,
                            planes[1, jz], rows[1, jy], weights[0],
                        )  # fmt: skip
                        factor = weights[2, jz] * weights[1, jy]
                        re += factor * a
                        im += factor * b
                out[i, row, kx] = complex(re, -im if mirrored else im)
    return out


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _slopes(grid, values, steps, radii):
    n, box, _ = values.shape
    period = grid.shape[0]
    out = np.zeros((n, 2, 3))
    for i in prange(n):
        weights, slopes = np.empty((3, TAPS), np.float32), np.empty((3, TAPS), np.float32)
        columns = np.empty(TAPS, np.int64)
        rows, planes = np.empty((2, TAPS), np.int64), np.empty((2, TAPS), np.int64)
        u, v = steps[i, 0], steps[i, 1]
        for row in range(box):
            ky = row if row < (box + 1) // 2 else row - box
            for kx in range(box // 2 + 1):
                if kx * kx + ky * ky >= radii[i] * radii[i]:
                    break
                mirrored = _reach(
                    kx * u[0] + ky * v[0], kx * u[1] + ky * v[1], kx * u[2] + ky * v[2],
                    period, weights, slopes, columns, rows, planes,
                )  # fmt: skip
                value = values[i, row, kx]
                # Re conj(value) S; a mirrored point's slope is that of the mate, reversed
                c, s = value.real, -value.imag if mirrored else value.imag
                by_x, by_y, by_z = np.float32(0.0), np.float32(0.0), np.float32(0.0)
                for jz in range(TAPS):
                    for jy in range(TAPS):
                        plane, line = planes[0, jz], rows[0, jy]
                        mate_plane, mate_line = planes[1, jz], rows[1, jy]
                        a, b = _line(
                            grid, plane, line, columns, mate_plane, mate_line, weights[0]
                        )  # fmt: skip
                        held = c * a + s * b
                        by_y += weights[2, jz] * slopes[1, jy] * held
                        by_z += slopes[2, jz] * weights[1, jy] * held
                        a, b = _line(
                            grid, plane, line, columns, mate_plane, mate_line, slopes[0]
                        )  # fmt: skip
                        by_x += weights[2, jz] * weights[1, jy] * (c * a + s * b)
                sign = -1.0 if mirrored else 1.0
                for axis in range(3):
                    slope = sign * (by_x if axis == 0 else by_y if axis == 1 else by_z)
                    out[i, 0, axis] += kx * slope
                    out[i, 1, axis] += ky * slope
    return out


def slices(grid: Tensor, steps: Tensor, radii: Tensor, box_size: int) -> Tensor:
    """`slices_dense` of a complex64 grid that is the transform of a real array."""
    return torch.from_numpy(_slices(_array(grid), *_places(steps, radii, box_size), box_size))


def slopes(grid: Tensor, values: Tensor, steps: Tensor, radii: Tensor) -> Tensor:
    """`slopes_dense` of a complex64 grid that is the transform of a real array."""
    places = _places(steps, radii, values.shape[1])
    return torch.from_numpy(_slopes(_array(grid), _array(values), *places))


def spread(values: Tensor, steps: Tensor, radii: Tensor, period: int) -> Tensor:
    """`spread_dense` of complex64 values."""
    tiles = Tiles(period)
    triples = torch.nn.functional.pad(torch.view_as_real(values.resolve_conj()), (0, 1))
    tiles.add(triples, steps, radii)
    return tiles.grids()[0]


class Tiles:
    """The tiles of a half grid (P, P, P // 2 + 1), empty at first."""

    def __init__(self, period: int) -> None:
        self.period = period
        self._corners = _tiles.corners(period)
        self._cells = np.zeros((len(self._corners), _tiles.EDGE**3 * 4), np.float32)

    def add(self, values: Tensor, steps: Tensor, radii: Tensor) -> None:
        """Spread n half planes of float32 triples."""
        _tiles.spread(
            _array(values), *_places(steps, radii, values.shape[1]),
            self._cells, self._corners, _tiles.balanced_order(self._corners),
        )  # fmt: skip

    def grids(self) -> tuple[Tensor, Tensor]:
        """The half grids of values, complex64, and of weights, float32."""
        values, weights = _tiles.assemble(self._cells, self._corners, self.period)
        return torch.from_numpy(values), torch.from_numpy(weights)


def _array(tensor: Tensor) -> NDArray:
    return tensor.detach().contiguous().resolve_conj().numpy()


def _places(steps: Tensor, radii: Tensor, box: int) -> tuple[NDArray, NDArray]:
    return _array(steps.double()), _array(radii.double().clamp_max(0.5 * box))

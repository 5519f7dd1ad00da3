"""Spreading half planes onto the tiles of a padded Fourier grid: numba kernels.

The Fourier grid (period ``P`` cells per axis, half of it: ``x >= 0``) is cut into cubes of ``TILE``
cells. A slice is a plane, so the part of an image row inside a tile is one interval of ``kx``,
found by clipping: no sort, no records, no atomics. A tile owns the points whose cell lies inside
it and is stored with the halo that their taps need, so that threads never share a byte; it stays
in the second-level cache while all images of a batch pass over it. Halos are added up once, when
the dense grid is assembled.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import get_num_threads, njit, prange, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ._kernel import DEGREE, LOW, POLYNOMIALS, TAPS
from .lanes import arguments_of, fused, in_all_lanes

TILE = 32
EDGE = TILE + TAPS - 1  # cells of a stored tile along each axis; its halo begins LOW cells below it
_TERMS = POLYNOMIALS.astype(np.float32)  # a constant of the compiled code


def corners(period: int) -> NDArray[np.int64]:
    """Lowest cell (x, y, z) of every tile that a point below Nyquist can fall into, (t, 3)."""
    half = -(-period // 2 // TILE) * TILE
    x = np.arange(0, half, TILE)
    yz = np.arange(-half, half, TILE)
    corners = np.stack(np.meshgrid(yz, yz, x, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    nearest = np.where(corners > 0, corners, np.minimum(0, corners + TILE))
    inside = (nearest**2).sum(1) <= (period / 2) ** 2
    return np.ascontiguousarray(corners[inside])


def balanced_order(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """An order of the tiles that gives each thread, in contiguous shares, the same work."""
    distance = np.linalg.norm(corners + TILE / 2, axis=1)
    heavy_first = np.argsort(distance, kind="stable")
    threads = get_num_threads()
    return np.concatenate([heavy_first[t::threads] for t in range(threads)])


@intrinsic
def _add_block(typingctx, cells, start, taps, terms):
    """``cells[start + (jz * EDGE + jy) * EDGE * 4 + l] += taps[8 + jz] taps[4 + jy] terms[l]``.

    Sixteen lanes l (four cells of four floats) as one vector operation: see `lanes`.
    """
    vector = ir.VectorType(ir.FloatType(), 16)

    def made(context, builder, signature, given):
        cells, start, taps, terms = arguments_of(context, builder, signature, given)
        word = start.type
        added = terms.vector(ir.Constant(word, 0), vector)
        tap = [in_all_lanes(builder, taps.load(ir.Constant(word, j)), vector) for j in range(4, 12)]
        for jz in range(4):
            plane = builder.fmul(tap[4 + jz], added)
            for jy in range(4):
                at = builder.add(start, ir.Constant(word, (jz * EDGE + jy) * EDGE * 4))
                cells.store(fused(builder, tap[jy], plane, cells.vector(at, vector)), at)
        return context.get_dummy_value()

    return types.none(cells, start, taps, terms), made


@njit(fastmath=True, inline="always")
def _interval(low, high, start, step, corner):
    """Clip [low, high] to the k for which ``corner <= start + k step < corner + TILE``."""
    if abs(step) < 1e-7:
        if start < corner or start >= corner + TILE:
            return 1.0, 0.0
        return low, high
    first = (corner - start) / step
    last = (corner + TILE - start) / step
    if first > last:
        first, last = last, first
    return max(low, first), min(high, last)


@njit(parallel=True, fastmath=True, cache=True, error_model="numpy")
def spread(values, steps, radii, tiles, corners, order):
    """Add the half planes of n images to ``tiles``.

    ``values`` (n, d, d // 2 + 1, 3) float32: real and imaginary part of a value, and a weight, in
    ``rfft2`` layout. ``steps`` (n, 2, 3): cells (x, y, z) per step of kx and ky. ``radii`` (n,), at
    most d / 2: image frequencies of this radius and beyond are left out. ``tiles`` (t, EDGE^3 * 4)
    float32, the fourth float of each cell unused.
    """
    n, box, _, _ = values.shape
    reach = TILE * 0.8660255
    for slot in prange(order.shape[0]):
        tile = order[slot]
        corner_x, corner_y, corner_z = corners[tile]
        # all images meet at the origin: there a batch is summed by itself, to keep its digits
        origin = max(abs(corner_x), abs(corner_y), abs(corner_z)) <= TILE
        origin = origin and max(corner_x, corner_y, corner_z) <= 0
        cells = np.zeros_like(tiles[tile]) if origin else tiles[tile]
        taps = np.empty(12, np.float32)
        terms = np.empty(16, np.float32)
        for i in range(n):
            ux, uy, uz = steps[i, 0]
            vx, vy, vz = steps[i, 1]
            mid_x = corner_x + TILE / 2
            mid_y = corner_y + TILE / 2
            mid_z = corner_z + TILE / 2
            normal_x = uy * vz - uz * vy
            normal_y = uz * vx - ux * vz
            normal_z = ux * vy - uy * vx
            size = np.sqrt(normal_x**2 + normal_y**2 + normal_z**2)
            if abs(normal_x * mid_x + normal_y * mid_y + normal_z * mid_z) > reach * size:
                continue
            # rows: ky = (u x normal) . q / ((u x normal) . v), the component that u cannot change
            dual_x = normal_y * uz - normal_z * uy
            dual_y = normal_z * ux - normal_x * uz
            dual_z = normal_x * uy - normal_y * ux
            scale = dual_x * vx + dual_y * vy + dual_z * vz
            row = (dual_x * mid_x + dual_y * mid_y + dual_z * mid_z) / scale
            spread_rows = reach * np.sqrt(dual_x**2 + dual_y**2 + dual_z**2) / abs(scale)
            radius = radii[i]
            limit = int(np.ceil(radius)) - 1
            first_row = max(-limit, int(np.floor(row - spread_rows)))
            last_row = min(limit, int(np.ceil(row + spread_rows)))
            for ky in range(first_row, last_row + 1):
                square = radius * radius - ky * ky
                if square <= 0.0:
                    continue
                high = np.sqrt(square)
                low = -high
                low, high = _interval(low, high, ky * vx, ux, corner_x)
                if low > high:
                    continue
                low, high = _interval(low, high, ky * vy, uy, corner_y)
                if low > high:
                    continue
                low, high = _interval(low, high, ky * vz, uz, corner_z)
                for kx in range(int(np.floor(low)), int(np.ceil(high)) + 1):
                    if kx * kx >= square:
                        continue
                    x = kx * ux + ky * vx
                    y = kx * uy + ky * vy
                    z = kx * uz + ky * vz
                    if x < 0.0:
                        continue
                    cell_x = int(np.floor(x))
                    cell_y = int(np.floor(y))
                    cell_z = int(np.floor(z))
                    at_x = cell_x - corner_x
                    at_y = cell_y - corner_y
                    at_z = cell_z - corner_z
                    if (
                        at_x < 0 or at_x >= TILE or at_y < 0 or at_y >= TILE
                        or at_z < 0 or at_z >= TILE
                    ):  # fmt: skip
                        continue
                    # a point on the plane x = 0 comes twice, as itself and as its mate
                    share = np.float32(0.5 if x == 0.0 else 1.0)
                    row_of = ky if ky >= 0 else ky + box
                    mate = -ky if ky <= 0 else box - ky
                    r = row_of if kx >= 0 else mate
                    re, im, w = values[i, r, abs(kx)]
                    if kx < 0:
                        im = -im
                    elif kx == 0:  # this column holds both members of its pairs
                        share *= np.float32(0.5)
                        re += values[i, mate, 0, 0]
                        im -= values[i, mate, 0, 1]
                        w += values[i, mate, 0, 2]
                    re, im, w = share * re, share * im, share * w
                    tx = np.float32(2.0 * (x - cell_x) - 1.0)
                    ty = np.float32(2.0 * (y - cell_y) - 1.0)
                    tz = np.float32(2.0 * (z - cell_z) - 1.0)
                    for j in range(4):
                        a = _TERMS[0, j]
                        b = a
                        c = a
                        for degree in range(1, DEGREE + 1):
                            p = _TERMS[degree, j]
                            a = a * tx + p
                            b = b * ty + p
                            c = c * tz + p
                        terms[4 * j] = a * re
                        terms[4 * j + 1] = a * im
                        terms[4 * j + 2] = a * w
                        terms[4 * j + 3] = np.float32(0.0)
                        taps[4 + j] = b
                        taps[8 + j] = c
                    start = ((at_z * EDGE + at_y) * EDGE + at_x) * 4
                    _add_block(cells, start, taps, terms)  # pyright: ignore[reportCallIssue]
        if origin:
            tiles[tile] += cells


@njit(parallel=True, fastmath=True, cache=True)
def assemble(tiles, corners, period):
    """Add tiles and their halos into dense half grids: complex ``b`` and real ``K``.

    Hermitian mates are folded in, so both are the transforms of real arrays in ``rfftn`` layout,
    (P, P, P // 2 + 1).
    """
    half = period // 2
    b = np.zeros((period, period, half + 1), np.complex64)
    k = np.zeros((period, period, half + 1), np.float32)
    for plane in prange(period):
        for tile in range(corners.shape[0]):
            cells = tiles[tile]
            corner_x, corner_y, corner_z = corners[tile]
            for lz in range(EDGE):
                z = corner_z + lz - LOW
                direct = z % period == plane
                mirrored = -z % period == plane
                if not (direct or mirrored):
                    continue
                for ly in range(EDGE):
                    y = corner_y + ly - LOW
                    start = (lz * EDGE + ly) * EDGE * 4
                    for lx in range(EDGE):
                        x = corner_x + lx - LOW
                        at = start + lx * 4
                        re, im, w = cells[at], cells[at + 1], cells[at + 2]
                        if direct and 0 <= x <= half:
                            b[plane, y % period, x] += np.complex64(complex(re, im))
                            k[plane, y % period, x] += w
                        if mirrored:
                            if x <= 0:
                                b[plane, -y % period, -x] += np.complex64(complex(re, -im))
                                k[plane, -y % period, -x] += w
                            elif half <= x:
                                b[plane, -y % period, period - x] += np.complex64(complex(re, -im))
                                k[plane, -y % period, period - x] += w
    return b, k

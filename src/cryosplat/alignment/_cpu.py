"""Likelihoods of images at poses, searches and ascents on them, in numba: images in parallel."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from ._lines import FAST, SUMS, add_row, memory_of_point, slice_row, values_row
from ._steps import UNKNOWNS, solved, turned_by, vector_between

_MEMORY = 12  # lines of working memory of one image
_LEAST_DAMPING, _MOST_DAMPING = 1e-5, 1e6
_REACH = 1.5  # cells that one step may move the outermost point by


@njit(inline="always", error_model="numpy")
def _row_frequency(row, box):
    return row if row < (box + 1) // 2 else row - box


@njit(inline="always", error_model="numpy")
def _row_width(ky, radius, n_half):
    """How many frequencies of a row have ``|k| < radius``."""
    room = radius * radius - ky * ky
    return min(n_half, math.ceil(math.sqrt(room))) if room > 0.0 else 0


@njit(inline="always", error_model="numpy")
def _along(rotation, stretch, axis):
    """What a step of frequency along an axis of the image moves a point by, in cells."""
    a, b = stretch[0, axis], stretch[1, axis]
    return (
        a * rotation[0, 0] + b * rotation[1, 0],
        a * rotation[0, 1] + b * rotation[1, 1],
        a * rotation[0, 2] + b * rotation[1, 2],
    )


@njit(inline="always", error_model="numpy")
def _ramp(angle, width, out):
    """Real and imaginary part of ``exp(i angle kx)`` for kx < ``width`` into ``out`` (2, ...)."""
    for kx in range(width):
        out[0, kx], out[1, kx] = math.cos(angle * kx), math.sin(angle * kx)


@njit(error_model="numpy", fastmath=FAST)
def _sums(cells, shape, values, stretch, radius, rotation, shift, memory, near, sums):
    """The likelihood of one image and its derivatives into ``sums`` (SUMS,): see `evaluated`."""
    box, n_half = values.shape[0], values.shape[1]
    lines, turned, ramp = memory[:8], memory[8:10], memory[10:12]
    u, v = _along(rotation, stretch, 0), _along(rotation, stretch, 1)
    r = rotation
    axes = (
        (np.float32(r[0, 0]), np.float32(r[0, 1]), np.float32(r[0, 2])),
        (np.float32(r[1, 0]), np.float32(r[1, 1]), np.float32(r[1, 2])),
        (np.float32(r[2, 0]), np.float32(r[2, 1]), np.float32(r[2, 2])),
    )
    first = (np.float32(stretch[0, 0]), np.float32(stretch[1, 0]))
    second = (np.float32(stretch[0, 1]), np.float32(stretch[1, 1]))
    across = 2.0 * math.pi / box
    _ramp(-across * shift[0], _row_width(0, radius, n_half), ramp)
    sums[:] = 0.0
    for row in range(box):
        ky = _row_frequency(row, box)
        width = _row_width(ky, radius, n_half)
        if width == 0:
            continue
        slice_row(cells, shape, u, (ky * v[0], ky * v[1], ky * v[2]), width, near, lines)
        angle = -across * shift[1] * ky
        c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        for kx in range(width):
            turned[0, kx] = c * ramp[0, kx] - s * ramp[1, kx]
            turned[1, kx] = c * ramp[1, kx] + s * ramp[0, kx]
        add_row(
            lines, values[row], turned, width, axes, first, second, ky, np.float32(across), sums
        )  # fmt: skip


@njit(parallel=True, cache=True, error_model="numpy", fastmath=FAST)
def evaluated(cells, shape, values, stretch, radii, image, rotations, shifts, out):
    """The log-likelihood of entries and its derivatives into ``out`` (m, SUMS) float64.

    Entry j is image ``image[j]`` of ``values`` (n, d, d // 2 + 1, 3), w and p, at ``rotations[j]``
    and with its shift more by ``shifts[j]`` pixels: ``sum Re conj(X) w - p |X|^2 / 2`` over both
    members of Friedel pairs below ``radii`` (n,), with X the slice, moved. Derivatives by w of
    ``exp([w]_x) A`` and by the shift; the matrix is that of Gauss and Newton, its upper half row by
    row. ``stretch`` (n, 2, 2): cells, along x and y of the image, of a step of frequency along each.
    """
    for j in prange(len(image)):
        i = image[j]
        memory = np.zeros((_MEMORY, max(values.shape[2], 4)), np.float32)
        near = memory_of_point()
        _sums(
            cells, shape, values[i], stretch[i], radii[i], rotations[j], shifts[j], memory, near, out[j]
        )  # fmt: skip


@njit(inline="always", error_model="numpy")
def _objective(sums, rotation, shift, given, centre, precision, vector):
    """The log-posterior; ``vector`` becomes the rotation away from ``given``."""
    vector_between(rotation, given, vector)
    away = vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2
    moved = (shift[0] - centre[0]) ** 2 + (shift[1] - centre[1]) ** 2
    return sums[0] - 0.5 * (precision[0] * away + precision[1] * moved)


@njit(inline="always", error_model="numpy")
def _equations(sums, vector, shift, centre, precision, damping, hold, matrix, right):
    """The damped equations of a step; with ``hold`` the rotation stays."""
    at = 1 + UNKNOWNS
    for i in range(UNKNOWNS):
        for j in range(i, UNKNOWNS):
            matrix[i, j] = matrix[j, i] = sums[at]
            at += 1
    for i in range(UNKNOWNS):
        p = precision[0] if i < 3 else precision[1]
        away = vector[i] if i < 3 else shift[i - 3] - centre[i - 3]
        matrix[i, i] += p
        right[i] = sums[1 + i] - p * away
        matrix[i, i] = matrix[i, i] * (1.0 + damping) + 1e-12
    if hold:
        for i in range(3):
            for j in range(UNKNOWNS):
                matrix[i, j] = matrix[j, i] = 0.0
            matrix[i, i], right[i] = 1.0, 0.0


@njit(parallel=True, cache=True, error_model="numpy", fastmath=FAST)
def climb(
    cells, shape, values, stretch, radii, image, rotations, shifts, given, centres, precision,
    looks, held, tolerance, out,
):  # fmt: skip
    """Ascend from each entry's pose, in place, by Levenberg and Marquardt; ``out`` as `evaluated`.

    The log-posterior has a normal prior about ``given[j]`` and ``centres[j]`` with ``precision[j]``
    (of rotation vector and shift). At most ``looks`` evaluations, the first ``held`` steps by the
    shift alone; ends where a step moves the outermost point by less than ``tolerance`` cells.
    """
    for j in prange(len(image)):
        i = image[j]
        memory = np.zeros((_MEMORY, max(values.shape[2], 4)), np.float32)
        near = memory_of_point()
        sums, trial = np.zeros(SUMS), np.zeros(SUMS)
        matrix, right, step = np.zeros((5, 5)), np.zeros(5), np.zeros(5)
        vector, other = np.zeros(3), np.zeros(3)
        turned, moved = np.zeros((3, 3)), np.zeros(2)
        rotation, shift, w, b = rotations[j], shifts[j], values[i], stretch[i]
        edge = radii[i] * math.sqrt(abs(b[0, 0] * b[1, 1] - b[0, 1] * b[1, 0]))
        by_shift = (
            2.0 * math.pi / w.shape[0] * radii[i] / edge
        )  # a pixel's phase, as a turn's cells
        _sums(cells, shape, w, b, radii[i], rotation, shift, memory, near, sums)
        best = _objective(sums, rotation, shift, given[j], centres[j], precision[j], vector)
        damping, steps = 1e-2, 0
        for look in range(1, looks):
            hold = steps < held
            _equations(
                sums, vector, shift, centres[j], precision[j], damping, hold, matrix, right
            )  # fmt: skip
            if not solved(matrix, right, step):
                damping = max(10.0 * damping, 1e-3)
                continue
            turn = edge * math.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
            push = edge * by_shift * math.sqrt(step[3] ** 2 + step[4] ** 2)
            if turn > _REACH:
                for k in range(UNKNOWNS):
                    step[k] *= _REACH / turn
            turned_by(step, rotation, turned)
            moved[0], moved[1] = shift[0] + step[3], shift[1] + step[4]
            _sums(cells, shape, w, b, radii[i], turned, moved, memory, near, trial)
            now = _objective(trial, turned, moved, given[j], centres[j], precision[j], other)
            if now > best:
                best, steps = now, steps + 1
                rotation[:], shift[:], sums[:], vector[:] = turned, moved, trial, other
                damping = max(0.1 * damping, _LEAST_DAMPING)
            else:
                damping *= 10.0
            small = max(turn, push) < tolerance
            if damping > _MOST_DAMPING or (small and not hold):
                break
            if small and hold:
                steps = held
        out[j] = sums


@njit(parallel=True, cache=True, error_model="numpy", fastmath=FAST)
def scores(
    cells, shape, values, stretch, radii, given, centres, turns, moves, precision, out, where
):
    """The best log-posterior over ``moves`` at each of ``turns``, for every image.

    ``turns`` (t, 3): rotation vectors from ``given[i]``; ``moves`` (s,): along x and along y from
    ``centres[i]``, in pixels, every pair of them. ``out`` (n, t); ``where`` (n, t, 2): the best move.
    """
    n, box, n_half = values.shape[:3]
    n_moves = len(moves)
    for i in prange(n):
        memory = np.zeros((_MEMORY, max(n_half, 4)), np.float32)
        near = memory_of_point()
        lines = memory[:2]
        radius, across = radii[i], 2.0 * math.pi / box
        inner = _row_width(0, radius, n_half)
        ramps = np.zeros((n_moves, 2, inner), np.float32)
        for a in range(n_moves):
            _ramp(-across * (centres[i, 0] + moves[a]), inner, ramps[a])
        rotation, totals = np.zeros((3, 3)), np.zeros((n_moves, n_moves))
        for t in range(len(turns)):
            turned_by(turns[t], given[i], rotation)
            u, v = _along(rotation, stretch[i], 0), _along(rotation, stretch[i], 1)
            totals[:] = 0.0
            power = 0.0
            for row in range(box):
                ky = _row_frequency(row, box)
                width = _row_width(ky, radius, n_half)
                if width == 0:
                    continue
                values_row(cells, shape, u, (ky * v[0], ky * v[1], ky * v[2]), width, near, lines)
                line = values[i, row]
                subtotal = np.float32(0.0)
                for kx in range(width):
                    pair = np.float32(1.0) if kx == 0 else np.float32(2.0)
                    sr, si = lines[0, kx], lines[1, kx]
                    subtotal += pair * line[kx, 2] * (sr * sr + si * si)
                    wr, wi = pair * line[kx, 0], pair * line[kx, 1]
                    lines[0, kx], lines[1, kx] = sr * wr + si * wi, sr * wi - si * wr
                power += subtotal
                for a in range(n_moves):
                    re = im = np.float32(0.0)
                    for kx in range(width):
                        re += lines[0, kx] * ramps[a, 0, kx] - lines[1, kx] * ramps[a, 1, kx]
                        im += lines[0, kx] * ramps[a, 1, kx] + lines[1, kx] * ramps[a, 0, kx]
                    for b in range(n_moves):
                        angle = -across * ky * (centres[i, 1] + moves[b])
                        totals[a, b] += re * math.cos(angle) - im * math.sin(angle)
            away = turns[t, 0] ** 2 + turns[t, 1] ** 2 + turns[t, 2] ** 2
            best = -math.inf
            for a in range(n_moves):
                for b in range(n_moves):
                    prior = precision[i, 0] * away + precision[i, 1] * (
                        moves[a] ** 2 + moves[b] ** 2
                    )
                    now = totals[a, b] - 0.5 * power - 0.5 * prior
                    if now > best:
                        best = now
                        where[i, t, 0], where[i, t, 1] = moves[a], moves[b]
            out[i, t] = best

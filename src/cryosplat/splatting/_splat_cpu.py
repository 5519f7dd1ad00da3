"""Splatting on the CPU: numba kernels of the definition in `_splat_reference`, cut off by error.

A Gaussian is done in tiles of 16 columns, row after row, inside the ellipse of ``CUTOFF`` standard
deviations. From a row to the next a Gaussian changes by a factor that itself changes by one factor,
the same for all columns: two exponentials start a tile, and two products make a row of 16 pixels.
Where single precision cannot span a Gaussian's ellipse (narrow and oblique), each row takes its
exponential. The inner loops are those of `_lanes`.

Images are independent; the Gaussians of one image are shared out only when there are more threads
than images, and each share then has an image of its own: no atomics, and sums that depend on the
number of threads alone. The adjoint keeps its moments in registers and needs no order either.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import get_num_threads, njit, prange
from torch import Tensor

from ._lanes import FREE, LANES, adding, gathering, sums

CUTOFF = 5.1  # standard deviations: relative error of gradients below 1e-4, of images 5e-6 (tests)
ROWS = 32  # after which a recurrence starts anew: its error grows with the square of its length
RANGE = 80.0  # the largest exponent of a recurrence: single precision ends at 87
NARROW = 16.0  # the largest precision that a recurrence bears: its factors stay finite
FAR = np.float32(1e9)  # a centre beyond is as good as infinite
SHARE = 1024  # Gaussians in one task of the adjoint
IMBALANCE = 1.15  # of the threads' work, before an image is shared out
SQUARE = np.float32(-0.5 / math.log(2.0))  # from precisions to the exponent of 2
CROSS = np.float32(-1.0 / math.log(2.0))
F32 = np.float32


@njit(inline="always", fastmath=FREE, error_model="numpy")
def _outline(centre, precision):
    """Half width and height of the cut-off's ellipse, its correlation r, sqrt(1 - r^2), the kind.

    The kind is 0 where a recurrence will do, 1 where exponentials are needed, 2 for what is no
    Gaussian: a centre that is not finite, a precision that is not positive definite.
    """
    xx, xy, yy = precision[0], precision[1], precision[2]
    determinant = float(xx) * float(yy) - float(xy) * float(xy)
    if not (determinant > 0.0 and xx > F32(0.0) and abs(centre[0]) < FAR and abs(centre[1]) < FAR):
        return F32(-1.0), F32(-1.0), F32(0.0), F32(1.0), 2
    inverse = F32(1.0 / determinant)
    product = float(xx) * float(yy)
    correlation = -xy * F32(1.0 / math.sqrt(product))
    rest = F32(math.sqrt(determinant / product))
    # the exponent at the far corner of the ellipse's box is cutoff^2 / (1 - |correlation|)
    tame = (F32(1.0) - abs(correlation)) * F32(RANGE) > F32(CUTOFF * CUTOFF)
    tame = tame and max(xx, yy) < F32(NARROW)
    reach_x = F32(CUTOFF) * math.sqrt(yy * inverse)
    reach_y = F32(CUTOFF) * math.sqrt(xx * inverse)
    return reach_x, reach_y, correlation, rest, 0 if tame else 1


@njit(inline="always", fastmath=FREE, error_model="numpy")
def _inside(low, high, side):
    """First and last pixel of ``low..high`` that lie in the image; none when low > high."""
    edge = F32(side)
    first = math.ceil(min(max(low, F32(0.0)), edge))
    last = math.floor(min(max(high, F32(-1.0)), edge - F32(1.0)))
    return int(first), int(last)


@njit(inline="always", fastmath=FREE, error_model="numpy")
def _rows(low, high, reach_x, reach_y, correlation, rest):
    """Least and greatest dy of the ellipse between the columns ``low`` and ``high`` (dx)."""
    width = F32(1.0) / reach_x
    low, high = max(low * width, F32(-1.0)), min(high * width, F32(1.0))
    up = min(max(correlation, low), high)  # where the ellipse is highest, or the nearest to it
    down = min(max(-correlation, low), high)
    top = correlation * up + rest * math.sqrt(max(F32(1.0) - up * up, F32(0.0)))
    bottom = correlation * down - rest * math.sqrt(max(F32(1.0) - down * down, F32(0.0)))
    return reach_y * bottom, reach_y * top


def _walking(recurring, exactly):
    @njit(inline="always", fastmath=FREE, error_model="numpy")
    def walk(image, centre, precision, side, target):
        """Do the tiles of one Gaussian; its kind as of `_outline`."""
        reach_x, reach_y, correlation, rest, kind = _outline(centre, precision)
        if kind < 2:
            cx, cy = centre[0], centre[1]
            a = SQUARE * precision[0]
            b = CROSS * precision[1]
            c = SQUARE * precision[2]
            x0, x1 = _inside(cx - reach_x, cx + reach_x, side)
            for left in range(x0, x1 + 1, LANES):
                start = min(left, side - LANES)
                low = max(-reach_x, F32(left) - cx)
                bottom, top = -reach_y, reach_y
                if x1 - x0 >= LANES:
                    high = F32(start + LANES - 1) - cx
                    bottom, top = _rows(low, high, reach_x, reach_y, correlation, rest)
                y0, y1 = _inside(cy + bottom, cy + top, side)
                for y in range(y0, y1 + 1, ROWS):
                    rows = min(ROWS, y1 + 1 - y)
                    form = (F32(start) - cx, F32(y) - cy, a, b, c, low, reach_x)
                    if kind == 0:
                        recurring(image, y * side + start, side, rows, form, target)
                    else:
                        exactly(image, y * side + start, side, rows, form, target)
        return kind

    return walk


_paint = _walking(adding(True), adding(False))
_collect = _walking(gathering(True), gathering(False))


@njit(parallel=True, fastmath=FREE, cache=True, error_model="numpy")
def splat(centres, precisions, weights, side, shares):
    """Images (n * shares, side^2) float32, each of one share of an image's Gaussians."""
    n, k = weights.shape
    images = np.zeros((n * shares, side * side), np.float32)
    for task in prange(n * shares):
        i, share = task // shares, task % shares
        image = images[task]
        for g in range(share * k // shares, (share + 1) * k // shares):
            if _paint(image, centres[i, g], precisions[i, g], side, weights[i, g]) == 2:
                image[:] = np.nan
    return images


@njit(parallel=True, fastmath=FREE, cache=True, error_model="numpy")
def splat_adjoint(centres, precisions, weights, gradient, side):
    """Gradients of ``<gradient, splat(...)>``: centres (n, k, 2), precisions (n, k, 3), weights.

    ``gradient`` (n, side^2). The off-diagonal precision counts once.
    """
    n, k = weights.shape
    d_centres = np.empty((n, k, 2), np.float32)
    d_precisions = np.empty((n, k, 3), np.float32)
    d_weights = np.empty((n, k), np.float32)
    shares = k // SHARE + 1
    for task in prange(n * shares):
        i, share = task // shares, task % shares
        image = gradient[i]
        moments = np.zeros(6 * LANES, np.float32)
        for g in range(share * k // shares, (share + 1) * k // shares):
            kind = _collect(image, centres[i, g], precisions[i, g], side, moments)
            one, x, y, x_x, x_y, y_y = sums(moments)  # pyright: ignore[reportCallIssue]
            if kind == 2:
                one = F32(np.nan)
            w = weights[i, g] + F32(0.0) * one
            xx, xy, yy = precisions[i, g, 0], precisions[i, g, 1], precisions[i, g, 2]
            d_weights[i, g] = one
            d_centres[i, g, 0] = w * (xx * x + xy * y)
            d_centres[i, g, 1] = w * (xy * x + yy * y)
            d_precisions[i, g, 0] = F32(-0.5) * w * x_x
            d_precisions[i, g, 1] = -w * x_y
            d_precisions[i, g, 2] = F32(-0.5) * w * y_y
    return d_centres, d_precisions, d_weights


def images(centres: Tensor, precisions: Tensor, weights: Tensor, side: int) -> Tensor:
    """`splat_dense` in float32; an image with what is no Gaussian is NaN."""
    c, p, w = (t.detach().contiguous().numpy() for t in (centres, precisions, weights))
    width, n = max(side, LANES), len(weights)
    shares = shares_of(n, get_num_threads())
    painted = torch.from_numpy(splat(c, p, w, width, shares)).reshape(n, shares, width, width)
    return (painted.sum(1) if shares > 1 else painted[:, 0])[:, :side, :side].contiguous()


def gradients(
    centres: Tensor, precisions: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`splat_dense_adjoint` in float32; NaN for what is no Gaussian."""
    n, side, _ = gradient.shape
    width = max(side, LANES)
    if side < width:
        gradient = torch.nn.functional.pad(gradient, (0, width - side, 0, width - side))
    flat = gradient.reshape(n, width * width)
    parts = (centres, precisions, weights, flat)
    c, p, w, g = (t.detach().contiguous().numpy() for t in parts)
    by_centre, by_precision, by_weight = splat_adjoint(c, p, w, g, width)
    return torch.from_numpy(by_centre), torch.from_numpy(by_precision), torch.from_numpy(by_weight)


def shares_of(n: int, threads: int) -> int:
    """Into how many shares to cut the Gaussians of each of ``n`` images: as few as keep pace."""
    shares = 1
    while n and -(-n * shares // threads) * threads > IMBALANCE * n * shares:
        shares += 1
    return shares

"""From J maps to the padded grids that slices are read from, and from spread grids to statistics."""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier, gridding
from ..gridding import LOW, POLYNOMIALS
from ._kernels import MARGIN, closed, collect, n_parts, opened
from ._lanes import LANES
from .observations import Observations

_POLYNOMIALS = np.ascontiguousarray(POLYNOMIALS, np.float32)


def polynomials() -> tuple[int, NDArray[np.float32]]:
    """What the kernels need to know of gridding's: `LOW` and `POLYNOMIALS`."""
    return LOW, _POLYNOMIALS


def _width(numbers: int) -> int:
    return -(-numbers // LANES) * LANES


def sliced(volumes: Tensor) -> NDArray[np.float32]:
    """The grids of J maps (J, s, s, s) as `compare` reads them, [z, y, x, lane]."""
    j, s = volumes.shape[:2]
    period = 2 * s
    offsets = torch.arange(s) - s // 2
    factor = gridding.correction(offsets, period).float()
    scaled = volumes.detach() * factor[:, None, None] * factor[:, None] * factor
    # the rotation centre is cell 0 of the padded box
    shift = torch.exp(2j * torch.pi * (s // 2) * fourier.signed_indices(period) / period)
    spectrum = _forward(scaled.numpy(), period)
    phases = shift.to(torch.complex64).numpy()
    spectrum *= phases[:, None, None]
    spectrum *= phases[:, None]
    spectrum *= phases[: s + 1]
    grid = np.zeros((2 * (s + MARGIN),) * 2 + (s + 2 * MARGIN, _width(2 * j)), np.float32)
    opened(spectrum, grid)
    return grid


def statistics_of(
    seen: Observations, rows: NDArray[np.int64], first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """b (J, s, s, s) and the transforms of K (J, 2s, 2s, s + 1) of weighted images.

    ``first`` and ``second`` (n, J): what the images ``rows`` and their precisions count for each map.
    """
    s, j = seen.box, first.shape[1]
    reach = s + MARGIN
    grids = np.zeros((n_parts(), 2 * reach, 2 * reach, s + 2 * MARGIN, _width(3 * j)), np.float32)
    low, table = polynomials()
    collect(
        grids, seen.steps, seen.points, seen.counts, seen.values, seen.precisions, rows,
        first.float().numpy(), second.float().numpy(), low, table,
    )  # fmt: skip
    period = 2 * s
    b = np.zeros((j, period, period, s + 1), np.complex64)
    k = np.zeros(b.shape, np.float32)
    closed(grids, b, k)
    correction = gridding.correction(fourier.signed_indices(period), period).float().numpy()
    cube = np.float32(period**3)
    near = (np.arange(s) - s // 2) % period
    held = scipy.fft.irfftn(b, (period,) * 3, (1, 2, 3), workers=fourier.workers())
    held = held[:, near][:, :, near][..., near]
    c = correction[near]
    held *= cube * c[:, None, None] * c[:, None] * c
    kernel = scipy.fft.irfftn(k, (period,) * 3, (1, 2, 3), workers=fourier.workers())
    kernel *= cube * correction[:, None, None]
    kernel *= correction[:, None]
    kernel *= correction
    transfer = scipy.fft.rfftn(kernel, axes=(1, 2, 3), workers=fourier.workers()).real
    return torch.from_numpy(held), torch.from_numpy(np.ascontiguousarray(transfer))


def _forward(volumes: NDArray, period: int) -> NDArray:
    """Half transforms of cubes padded to ``period``, axis by axis: padding is not transformed."""
    workers = fourier.workers()
    lines = scipy.fft.rfft(volumes, period, -1, workers=workers)
    planes = scipy.fft.fft(lines, period, -2, workers=workers, overwrite_x=True)
    return scipy.fft.fft(planes, period, -3, workers=workers, overwrite_x=True)


def convolved(volumes: NDArray, transfer: NDArray) -> NDArray:
    """``K_j * V_j`` on the cubes of J maps."""
    s, workers = volumes.shape[-1], fourier.workers()
    spectrum = _forward(volumes, 2 * s)
    spectrum *= transfer
    planes = scipy.fft.ifft(spectrum, axis=-3, workers=workers, overwrite_x=True)[:, :s]
    lines = scipy.fft.ifft(planes, axis=-2, workers=workers)[:, :, :s]
    return scipy.fft.irfft(lines, 2 * s, -1, workers=workers)[..., :s]

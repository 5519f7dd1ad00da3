"""From J maps to the padded grids that slices are read from, and from spread grids to statistics."""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier, gridding
from ..gridding.lanes import LANES
from . import _device
from ._kernels import MARGIN, closed, collect, n_parts, opened
from .observations import Observations


def _width(numbers: int) -> int:
    return -(-numbers // LANES) * LANES


def spectra_of(volumes: Tensor) -> Tensor:
    """The half transforms (J, 2s, 2s, s + 1) of J maps (J, s, s, s) that slices are read from."""
    s = volumes.shape[-1]
    period = 2 * s
    offsets = torch.arange(s, device=volumes.device) - s // 2
    factor = gridding.correction(offsets, period).float()
    scaled = volumes.detach() * factor[:, None, None] * factor[:, None] * factor
    # the rotation centre is cell 0 of the padded box
    turns = (s // 2) * fourier.signed_indices(period, volumes.device) / period
    phases = torch.exp(2j * torch.pi * turns).to(torch.complex64)
    spectrum = _forward(scaled, period)
    for own in (phases[:, None, None], phases[:, None], phases[: s + 1]):
        spectrum *= own
    return spectrum


def sliced(volumes: Tensor) -> NDArray[np.float32]:
    """The grids of J maps (J, s, s, s) as `compare` reads them, [z, y, x, lane]."""
    j, s = volumes.shape[:2]
    grid = np.zeros((2 * (s + MARGIN),) * 2 + (s + 2 * MARGIN, _width(2 * j)), np.float32)
    opened(spectra_of(volumes).numpy(), grid)
    return grid


def statistics_of(
    seen: Observations, rows: NDArray[np.int64], first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """b (J, s, s, s) and the transforms of K (J, 2s, 2s, s + 1) of weighted images.

    ``first`` and ``second`` (n, J): what the images ``rows`` and their precisions count for each map.
    On the device that images are ``seen`` on.
    """
    s = seen.box
    period = 2 * s
    b, k = _spread(seen, rows, first.float(), second.float())
    frequencies = fourier.signed_indices(period, b.device)
    correction = gridding.correction(frequencies, period).float()
    near = (torch.arange(s, device=b.device) - s // 2) % period
    c = correction[near]
    held = fourier.inverse(b, period, 3)[:, near][:, :, near][..., near]
    held *= period**3 * c[:, None, None] * c[:, None] * c
    kernel = fourier.inverse(k.to(b.dtype), period, 3)
    kernel *= period**3 * correction[:, None, None] * correction[:, None] * correction
    return held, fourier.transform(kernel, 3).real.contiguous()


def _spread(
    seen: Observations, rows: NDArray[np.int64], first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """Half grids (J, 2s, 2s, s + 1) of weighted images, complex, and of their precisions."""
    s, j = seen.box, first.shape[1]
    if seen.device.type != "cpu":
        one, two = first.to(seen.device), second.to(seen.device)
        return _device.sums(s, *seen.there(rows), one, two)
    reach = s + MARGIN
    grids = np.zeros((n_parts(), 2 * reach, 2 * reach, s + 2 * MARGIN, _width(3 * j)), np.float32)
    collect(
        grids, seen.steps, seen.points, seen.counts, seen.values, seen.precisions, rows,
        first.numpy(), second.numpy(),
    )  # fmt: skip
    b = np.zeros((j, 2 * s, 2 * s, s + 1), np.complex64)
    k = np.zeros(b.shape, np.float32)
    closed(grids, b, k)
    return torch.from_numpy(b), torch.from_numpy(k)


def _forward(volumes: Tensor, period: int) -> Tensor:
    """Half transforms of cubes padded to ``period``."""
    if volumes.device.type != "cpu":
        return torch.fft.rfftn(volumes, (period,) * 3, (1, 2, 3))
    workers = fourier.workers()
    # axis by axis: padding is not transformed
    lines = scipy.fft.rfft(volumes.numpy(), period, -1, workers=workers)
    planes = scipy.fft.fft(lines, period, -2, workers=workers, overwrite_x=True)
    return torch.from_numpy(scipy.fft.fft(planes, period, -3, workers=workers, overwrite_x=True))


def convolved(volumes: Tensor, transfer: Tensor) -> Tensor:
    """``K_j * V_j`` on the cubes of J maps (J, s, s, s); ``transfer`` (J, 2s, 2s, s + 1): of K."""
    s, workers = volumes.shape[-1], fourier.workers()
    spectrum = _forward(volumes, 2 * s)
    spectrum *= transfer
    if volumes.device.type != "cpu":
        return torch.fft.irfftn(spectrum, (2 * s,) * 3, (1, 2, 3))[:, :s, :s, :s]
    held = spectrum.numpy()
    planes = scipy.fft.ifft(held, axis=-3, workers=workers, overwrite_x=True)[:, :s]
    lines = scipy.fft.ifft(planes, axis=-2, workers=workers)[:, :, :s]
    return torch.from_numpy(scipy.fft.irfft(lines, 2 * s, -1, workers=workers)[..., :s])

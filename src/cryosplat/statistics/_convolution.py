"""Zero-padded convolution of a cube with a kernel given by its real half transform.

On the CPU the transforms run axis by axis, so that the padding is never transformed, and slab by slab,
so that the padded box never exists as a whole: 16 of 27 parts of the full work, a quarter of its
memory, and little else that is large.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier

SLAB_BYTES = 2**21  # of padded values in one slab: two or three fit into a core's cache


def convolve(volume: Tensor, transfer: Tensor) -> Tensor:
    """``K * V`` on the cube of V (s, s, s); ``transfer`` (2s, 2s, s + 1), on the same device."""
    if volume.device.type == "cpu":
        return torch.from_numpy(_in_slabs(volume.numpy(), transfer.numpy()))
    return _at_once(volume, transfer)


def _at_once(volume: Tensor, transfer: Tensor) -> Tensor:
    side = len(volume)
    spectrum = torch.fft.rfftn(volume, s=(2 * side,) * 3).mul_(transfer)
    padded = torch.fft.irfftn(spectrum, s=(2 * side,) * 3)
    return padded[:side, :side, :side].contiguous()


def confined(transfer: Tensor, side: int) -> Tensor:
    """The transfer function for a cube of ``side``: K outside twice the cube is never met."""
    period = len(transfer)
    if 2 * side == period:
        return transfer
    near = fourier.signed_indices(2 * side, transfer.device) % period
    kernel = fourier.inverse(transfer, period, 3)
    for axis in range(3):
        kernel = kernel.index_select(axis, near)
    return fourier.transform(kernel, 3).real.contiguous()


def _in_slabs(volume: NDArray[np.float32], transfer: NDArray[np.float32]) -> NDArray[np.float32]:
    side = len(volume)
    period = 2 * side
    work = np.empty((side, period, side + 1), np.complex64)
    result = np.empty((side, side, side), np.float32)
    lines = period * (side + 1) * work.itemsize  # bytes of one padded plane

    def forward(planes: slice) -> None:
        rows = scipy.fft.rfft(volume[planes], n=period, axis=2)
        work[planes] = scipy.fft.fft(rows, n=period, axis=1)

    def multiply(rows: slice) -> None:
        padded = scipy.fft.fft(work[:, rows], n=period, axis=0)
        padded *= transfer[:, rows]
        work[:, rows] = scipy.fft.ifft(padded, axis=0, overwrite_x=True)[:side]

    def backward(planes: slice) -> None:
        rows = scipy.fft.ifft(work[planes], axis=1, overwrite_x=True)[:, :side]
        result[planes] = scipy.fft.irfft(rows, n=period, axis=2)[:, :, :side]

    with ThreadPoolExecutor(fourier.workers()) as pool:
        for step, length in ((forward, side), (multiply, period), (backward, side)):
            _run(pool, step, length, max(1, SLAB_BYTES // lines))
    return result


def _run(
    pool: ThreadPoolExecutor, step: Callable[[slice], None], length: int, thickness: int
) -> None:
    """``step`` on all of ``length`` planes or rows, so many at a time."""
    list(pool.map(step, (slice(i, i + thickness) for i in range(0, length, thickness))))

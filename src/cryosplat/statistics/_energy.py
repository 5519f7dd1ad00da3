"""The data term: the exact quadratic form of the statistics on a cube around the rotation centre.

``K * V`` is a convolution with zero padding to twice the cube. Its transforms run axis by axis, so
that the padding is never transformed, and the last axis is done slab by slab, so that the padded
box never exists as a whole (27 -> 16 of the full work, a quarter of its memory).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..errors import SettingsError
from ..grid import Grid
from ._values import Statistics

_SLAB_BYTES = 2**21


class QuadraticForm:
    """``L(V) = 1/2 <V, K*V> - <b, V>`` for maps on a cube of ``side`` voxels.

    ``grid`` is that cube: its rotation centre is the box's. Adding ``energy`` gives the negative
    log-likelihood of the particles.
    """

    def __init__(self, statistics: Statistics, side: int) -> None:
        d = statistics.grid.box_size
        if not 4 <= side <= d:
            raise SettingsError(f"QuadraticForm: side is {side}, expected 4 to {d} voxels.")
        self.grid = Grid(side, statistics.grid.pixel_size)
        self.energy = statistics.energy
        self.n_images = statistics.n_images
        self.n_frequencies = statistics.n_frequencies
        start = d // 2 - side // 2
        inner = slice(start, start + side)
        self.linear = statistics.backprojection[inner, inner, inner].contiguous()
        self.transfer = torch.from_numpy(_confined(statistics.transfer.numpy(), side))

    def __add__(self, other: QuadraticForm) -> QuadraticForm:
        if self.grid != other.grid:
            raise SettingsError(f"QuadraticForm: cannot add forms on {self.grid}, {other.grid}.")
        total = object.__new__(QuadraticForm)
        total.grid = self.grid
        for name in ("energy", "n_images", "n_frequencies", "linear", "transfer"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def convolve(self, volume: Tensor) -> Tensor:
        """``K * V`` on the cube, (side, side, side) float32."""
        return torch.from_numpy(convolve(volume.numpy(), self.transfer.numpy()))

    def __call__(self, volume: Tensor) -> Tensor:
        """``L(V)``, differentiable: the gradient is ``K * V - b``. A float64 scalar."""
        return _Quadratic.apply(volume, self)

    def line_search(self, volume: Tensor) -> float:
        """The factor ``<b, V> / <V, K*V>`` that minimises ``L`` along a map."""
        v = volume.detach()
        return float(_dot(self.linear, v) / _dot(v, self.convolve(v)))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of two cubes: single precision within a plane, double from plane to plane."""
    planes = torch.linalg.vecdot(a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1))
    return planes.double().sum()


class _Quadratic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, form: QuadraticForm) -> Tensor:
        v = volume.detach()
        convolved = form.convolve(v)
        value = 0.5 * _dot(v, convolved) - _dot(form.linear, v)
        ctx.save_for_backward(convolved.sub_(form.linear))
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (residual,) = ctx.saved_tensors
        return residual * gradients[0].to(residual.dtype), None


def _confined(transfer: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The transfer function for a cube of ``side``: K outside twice the cube is never met."""
    period = transfer.shape[0]
    if 2 * side == period:
        return transfer
    kernel = scipy.fft.irfftn(transfer, s=(period,) * 3, workers=fourier.workers())
    near = np.r_[0:side, -side:0]
    for axis in range(3):
        kernel = np.take(kernel, near, axis=axis)
    small = scipy.fft.rfftn(kernel, workers=fourier.workers(), overwrite_x=True)
    return np.ascontiguousarray(small.real.astype(np.float32))


def convolve(volume: NDArray[np.float32], transfer: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero-padded convolution of a cube with a kernel given by its real half transform."""
    side = volume.shape[0]
    period = 2 * side
    threads = fourier.workers()
    work = scipy.fft.rfft(volume, n=period, axis=2, workers=threads)
    work = scipy.fft.fft(work, n=period, axis=1, workers=threads, overwrite_x=True)
    rows = max(1, _SLAB_BYTES // (8 * period * (side + 1)))

    def multiply(start: int) -> None:
        slab = slice(start, start + rows)
        padded = scipy.fft.fft(work[:, slab], n=period, axis=0)
        padded *= transfer[:, slab]
        work[:, slab] = scipy.fft.ifft(padded, axis=0, overwrite_x=True)[:side]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(multiply, range(0, period, rows)))
    work = scipy.fft.ifft(work, axis=1, workers=threads, overwrite_x=True)[:, :side]
    padded = scipy.fft.irfft(work, n=period, axis=2, workers=threads)
    return np.ascontiguousarray(padded[:, :, :side], np.float32)

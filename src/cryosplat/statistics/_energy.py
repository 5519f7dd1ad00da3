"""The data term: the exact quadratic form of the statistics on a cube around the rotation centre."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor

from .. import fourier
from ..errors import SettingsError
from ..grid import Grid
from ._convolution import confined, convolve
from ._values import Statistics


class QuadraticForm:
    """``L(V) = 1/2 <V, K*V> - <b, V>`` for maps on a cube of ``side`` voxels.

    ``grid`` is that cube: its rotation centre is the box's. Adding ``energy`` gives the negative
    log-likelihood of the particles. Maps are on the device of the statistics.
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
        self.transfer = confined(statistics.transfer, side)

    def __add__(self, other: QuadraticForm) -> QuadraticForm:
        if self.grid != other.grid:
            raise SettingsError(f"QuadraticForm: cannot add forms on {self.grid}, {other.grid}.")
        total = object.__new__(QuadraticForm)
        total.grid = self.grid
        for name in ("energy", "n_images", "n_frequencies", "linear", "transfer"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def with_penalty(self, penalty: Tensor) -> QuadraticForm:
        """The form plus ``1/2 sum_k penalty(|k|) |V(k)|^2 / n``, n voxels: a prior on the map's power.

        ``penalty`` (side // 2 + 1,) per shell of the cube, in the units of `shell_means`, as in
        `solve`; the last shell's value holds in the corners. With the inverse of a shell's expected
        power of signal the minimum is the most probable map (Scheres 2012, eq. 5).
        """
        period, device = len(self.transfer), self.transfer.device
        radii = fourier.squared_radii((period,) * 3, device).sqrt_().mul_(0.5)
        penalised = copy(self)
        penalised.transfer = self.transfer + fourier.at_radii(penalty.to(device), radii).float()
        return penalised

    def beyond(self, volume: Tensor) -> QuadraticForm:
        """The form of what is added to a map: ``L(volume + V) - L(volume)`` as a function of V."""
        remaining = copy(self)
        remaining.linear = self.linear - self.convolve(volume.detach())
        return remaining

    def convolve(self, volume: Tensor) -> Tensor:
        """``K * V`` on the cube, (side, side, side) float32."""
        return convolve(volume, self.transfer)

    def __call__(self, volume: Tensor) -> Tensor:
        """``L(V)``, differentiable: the gradient is ``K * V - b``. A float64 scalar."""
        return _Quadratic.apply(volume, self)

    def line_search(self, volume: Tensor) -> float:
        """The factor ``<b, V> / <V, K*V>`` that minimises ``L`` along a map."""
        v = volume.detach()
        return float(dot(self.linear, v) / dot(v, self.convolve(v)))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of two cubes: single precision within a plane, double from plane to plane."""
    planes = torch.linalg.vecdot(a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1))
    return planes.double().sum()


class _Quadratic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, form: QuadraticForm) -> Tensor:
        v = volume.detach()
        convolved = form.convolve(v)
        value = 0.5 * dot(v, convolved) - dot(form.linear, v)
        ctx.save_for_backward(convolved.sub_(form.linear))
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (residual,) = ctx.saved_tensors
        return residual * gradients[0].to(residual.dtype), None

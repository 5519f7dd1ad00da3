"""The data term of rendered images: noise-weighted squared residuals of a mini-batch.

Three transforms an image: of the data (once), of the rendered image, and back of the residual,
which is the gradient by the rendered pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...grid import Grid
from ...statistics._values import workers
from ...statistics._weighting import Aberrations, optics_columns
from ._residuals import PARTS, Band, residuals, residuals_cpu
from .data import Observed

Precision = Callable[[int], NDArray[np.float32]]
"""1 / s^2 of each optics group and shell, (g, shells), for images of a box size."""


def equal_precision(level: float, n_groups: int) -> Precision:
    """White noise of deviation ``level`` in every image: plain least squares on the pixels."""

    def precision(box_size: int) -> NDArray[np.float32]:
        value = 1.0 / (level * box_size) ** 2
        return np.full((n_groups, box_size // 2 + 1), value, np.float32)

    return precision


class ImageTerm:
    """``1/2 sum_i sum_k |Y_i(k) - H_i(k) X_i(k)|^2 / s_i^2(|k|)`` of images X rendered for n particles.

    H is CTF and shift, s^2 the noise variance that ``precision`` is the inverse of; k runs over both
    members of every Friedel pair below the Nyquist frequencies of the image and of ``grid``, the
    map's. The sum over all images is `Statistics.energy` plus `QuadraticForm` of the same map.
    """

    def __init__(self, grid: Grid, precision: Precision) -> None:
        self.grid = grid
        self._precision = precision
        self._certainties: dict[tuple[int, torch.device], Tensor] = {}
        self._bands: dict[tuple[Grid, torch.device], Band] = {}

    def __call__(self, images: Tensor, observed: Observed) -> Tensor:
        """The term for ``images`` (n, d, d), the particles at the rotation centre: float64, scalar."""
        return _Residual.apply(images, self, observed)

    def band(self, grid: Grid, device: torch.device) -> Band:
        """What is compared of images on ``grid``."""
        if (grid, device) not in self._bands:
            radius = min(grid.box_size / 2, self.grid.box_size / 2 * grid.side / self.grid.side)
            self._bands[grid, device] = Band.of(grid, radius, device)
        return self._bands[grid, device]

    def n_frequencies(self, grid: Grid) -> int:
        """How many Fourier coefficients of one image on ``grid`` are compared."""
        return self.band(grid, torch.device("cpu")).n_frequencies

    def certainty(self, box_size: int, device: torch.device) -> Tensor:
        """1 / s^2 by optics group and shell, (g, shells) float32."""
        key = box_size, device
        if key not in self._certainties:
            self._certainties[key] = torch.from_numpy(self._precision(box_size)).to(device)
        return self._certainties[key]


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, term: ImageTerm, observed: Observed) -> Tensor:
        if images.device.type == "cpu" and images.dtype == torch.float32:
            losses, derivative = _on_cpu(images, term, observed)
        else:
            losses, derivative = _defined(images, term, observed)
        ctx.save_for_backward(derivative)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (derivative,) = ctx.saved_tensors
        shape = (derivative.shape[1],) * 2
        if derivative.device.type == "cpu":
            images = torch.from_numpy(
                scipy.fft.irfft2(derivative.numpy(), s=shape, norm="forward", workers=workers())
            )
        else:
            images = torch.fft.irfft2(derivative, s=shape, norm="forward")
        return images * gradients[0].to(images.dtype), None, None


def _on_cpu(images: Tensor, term: ImageTerm, observed: Observed) -> tuple[Tensor, Tensor]:
    grid = observed.grid
    spectra = scipy.fft.rfft2(images.detach().numpy(), workers=workers())
    aberrations = Aberrations.of(observed.optics, grid.box_size)
    losses = np.empty((len(observed), PARTS))
    residuals_cpu(
        spectra.view(np.float32).reshape(*spectra.shape, 2),
        torch.view_as_real(observed.transforms).numpy(),
        optics_columns(observed.optics),
        aberrations.plane,
        aberrations.even,
        aberrations.odd,
        (observed.poses.shifts / grid.pixel_size).numpy(),
        term.certainty(grid.box_size, images.device).numpy(),
        observed.optics.group.numpy(),
        term.band(grid, images.device).radius,
        losses,
    )
    return torch.from_numpy(losses), torch.from_numpy(spectra)


def _defined(images: Tensor, term: ImageTerm, observed: Observed) -> tuple[Tensor, Tensor]:
    grid = observed.grid
    return residuals(
        torch.fft.rfft2(images.detach()), observed.transforms, observed.poses, observed.optics,
        term.certainty(grid.box_size, images.device), term.band(grid, images.device),
    )  # fmt: skip

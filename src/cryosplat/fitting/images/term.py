"""The data term of rendered images: noise-weighted squared residuals of a mini-batch.

Three transforms an image: of the data (once), of the rendered image, and back of the residual,
which is the gradient by the rendered pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ... import fourier
from ...grid import Grid
from ...optics import residuals_
from .data import Observed

Precision = Callable[[int], Tensor]
"""1 / s^2 of each optics group and shell, (g, shells), for images of a box size."""


def equal_precision(level: float, n_groups: int) -> Precision:
    """White noise of deviation ``level`` in every image: plain least squares on the pixels."""

    def precision(box_size: int) -> Tensor:
        return torch.full((n_groups, box_size // 2 + 1), 1.0 / (level * box_size) ** 2)

    return precision


class ImageTerm:
    """``1/2 sum_i sum_k |Y_i(k) - H_i(k) X_i(k)|^2 / s_i^2(|k|)`` of images X rendered for n particles.

    H is CTF and shift, s^2 the noise variance that ``precision`` is the inverse of; k runs over both
    members of every Friedel pair below the Nyquist frequencies of the image and of ``grid``, the
    map's. The sum over all images is `Statistics.energy` plus `QuadraticForm` of the same map.
    """

    def __init__(self, grid: Grid, precision: Precision) -> None:
        self.grid = grid
        self._precision_of = precision
        self._precisions: dict[tuple[int, torch.device], Tensor] = {}

    def __call__(self, images: Tensor, observed: Observed) -> Tensor:
        """The term for ``images`` (n, d, d), the particles at the rotation centre: float64, scalar."""
        return _Residual.apply(images, self, observed)

    def radius(self, grid: Grid) -> float:
        """Frequencies of images on ``grid`` below it are compared, in pixels of their transforms."""
        return min(grid.box_size / 2, self.grid.box_size / 2 * grid.side / self.grid.side)

    def n_frequencies(self, grid: Grid) -> int:
        """How many Fourier coefficients of one image on ``grid`` are compared."""
        inside = fourier.squared_radii((grid.box_size,) * 2) < self.radius(grid) ** 2
        return int((fourier.friedel_counts(grid.box_size) * inside).sum())

    def precision(self, box_size: int, device: torch.device) -> Tensor:
        """1 / s^2 by optics group and shell, (g, shells) float32."""
        key = box_size, device
        if key not in self._precisions:
            self._precisions[key] = self._precision_of(box_size).to(device)
        return self._precisions[key]


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, term: ImageTerm, observed: Observed) -> Tensor:
        grid = observed.grid
        spectra = fourier.transform(images.detach(), 2)
        losses = residuals_(
            spectra, observed.transforms, observed.poses.shifts, observed.optics,
            term.precision(grid.box_size, images.device), term.radius(grid),
        )  # fmt: skip
        ctx.save_for_backward(spectra)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (derivative,) = ctx.saved_tensors
        d = derivative.shape[1]
        # the adjoint of the transform is its unnormalised inverse
        images = fourier.inverse(derivative, d, 2)
        return images * (gradients[0] * d**2).to(images.dtype), None, None

"""The data term of images: noise-weighted squared residuals of what is rendered, by mini-batches.

Three transforms an image: of the data (once), of the rendered image, and back of the residual,
which is the gradient by the rendered pixels.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ... import fourier
from ...grid import Grid
from ...mixture import GaussianMixture
from ...optics import residuals_
from ...solvent import VACUUM, Solvent, image_frequencies
from ...splatting import project
from ._rendering import Render, without_aliases
from .data import ImageData, Observed, Order, planned, pools

Precision = Callable[[int], Tensor]
"""1 / s^2 of each optics group and shell, (g, shells), for images of a box size."""


def equal_precision(level: float, n_groups: int) -> Precision:
    """White noise of deviation ``level`` in every image: plain least squares on the pixels."""

    def precision(box_size: int) -> Tensor:
        return torch.full((n_groups, box_size // 2 + 1), 1.0 / (level * box_size) ** 2)

    return precision


class ImageLikelihood:
    """``1/2 sum_i sum_k |Y_i(k) - H_i(k) X_i(k)|^2 / s_i^2(|k|)`` of images X rendered for n particles.

    H is CTF, shift and the response of the ``solvent``, s^2 the noise variance that ``precision`` is
    the inverse of; k runs over both members of every Friedel pair below the Nyquist frequencies of the
    image and of ``grid``, the map's. The sum over all images is `Statistics.energy` plus
    `QuadraticForm` of the same map.
    """

    def __init__(self, grid: Grid, precision: Precision, solvent: Solvent = VACUUM) -> None:
        self.grid, self.solvent = grid, solvent
        self._precision_of = precision
        self._precisions: dict[tuple[int, torch.device], Tensor] = {}
        self._responses: dict[tuple[Grid, torch.device], Tensor] = {}
        self._counts: dict[Grid, int] = {}

    def __call__(self, images: Tensor, observed: Observed) -> Tensor:
        """The term for ``images`` (n, d, d), the particles at the rotation centre: float64, scalar."""
        return _Residual.apply(images, self, observed)

    def radius(self, grid: Grid) -> float:
        """Frequencies of images on ``grid`` below it are compared, in pixels of their transforms."""
        return min(grid.box_size / 2, self.grid.box_size / 2 * grid.side / self.grid.side)

    def n_frequencies(self, grid: Grid) -> int:
        """How many Fourier coefficients of one image on ``grid`` are compared."""
        if grid not in self._counts:
            inside = fourier.squared_radii((grid.box_size,) * 2) < self.radius(grid) ** 2
            self._counts[grid] = int((fourier.friedel_counts(grid.box_size) * inside).sum())
        return self._counts[grid]

    def precision(self, box_size: int, device: torch.device) -> Tensor:
        """1 / s^2 by optics group and shell, (g, shells) float32."""
        key = box_size, device
        if key not in self._precisions:
            self._precisions[key] = self._precision_of(box_size).to(device)
        return self._precisions[key]

    def response(self, grid: Grid, device: torch.device) -> Tensor | None:
        """H of the solvent on the transforms of images on ``grid``, float32; None for vacuum."""
        key = grid, device
        if self.solvent and key not in self._responses:
            self._responses[key] = self.solvent(image_frequencies(grid, device))
        return self._responses.get(key)


class ImageTerm:
    """The squared residuals of particle images, a mini-batch a call.

    Their mean over the batch's pixels, in units of the noise and counted in the map's pixels for all
    images, so that each weighs by what it says. Of one mixture, which all images move; or of three,
    for all particles, half-set 1 and half-set 2: a mini-batch holds images of one half-set, and moves
    the mixture of all particles and that of its half. ``precision``: by default that of the noise;
    ``render`` gives the images of a mixture.

    ``steps``: mini-batches in all epochs; ``ends``: number of steps up to the end of each; ``met``:
    of the last call, each mixture's number, squared residuals, and coefficients summed over.
    """

    def __init__(
        self,
        data: ImageData,
        order: Order,
        precision: Precision | None = None,
        render: Render = project,
    ) -> None:
        self.grid = data.grid
        self.met: list[tuple[int, float, int]] = []
        self._data, self._order = data, order
        self._render = without_aliases(render, data.grid.pixel_size)
        self._likelihood = ImageLikelihood(
            data.grid, precision or data.noise.precision, data.solvent
        )
        self._plan = planned(data, order)
        self._begins = list(accumulate((part.n_batches for part in self._plan), initial=0))
        last = {part.epoch: end for part, end in zip(self._plan, self._begins[1:], strict=True)}
        self.ends, self.steps = tuple(last.values()), self._begins[-1]
        self._step, self._at = 0, -1
        self._batches: Iterator[tuple[int, Observed]] = iter(())

    def seek(self, step: int) -> None:
        """The next call is of the mini-batch ``step``; behind the last one, of that again."""
        self._step = step

    def __call__(self, *mixtures: GaussianMixture) -> Tensor:
        half, batch = self._batch(min(self._step, self.steps - 1), mixtures[0].means.device)
        self._step += 1
        self.met = []
        total = torch.zeros((), dtype=torch.float64, device=batch.index.device)
        for number in (0, half):
            if number < len(mixtures):
                images = self._render(mixtures[number], batch.poses, batch.grid)
                loss = self._likelihood(images, batch)
                total = total + loss * (2.0 / (len(batch) * self.grid.box_size**2))
                n = len(batch) * self._likelihood.n_frequencies(batch.grid)
                self.met.append((number, 2.0 * float(loss.detach()), n))
        return total

    def _batch(self, step: int, device: torch.device) -> tuple[int, Observed]:
        """The half-set and the images of a mini-batch, read where they are not the next ones."""
        if step != self._at:
            if step != self._at + 1 or step == 0:
                self._batches = self._from(step, device)
            self._at, self._now = step, next(self._batches)
        return self._now

    def _from(self, step: int, device: torch.device) -> Iterator[tuple[int, Observed]]:
        at = bisect_right(self._begins, step) - 1
        skipped = step - self._begins[at]
        for pool in pools(self._data, self._order, self._plan[at:], device):
            yield from pool.batches_from(skipped)
            skipped = 0


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, term: ImageLikelihood, observed: Observed) -> Tensor:
        grid = observed.grid
        spectra = fourier.transform(images.detach(), 2)
        solvent = term.response(grid, images.device)
        if solvent is not None:
            spectra *= solvent
        losses = residuals_(
            spectra, observed.transforms, observed.poses.shifts, observed.optics,
            term.precision(grid.box_size, images.device), term.radius(grid),
        )  # fmt: skip
        ctx.save_for_backward(spectra if solvent is None else spectra.mul_(solvent))
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (derivative,) = ctx.saved_tensors
        d = derivative.shape[1]
        # the adjoint of the transform is its unnormalised inverse
        images = fourier.inverse(derivative, d, 2)
        return images * (gradients[0] * d**2).to(images.dtype), None, None

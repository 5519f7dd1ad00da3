"""The uses of the response by their definitions: any device and precision, one pixel size at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import fourier
from .response import response
from .values import Optics


def form(slices: Tensor, shifts: Tensor, optics: Optics, origin: int) -> Tensor:
    """The spectra of images of ``slices`` (n, d, d // 2 + 1) that were transformed about ``origin``."""
    return slices * response(shifts, optics, slices.shape[1], origin).to(slices)


def weigh(
    transforms: Tensor, shifts: Tensor, optics: Optics, precision: Tensor, radii: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`operators.weigh`."""
    box = transforms.shape[1]
    seen = response(shifts, optics, box, box // 2).to(transforms)
    counts = _counts(box, radii)
    weights = _weights(box, precision, optics, counts)
    value = torch.view_as_real(seen.conj() * transforms * weights)
    square = seen.abs().square() * weights
    terms = (counts * weights * transforms.abs().square()).sum((1, 2), dtype=torch.float64)
    values = torch.cat([value, square[..., None]], -1)
    return values, 0.5 * terms, counts.sum((1, 2)).long()


def residuals_(
    spectra: Tensor, data: Tensor, shifts: Tensor, optics: Optics, precision: Tensor, radius: float
) -> Tensor:
    """`operators.residuals_`."""
    box = spectra.shape[1]
    seen = response(shifts, optics, box).to(spectra)
    counts = _counts(box, torch.full((1,), radius, device=spectra.device))
    weights = _weights(box, precision, optics, counts).to(seen.real)
    difference = seen * spectra - data
    squares = counts * weights * difference.abs().square()
    spectra.copy_(seen.conj() * difference * weights)
    return 0.5 * squares.sum((1, 2), dtype=torch.float64)


def _counts(box: int, radii: Tensor) -> Tensor:
    """How often each frequency of a half transform counts, (m, d, d // 2 + 1) float64, for ``radii``
    (m,): 2 for a pair, 1 for those in the column ``kx = 0``, 0 from the radius on."""
    squared = fourier.squared_radii((box, box), radii.device)
    inside = squared < radii[:, None, None].double() ** 2
    return fourier.friedel_counts(box, radii.device) * inside


def _weights(box: int, precision: Tensor, optics: Optics, counts: Tensor) -> Tensor:
    shells = fourier.shells((box, box), precision.device).clamp_max(precision.shape[1] - 1)
    return precision[optics.group][:, shells] * (counts > 0.0)

"""The uses of the response by their definitions: any device and precision, one pixel size at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from .ctf import ctf
from .processing import matched, undone
from .response import image_frequencies, phase_factors, response
from .values import Optics


def form(slices: Tensor, shifts: Tensor, optics: Optics, origin: int) -> Tensor:
    """The spectra of images of ``slices`` (n, d, d // 2 + 1) that were transformed about ``origin``."""
    return slices * response(shifts, optics, slices.shape[1], origin).to(slices)


def weigh(
    transforms: Tensor, shifts: Tensor, optics: Optics, precision: Tensor, radii: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`operators.weigh`."""
    box = transforms.shape[1]
    seen = _Seen.of(transforms, shifts, optics, box // 2)
    counts = _counts(box, radii)
    weights = _weights(box, precision, optics, counts)
    value = torch.view_as_real(seen.phases.conj() * seen.matched * transforms * weights)
    square = seen.ctf.square() * weights
    power = (seen.undone * transforms).abs().square()
    energy = 0.5 * (counts * weights * power).sum((1, 2), dtype=torch.float64)
    return torch.cat([value, square[..., None]], -1), energy, counts.sum((1, 2)).long()


def residuals_(
    spectra: Tensor, data: Tensor, shifts: Tensor, optics: Optics, precision: Tensor, radius: float
) -> Tensor:
    """`operators.residuals_`.

    Of ``1/2 |C X|^2 - Re conj(C y) X + 1/2 |y|^2`` the middle term takes ``C y`` as `matched` has it
    and the last one y as `undone` has it; ``lack`` is where these two differ.
    """
    box = spectra.shape[1]
    seen = _Seen.of(spectra, shifts, optics, 0)
    counts = _counts(box, torch.full((1,), radius, device=spectra.device))
    weights = _weights(box, precision, optics, counts).to(spectra.real)
    model = seen.phases * spectra
    difference = seen.ctf * model - seen.undone * data
    lack = (seen.ctf * seen.undone - seen.matched) * data
    terms = 0.5 * difference.abs().square() + (lack.conj() * model).real
    spectra.copy_(seen.phases.conj() * (seen.ctf * difference + lack) * weights)
    return (counts * weights * terms).sum((1, 2), dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Factors of images' transforms (n, d, d // 2 + 1), in the images' precision."""

    phases: Tensor
    ctf: Tensor
    matched: Tensor
    undone: Tensor

    @staticmethod
    def of(transforms: Tensor, shifts: Tensor, optics: Optics, origin: int) -> _Seen:
        box = transforms.shape[1]
        frequencies = image_frequencies(optics, box)
        values = ctf(optics, frequencies)
        factors = values, matched(values, optics), undone(values, optics, frequencies)
        phases = phase_factors(shifts, optics, box, origin).to(transforms)
        return _Seen(phases, *(factor.to(transforms.real) for factor in factors))


def _counts(box: int, radii: Tensor) -> Tensor:
    """How often each frequency of a half transform counts, (m, d, d // 2 + 1), for ``radii`` (m,)."""
    inside = fourier.squared_radii((box, box), radii.device) < radii[:, None, None].double() ** 2
    return fourier.friedel_counts(box, radii.device) * inside


def _weights(box: int, precision: Tensor, optics: Optics, counts: Tensor) -> Tensor:
    shell = fourier.shells((box, box), precision.device).clamp_max(precision.shape[1] - 1)
    return precision[optics.group][:, shell] * (counts > 0.0)

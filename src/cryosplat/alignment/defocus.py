"""How likely images are with more or less defocus: exact, for any change, from sums over each image.

A change x of defocus turns the CTF's phase by ``pi lambda |M k|^2 x``. With the frequencies sorted by
``|M k|^2`` into bins of one phase a, the log-likelihood ``sum C Re(conj(X) w) - p C^2 |X|^2 / 2`` is
``sum A cos(a x) + B sin(a x) + D cos(2 a x) + E sin(2 a x)`` plus a constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .contrast import OpenImages, waves
from .template import Template

BINS = 128
REACH = 2000.0
"""Largest change of defocus that is looked for, in Angstrom."""
STEP = 20.0
LEAST_WIDTH, WIDTHS = 25.0, 30  # of a prior, and how many are tried up to REACH / 2
TELLING = 0.15  # radian that 500 Angstrom must turn the CTF by at the limit to be seen


def offsets() -> Tensor:
    """Changes of defocus (g,), of which a prior and a posterior are sums, in Angstrom."""
    n = round(REACH / STEP)
    return torch.arange(-n, n + 1, dtype=torch.float64) * STEP


def tells_defocus(wavelength: float, limit: float) -> bool:
    """Whether frequencies below a ``limit`` in 1/Angstrom say anything of defocus."""
    return math.pi * wavelength * limit**2 * 500.0 > TELLING


@dataclass(frozen=True, slots=True)
class DefocusSums:
    """``phases`` (g, b) of the optics groups in radian per Angstrom, ``group`` (n,), ``terms``
    (4, n, b) A, B, D and E, ``constant`` (n,); float64."""

    phases: Tensor
    group: Tensor
    terms: Tensor
    constant: Tensor

    @staticmethod
    def of(images: OpenImages, template: Template) -> DefocusSums:
        """Those of images with the map of a template, at the images' own poses."""
        n, counts = len(images), images.counts()
        products = torch.view_as_real(images.slices(template)) * counts[:, None]
        values = images.ready.values
        matched = (products * values[..., :2]).sum(-1)
        power = products.square().sum(-1) / counts * values[..., 2]
        terms = torch.zeros(5, n, BINS, dtype=torch.float64, device=values.device)
        for rows, own, places in images.by_group():
            squared = places.square().sum(-1).flatten()
            inside = (squared < template.limit**2).nonzero().squeeze(1)
            at = (squared[inside] / template.limit**2 * BINS).long().clamp_max(BINS - 1)
            c, s = (w.flatten(1)[:, inside] for w in waves(own, images.ready.box_size))
            q, p = (values[rows].flatten(1)[:, inside] for values in (matched, power))
            parts = (q * c, q * s, -0.25 * p * (c * c - s * s), -0.5 * p * c * s,
                     -0.25 * p * (c * c + s * s))  # fmt: skip
            for total, part in zip(terms, parts, strict=True):
                sums = terms.new_zeros(BINS, len(rows))
                total[rows] = sums.index_add_(0, at, part.T.double()).T
        centres = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS * template.limit**2
        wavelengths = torch.tensor([g.wavelength for g in images.optics.groups]).double()
        phases = math.pi * wavelengths[:, None] * centres
        terms = terms.cpu()
        return DefocusSums(phases, images.optics.group.cpu(), terms[:4], terms[4].sum(1))

    def at(self, changes: Tensor) -> Tensor:
        """Log-likelihoods (n,) above that of noise alone, with defocus more by ``changes`` (n,)."""
        angle = self.phases[self.group] * changes[:, None]
        return self._sums(angle.cos(), angle.sin())

    def profile(self) -> Tensor:
        """`at` all `offsets`, (n, g)."""
        turned = [self.phases * x for x in offsets()]
        return torch.stack(
            [self._sums(a.cos()[self.group], a.sin()[self.group]) for a in turned], 1
        )

    def _sums(self, c: Tensor, s: Tensor) -> Tensor:
        waves = c, s, c * c - s * s, 2.0 * c * s
        pairs = zip(waves, self.terms, strict=True)
        return torch.stack([(wave * term).sum(1) for wave, term in pairs]).sum(0) + self.constant


def log_prior_of(width: float) -> Tensor:
    """The logarithm of a normal prior on `offsets`, (g,): no change at all where ``width`` is 0."""
    x = offsets()
    if width <= 0.0:
        return torch.where(x == 0.0, 0.0, -math.inf)
    return torch.log_softmax(-0.5 * (x / width).square(), 0)


def log_evidence_of(profile: Tensor, width: float) -> Tensor:
    """Log-likelihoods (n,) of images whose defocus is only known to be off by about ``width``."""
    return torch.logsumexp(profile + log_prior_of(width), 1)


def estimated_width(profile: Tensor) -> float:
    """The width of the errors of defocus that makes the images likeliest, 0 for none."""
    ratio = (0.5 * REACH / LEAST_WIDTH) ** (1.0 / (WIDTHS - 1))
    tried = [0.0, *(LEAST_WIDTH * ratio**i for i in range(WIDTHS))]
    totals = [float(log_evidence_of(profile, width).sum()) for width in tried]
    return tried[max(range(len(tried)), key=totals.__getitem__)]


def posterior_of(profile: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Means and standard deviations (n,) of the changes of defocus, in Angstrom."""
    weights = torch.softmax(profile + log_prior_of(width), 1)
    mean = (weights * offsets()).sum(1)
    return mean, (weights * (offsets() - mean[:, None]).square()).sum(1).sqrt()

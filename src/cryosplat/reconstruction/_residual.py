"""Voxels have the last word: what Gaussians leave over and the other half-set confirms is added.

Gaussians V leave a residual in their own data, ``b - K*V``, whose voxel solution R holds signal that
they missed, and noise. In every shell the voxel map U of the *other* half-set is regressed on both,
``U = a V + c R``: its noise is independent of both. ``w = c / a`` is the share of R that is signal: 0
where the other half says nothing of R for certain, and at most the voxels' own FSC, where Gaussians
say nothing. It gives the power of
the missed signal, and with it the most probable map around V: the minimum of
``L(V + R) + 1/2 sum_k P(|k|) |R(k)|^2 / n`` with ``P = information (1 - w) / w`` (Scheres 2012, eq. 5,
with V for the prior's mean). Frequencies that the particles see well follow the data, others V.

Each half-map is made of its own half-set's V and data. What it gets from the other half is the curve w,
one number a shell, the same for both, as a Wiener filter from the half-map FSC is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..maps.fsc import correlation_of_transforms, shell_products
from ..statistics import QuadraticForm, Statistics, averaged, shell_means, solve
from ._maps import Maps

DAMPING, FIRST_STEPS, STEPS = 0.1, 5, 10  # of a shell's information; of conjugate gradients
NEIGHBOURS = 1  # shells on either side that are judged together
CERTAIN = 2.0  # standard errors
LEAST_OWN = 0.05  # of the mixture's weight, relative to its residual's: what that is divided by
LEAST = 1e-3  # weight, where the other half confirms nothing


@dataclass(frozen=True, slots=True)
class Residual:
    """``weights`` (n_shells,): share of the voxel residual of a half-set that is signal; ``penalty``
    of what is added; ``carried`` (n_shells,): its share of the power of the map of all particles."""

    weights: Tensor
    penalty: Tensor
    carried: Tensor

    def added(self, maps: list[Tensor], statistics: list[Statistics], mask: Tensor) -> list[Tensor]:
        """Maps of mixtures completed in the same way by other statistics."""
        return [
            _symmetric(v + _left_over(v, s, self.penalty, STEPS) * mask, s.identity.symmetry)
            for v, s in zip(maps, statistics, strict=True)
        ]


def completed(
    mixtures: Maps, statistics: tuple[Statistics, Statistics], voxels: Maps, mask: Tensor
) -> tuple[Maps, Residual]:
    """The maps of mixtures with the confirmed part of their residuals, and what that was.

    ``statistics`` of the two half-sets; ``voxels``: the baseline; ``mask`` in which residuals count.
    """
    d = len(mixtures.full)
    information = [torch.from_numpy(shell_means(QuadraticForm(s, d))) for s in statistics]
    left = [
        _left_over(v, s, DAMPING * known, FIRST_STEPS) * mask
        for v, s, known in zip(mixtures[1:], statistics, information, strict=True)
    ]
    weights = confirmed_weights(mixtures[1:], (left[0], left[1]), voxels[1:], mask)
    believed = weights.clamp_min(LEAST)
    penalty = (information[0] + information[1]) / 2.0 * (1.0 - believed) / believed
    sums = [statistics[0] + statistics[1], *statistics]
    found = Residual(weights, penalty, torch.zeros_like(weights))
    maps = Maps(*found.added(list(mixtures), sums, mask))
    power = _power(maps.full)
    carried = torch.where(power > 0, _power(maps.full - mixtures.full) / power, 0.0)
    return maps, Residual(weights, penalty, carried)


def confirmed_weights(
    mixtures: tuple[Tensor, Tensor],
    left: tuple[Tensor, Tensor],
    voxels: tuple[Tensor, Tensor],
    mask: Tensor,
) -> Tensor:
    """The weight w of the residuals ``left``, already in the mask, per shell; float64.

    Between 0 and the FSC of the voxels: what Gaussians missed is not more than there is.

    All (d, d, d) of half 1 and half 2.
    """
    spectra = [[fourier.transform(v * mask, 3) for v in pair] for pair in (mixtures, voxels)]
    (own, other), rest = spectra, [fourier.transform(r, 3) for r in left]
    sizes, parts = [], []
    for i in (0, 1):
        x, y, u = own[i], rest[i], other[1 - i]
        xx, yy, uu = (shell_products(a, a).sqrt().clamp_min(1e-30) for a in (x, y, u))
        products = ((x, y, xx * yy), (x, u, xx * uu), (y, u, yy * uu))
        parts.append(torch.stack([shell_products(a, b) / norm for a, b, norm in products]))
        sizes.append(xx / yy)
    shells = torch.arange(len(sizes[0])).double()
    share = float(mask.square().sum() ** 2 / mask.square().square().sum()) / mask.numel()
    counted = (2.0 * 4.0 * math.pi * shells.square() * share).clamp_min(1.0)  # two pairs of halves
    number = _windowed(counted)
    xy, xu, yu = _windowed(counted * (parts[0] + parts[1]) / 2.0) / number
    alone = (1.0 - xy.square()).clamp_min(1e-3)
    of_own, of_left = (xu - xy * yu) / alone, (yu - xy * xu) / alone
    unexplained = (1.0 - of_own * xu - of_left * yu).clamp_min(1e-6)
    error = (unexplained / alone / number).sqrt()
    believed = (1.0 - (CERTAIN * error / of_left.clamp_min(1e-30)).square()).clamp_min(0.0)
    ratio = believed * of_left.clamp_min(0.0) / of_own.clamp_min(LEAST_OWN * of_left.abs() + 1e-12)
    agreement = correlation_of_transforms(*other).clamp(0.0, 1.0)
    weights = (ratio * (sizes[0] * sizes[1]).sqrt()).clamp_min(0.0).minimum(agreement)
    weights[0] = weights[1]
    return weights


def _left_over(volume: Tensor, statistics: Statistics, penalty: Tensor, steps: int) -> Tensor:
    """The voxel solution of what a map leaves unexplained."""
    form = QuadraticForm(statistics, len(volume))
    return solve(form.beyond(volume.to(form.linear)), penalty.numpy(), steps).to(volume)


def _symmetric(volume: Tensor, symmetry: str | None) -> Tensor:
    """The mean over the rotations of the group that take the grid into itself, bit for bit alike.

    The box and the mask have the symmetry only up to their edges.
    """
    if symmetry in (None, "C1"):
        return volume
    axes, centre = (0, 1, 2), len(volume) // 2
    return averaged(volume.roll((-centre,) * 3, axes), symmetry).roll((centre,) * 3, axes)


def _windowed(values: Tensor) -> Tensor:
    """Sums over neighbouring shells, of the last axis."""
    rows = torch.nn.functional.pad(values, (NEIGHBOURS, NEIGHBOURS))
    return rows.unfold(-1, 2 * NEIGHBOURS + 1, 1).sum(-1)


def _power(volume: Tensor) -> Tensor:
    spectrum = fourier.transform(volume, 3)
    return shell_products(spectrum, spectrum)

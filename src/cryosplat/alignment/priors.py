"""How far given poses are off, estimated from the images, and how sure the poses found are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..poses import Poses
from .local import Found, Prior, changes
from .template import Template

LARGEST_SAMPLE = 3000  # images that the widths are estimated from
_ITERATIONS = 300
_TURN = (3, 2)  # unknowns of the rotation, and of the shift
_MASS = 0.999  # of the posterior, that significant samples hold


def estimated_prior(found: Found, given: Poses) -> Prior:
    """The widths of the poses' errors that make the images likeliest (empirical Bayes).

    The likelihood about each pose in ``found`` is taken as normal (Laplace): with H its curvature,
    g its gradient and m the change from the ``given`` pose, it peaks at ``m + H^-1 g``. The variances
    of a normal prior about the given poses follow by expectation and maximisation: the mean of
    squared posterior means and posterior variances. Where the images say nothing, poses stay: a
    width is as small as the scatter of the peaks allows, whatever the noise.
    """
    index = torch.arange(len(given))[:: max(1, math.ceil(len(given) / LARGEST_SAMPLE))]
    some, moved = found.select(index), torch.cat(changes(found.poses, given), 1)[index]
    linear = torch.einsum("nij,nj->ni", some.curvature, moved) + some.gradient
    peak = _solved(some.curvature, linear)
    variances = [float(part.square().mean()) for part in peak.split(_TURN, 1)]
    for _ in range(_ITERATIONS):
        matrix = some.curvature + torch.diag(_repeated([1.0 / max(v, 1e-30) for v in variances]))
        covariance = torch.linalg.inv(matrix)
        mean = torch.einsum("nij,nj->ni", covariance, linear)
        squares = mean.square() + covariance.diagonal(dim1=1, dim2=2)
        before, variances = variances, [float(p.mean()) for p in squares.split(_TURN, 1)]
        if all(abs(v - b) <= 1e-4 * b for v, b in zip(variances, before, strict=True)):
            break
    return Prior(*(math.sqrt(v) for v in variances))


def log_evidence(found: Found, given: Poses, prior: Prior) -> Tensor:
    """The log-likelihood (n,) of images whose poses are only known to lie about ``given`` ones.

    The likelihood times the normal ``prior``, integrated over poses, by Laplace's approximation about
    the poses in ``found``. A pose that follows the noise of its image gains nothing: what it gains in
    likelihood it pays for by the prior and the width of its posterior.
    """
    if not prior.angle < math.inf or not prior.shift < math.inf:
        return found.likelihood
    width = _repeated([max(prior.angle, 1e-9), max(prior.shift, 1e-9)])
    moved = torch.cat(changes(found.poses, given), 1) / width  # in deviations of the prior
    matrix = found.curvature * width[:, None] * width + torch.eye(5, dtype=torch.float64)
    slope = found.gradient * width - moved
    reached = (slope * torch.linalg.solve(matrix, slope)).sum(1)
    volume = torch.linalg.slogdet(matrix)[1]
    return found.likelihood + 0.5 * (reached - moved.square().sum(1) - volume)


def deviations(found: Found, prior: Prior) -> Tensor:
    """Standard deviations of the posterior (n, 5): rotation vector in radian, shift in Angstrom."""
    return torch.linalg.inv(_posterior(found, prior)).diagonal(dim1=1, dim2=2).clamp_min(0.0).sqrt()


def significance(found: Found, prior: Prior, template: Template) -> tuple[Tensor, Tensor]:
    """How concentrated the posterior of every pose is, on a grid as fine as the template's limit.

    Returns the share of the likeliest sample (n,), and how many samples hold 99.9 % of the posterior
    (n,), by the volume of the normal posterior's ellipsoid. A sample is 1 / 4 of the finest wave wide.
    """
    width = 0.25 / template.limit
    angle = width / (0.25 * template.grid.side)  # at half the radius that a molecule may have
    cell = torch.tensor([angle] * 3 + [width] * 2, dtype=torch.float64)
    matrix = _posterior(found, prior) * cell[:, None] * cell
    spread = (-0.5 * torch.linalg.slogdet(matrix + torch.eye(5))[1]).exp()
    # a fifth of the unknowns' ball: chi-squared of five unknowns holds 99.9 % within 20.5
    ball = math.pi**2.5 / math.gamma(3.5) * 20.5**2.5
    peak = 1.0 / (1.0 + (2.0 * math.pi) ** 2.5 * spread)
    return peak, (ball * spread).ceil().clamp_min(1.0)


def _posterior(found: Found, prior: Prior) -> Tensor:
    widths = prior.angle, prior.shift
    return found.curvature + torch.diag(_repeated([1.0 / max(w, 1e-15) ** 2 for w in widths]))


def _repeated(two: list[float]) -> Tensor:
    return torch.tensor(two, dtype=torch.float64).repeat_interleave(torch.tensor(_TURN))


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """With a little of its diagonal added, for images that say nothing about an unknown."""
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    damped = matrix + torch.diag_embed(1e-3 * diagonal.mean(0).clamp_min(1e-12).expand_as(diagonal))
    return torch.linalg.solve(damped, right)

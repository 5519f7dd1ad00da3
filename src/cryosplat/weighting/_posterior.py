"""The posterior that an image holds the particle, and of the scale of its signal.

In whitened coefficients an image y is one of three things, band by band:

- the particle: ``a r x + e``, x the projection of the map, r its reliability in the band, a the scale
  of the image; e has the variance ``1 + c u``, c being what the CTF passes and u the power of what the
  map does not explain: wrong poses, other states, the map's own error;
- something else: no projection, but power ``1 + c q``;
- noise: variance 1.

Scales are normal about the mean of their group (micrograph), which is normal about 1. All of that is
found by expectation and maximisation on the half-set's images alone, from sums over bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._evidence import Evidence

ROUNDS = 40
SHARE = 0.9  # of particles, to begin with
LARGEST_SPREAD = 1.0  # of scales
SMALLEST_SCALE = 0.05
SETTLED = 1e-5  # change of the share of particles


@dataclass(frozen=True, slots=True)
class Judged:
    """Of n images of one half-set: ``weights`` (n,), the posterior that each holds the particle, and
    ``scales`` (n,) of its signal, 1 on average; float64.

    ``odds`` (n,): logarithm of the odds that it holds the particle; ``strengths`` (n,): how many
    standard deviations each projection could stand out; ``share`` of particles; ``spread``: standard
    deviation of the scales, their errors taken off.
    """

    weights: Tensor
    scales: Tensor
    odds: Tensor
    share: float
    spread: float
    strengths: Tensor


@dataclass(slots=True)
class _Model:
    """What the three hypotheses say, in each band (b,), and how scales vary."""

    reliability: Tensor
    unexplained: Tensor
    other: Tensor
    log_shares: Tensor
    variance: float
    means: Tensor


def judge(
    evidence: Evidence, reliability: Tensor, own: Tensor, groups: Tensor | None = None
) -> Judged:
    """Weights and scales of the images of one half-set, from their own map.

    ``reliability`` (b,): what a projection of the map is multiplied by to predict images that it was
    not made of; ``own`` (b,): mean product of an image with its own contribution to the map, which is
    taken off; ``groups`` (n,): images whose scales have something in common.
    """
    passed = evidence.passed.double()
    counts = evidence.counts.double().clamp_min(1.0)
    typical = passed.mean(0).clamp_min(1e-30)
    y2, x2 = evidence.images.double(), evidence.projections.double()
    xy = evidence.products.double() - own * passed / typical
    c = passed / counts
    power = (x2.sum(0) / passed.sum(0).clamp_min(1e-30)).clamp_min(0.0)
    n = len(evidence)
    model = _Model(
        reliability.double(), torch.zeros_like(power), power.clone(),
        torch.tensor([SHARE, 0.5 - 0.5 * SHARE, 0.5 - 0.5 * SHARE]).double().log(), 0.01,
        torch.ones(n, dtype=torch.float64),
    )  # fmt: skip
    odds, weights, scales = torch.ones(3, n, dtype=torch.float64)
    for number in range(ROUNDS):
        before = float(model.log_shares[0].exp())
        v, w = 1.0 + c * model.unexplained, 1.0 + c * model.other
        a = (model.reliability * xy / v).sum(1)
        b = (model.reliability.square() * x2 / v).sum(1)
        precision = b + 1.0 / model.variance
        scales = (a + model.means / model.variance) / precision
        likelihoods = torch.stack([
            -0.5 * (y2 / v + counts * v.log()).sum(1) + 0.5 * scales.square() * precision
            - 0.5 * model.means.square() / model.variance - 0.5 * (precision * model.variance).log(),
            -0.5 * (y2 / w + counts * w.log()).sum(1),
            -0.5 * y2.sum(1),
        ], 1)  # fmt: skip
        joint = likelihoods + model.log_shares
        posterior = torch.softmax(joint, 1)
        odds, weights = joint[:, 0] - joint[:, 1:].logsumexp(1), posterior[:, 0]
        _learn(model, posterior, scales, 1.0 / precision, (y2, xy, x2, c, counts))
        model.variance, model.means = _spread(a, b, weights, groups)
        if number > 3 and abs(float(model.log_shares[0].exp()) - before) < SETTLED:
            break
    mean = float((weights * scales).sum() / weights.sum().clamp_min(1e-30))
    scales = (scales / mean).clamp_min(SMALLEST_SCALE)
    return Judged(
        weights, scales, odds, float(weights.mean()), model.variance**0.5,
        (model.reliability.square() * x2).sum(1).sqrt(),
    )  # fmt: skip


def _learn(
    model: _Model, posterior: Tensor, scales: Tensor, errors: Tensor, sums: tuple[Tensor, ...]
) -> None:
    """What the images say of the hypotheses, each weighted by the posterior of its own."""
    y2, xy, x2, c, counts = sums
    first, other = posterior[:, 0, None], posterior[:, 1, None]
    squared = scales.square() + errors
    r = (first * scales[:, None] * xy).sum(0)
    model.reliability = torch.where(
        model.reliability > 0.0, r / (first * squared[:, None] * x2).sum(0).clamp_min(1e-30), 0.0
    ).clamp(0.0, 1.5)
    rest = y2 - 2.0 * scales[:, None] * model.reliability * xy
    rest = rest + squared[:, None] * model.reliability.square() * x2

    def power(weight: Tensor, squares: Tensor) -> Tensor:
        excess = (weight * (squares - counts) * c).sum(0)
        return (excess / (weight * counts * c.square()).sum(0).clamp_min(1e-30)).clamp_min(0.0)

    model.unexplained, model.other = power(first, rest), power(other, y2)
    # one image of each kind is taken as seen: no share ends at zero
    model.log_shares = ((posterior.sum(0) + 1.0) / (len(posterior) + 3.0)).log()


def _spread(a: Tensor, b: Tensor, weights: Tensor, groups: Tensor | None) -> tuple[float, Tensor]:
    """The variance of scales within groups, and the mean of each image's group, (n,).

    ``a / b`` is an image's own estimate and ``1 / b`` its variance.
    """
    b = b.clamp_min(1e-12)
    own = a / b
    reliable = weights * b / (1.0 + b)
    mean = (reliable * own).sum() / reliable.sum().clamp_min(1e-30)
    number = torch.zeros(len(a), dtype=torch.int64) if groups is None else _numbered(groups)
    within = _moment(own - mean, 1.0 / b, reliable)
    means = mean.expand(len(a))
    if groups is not None:
        p = weights / (within + 1.0 / b)
        total = torch.bincount(number, p)
        of_group = torch.bincount(number, p * own) / total.clamp_min(1e-12)
        between = _moment(of_group - mean, 1.0 / total.clamp_min(1e-12), total / (1.0 + total))
        shrunk = mean + (of_group - mean) * between / (between + 1.0 / total.clamp_min(1e-12))
        means = shrunk[number]
        within = _moment(own - means, 1.0 / b, reliable)
    return min(max(within, 1e-4), LARGEST_SPREAD**2), means


def _moment(deviations: Tensor, errors: Tensor, weights: Tensor) -> float:
    """Variance of what was measured with ``errors`` (variances), these taken off."""
    excess = (weights * (deviations.square() - errors)).sum()
    return max(float(excess / weights.sum().clamp_min(1e-30)), 0.0)


def _numbered(groups: Tensor) -> Tensor:
    return groups.unique(return_inverse=True)[1]

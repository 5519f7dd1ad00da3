"""The posterior that an image holds the particle, and of the scale of its signal.

In whitened coefficients an image y is one of three things, band by band:

- the particle: ``a r x + e``, x the projection of the map, r its reliability in the band, a the scale
  of the image; e has the variance ``1 + a^2 c u``, c being what the CTF passes and u the power of what
  the map does not explain: wrong poses, other states, the map's own error;
- something else: no projection, but power ``1 + c q``;
- noise: variance 1.

All variances have a common factor, the square of the image's noise level, which its background tells
to a few percent only.

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
LEVEL_KNOWN = 0.2  # degrees of freedom of an image's noise level: the corners are a fifth of it
SEEN = 10.0  # images of the particle's own power that the power of something else begins with
CERTAIN = 3.0  # nats by which an image must rather be the particle in reverse
SETTLED = 1e-5  # change of the share of particles


@dataclass(frozen=True, slots=True)
class Judged:
    """Of n images of one half-set: ``weights`` (n,), the posterior that each holds the particle, and
    ``scales`` (n,) of its signal, 1 on average; float64.

    ``odds`` (n,): logarithm of the odds that it holds the particle; ``strengths`` (n,): how many
    standard deviations each projection could stand out; ``inverted`` (n,): images that are most likely
    the particle with its contrast reversed; ``share`` of particles; ``spread``: standard deviation of
    the scales, their errors taken off.
    """

    weights: Tensor
    scales: Tensor
    odds: Tensor
    inverted: Tensor
    share: float
    spread: float
    strengths: Tensor


@dataclass(slots=True)
class _Model:
    """What the three hypotheses say, in each band (b,), and how scales vary."""

    reliability: Tensor
    unexplained: Tensor
    other: Tensor
    usual: Tensor
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
        reliability.double(), torch.zeros_like(power), power, power,
        torch.tensor([SHARE, 0.5 - 0.5 * SHARE, 0.5 - 0.5 * SHARE]).double().log(), 0.01,
        torch.ones(n, dtype=torch.float64),
    )  # fmt: skip
    odds, weights, scales = torch.ones(3, n, dtype=torch.float64)
    inverted = torch.zeros(n, dtype=torch.bool)
    for number in range(ROUNDS):
        before = float(model.log_shares[0].exp())
        loud = c * scales.square()[:, None]  # what the map does not explain has the image's scale
        v, w = 1.0 + loud * model.unexplained, 1.0 + c * model.other
        a_bands = model.reliability * xy / v
        b_bands = model.reliability.square() * x2 / v
        a, b = a_bands.sum(1), b_bands.sum(1)
        precision = b + 1.0 / model.variance
        scales = (a + model.means / model.variance) / precision
        prior = model.means.square() / model.variance
        opposed = (model.means / model.variance - a) / precision
        alone, against = (
            _likelihood((y2 / v).sum(1) - s.square() * precision + prior, v, counts)
            - 0.5 * (precision * model.variance).log()
            for s in (scales, opposed)
        )
        likelihoods = torch.stack([
            alone,
            _likelihood((y2 / w).sum(1), w, counts),
            _likelihood(y2.sum(1), torch.ones_like(w), counts),
        ], 1)  # fmt: skip
        joint = likelihoods + model.log_shares
        posterior = torch.softmax(joint, 1)
        odds, weights = joint[:, 0] - joint[:, 1:].logsumexp(1), posterior[:, 0]
        inverted = against > likelihoods.amax(1) + CERTAIN
        _learn(model, posterior, scales, 1.0 / precision, (y2, xy, x2, c, loud, counts))
        model.variance, model.means = _spread(a_bands, b_bands, weights, groups)
        if number > 3 and abs(float(model.log_shares[0].exp()) - before) < SETTLED:
            break
    mean = float((weights * scales).sum() / weights.sum().clamp_min(1e-30))
    scales = (scales / mean).clamp_min(SMALLEST_SCALE)
    return Judged(
        weights, scales, odds, inverted, float(weights.mean()), model.variance**0.5,
        (model.reliability.square() * x2).sum(1).sqrt(),
    )  # fmt: skip


def _likelihood(rest: Tensor, variances: Tensor, counts: Tensor) -> Tensor:
    """Logarithm of the likelihood of images (n,), up to a constant, whatever their noise level is.

    ``rest``: their squared residuals in units of ``variances`` (n, b). The level was measured in the
    background; its square is taken as inverse gamma with as many degrees of freedom as that has, which
    makes the normal distribution Student's.
    """
    m = counts.sum(1)
    known = LEVEL_KNOWN * m
    log_volume = (counts * variances.log()).sum(1)
    return -0.5 * (m + known) * ((known + rest) / (known + m)).log() - 0.5 * log_volume


def _learn(
    model: _Model, posterior: Tensor, scales: Tensor, errors: Tensor, sums: tuple[Tensor, ...]
) -> None:
    """What the images say of the hypotheses, each weighted by the posterior of its own."""
    y2, xy, x2, c, loud, counts = sums
    first, other = posterior[:, 0, None], posterior[:, 1, None]
    squared = scales.square() + errors
    r = (first * scales[:, None] * xy).sum(0)
    model.reliability = torch.where(
        model.reliability > 0.0, r / (first * squared[:, None] * x2).sum(0).clamp_min(1e-30), 0.0
    ).clamp(0.0, 1.5)
    rest = y2 - 2.0 * scales[:, None] * model.reliability * xy
    rest = rest + squared[:, None] * model.reliability.square() * x2

    def power(weight: Tensor, squares: Tensor, passed: Tensor, usual: Tensor) -> Tensor:
        each = counts * passed.square()
        before = SEEN * each.mean(0)  # a few images do not make a kind of their own
        excess = (weight * (squares - counts) * passed).sum(0) + before * usual
        found = excess / ((weight * each).sum(0) + before).clamp_min(1e-30)
        return found.clamp_min(0.0)

    model.unexplained = power(first, rest, loud, torch.zeros_like(model.usual))
    model.other = power(other, y2, c, model.usual)
    # one image of each kind is taken as seen: no share ends at zero
    model.log_shares = ((posterior.sum(0) + 1.0) / (len(posterior) + 3.0)).log()


def _spread(
    a_bands: Tensor, b_bands: Tensor, weights: Tensor, groups: Tensor | None
) -> tuple[float, Tensor]:
    """The variance of scales within groups, and the mean of each image's group, (n,).

    ``a / b`` is an image's own estimate and ``1 / b`` its variance, were there noise alone. What else
    is in an image makes it worse; two estimates from every second band share the scale and little else,
    so that their covariance is its variance.
    """
    a, b = a_bands.sum(1), b_bands.sum(1).clamp_min(1e-12)
    own = a / b
    parts = [(a_bands[:, i::2].sum(1), b_bands[:, i::2].sum(1).clamp_min(1e-12)) for i in (0, 1)]
    first, second = (a / b for a, b in parts)
    sure = weights * torch.stack([b / (1.0 + b) for _, b in parts]).prod(0)
    mean = (weights * a).sum() / (weights * b).sum()

    def covariance(means: Tensor) -> float:
        products = (first - means) * (second - means)
        return max(float((sure * products).sum() / sure.sum().clamp_min(1e-30)), 0.0)

    within, means = covariance(mean), mean.expand(len(a))
    if groups is not None:
        number = groups.unique(return_inverse=True)[1]
        p = weights / (within + 1.0 / b)
        total = torch.bincount(number, p).clamp_min(1e-12)
        of_group = torch.bincount(number, p * own) / total
        between = _moment(of_group - mean, 1.0 / total, total / (1.0 + total))
        means = (mean + (of_group - mean) * between / (between + 1.0 / total))[number]
        within = covariance(means)
    return min(max(within, 1e-4), LARGEST_SPREAD**2), means


def _moment(deviations: Tensor, errors: Tensor, weights: Tensor) -> float:
    """Variance of what was measured with ``errors`` (variances), these taken off."""
    excess = (weights * (deviations.square() - errors)).sum()
    return max(float(excess / weights.sum().clamp_min(1e-30)), 0.0)

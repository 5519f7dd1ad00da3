"""What images say of J states: likelihoods, and the weights with which they inform each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import _device
from ._grids import sliced, spectra_of
from ._kernels import compare
from .observations import Observations


@dataclass(frozen=True, slots=True)
class Products:
    """``linear`` (n, J): <y, S_j>; ``power`` (n, J): <S_j, S_j>, or with all pairs (n, J, J)."""

    linear: Tensor
    power: Tensor

    @property
    def own(self) -> Tensor:
        """The powers (n, J)."""
        return self.power if self.power.dim() == 2 else self.power.diagonal(dim1=1, dim2=2)


def products_with(
    seen: Observations, rows: NDArray[np.int64], volumes: Tensor, radius: float = math.inf,
    pairs: bool = False,
) -> Products:  # fmt: skip
    """Images ``rows`` and J maps (J, s, s, s), over frequencies within ``radius`` steps."""
    n_points, j = seen.within(radius), len(volumes)
    if seen.device.type != "cpu":
        spectra = spectra_of(volumes.to(seen.device))
        found = _device.products(spectra, *seen.there(rows, n_points), pairs)
        return Products(*(each.cpu().double() for each in found))
    out = np.zeros((len(rows), 1 + (j if pairs else 1), j), np.float32)
    compare(
        sliced(volumes), seen.steps[rows], seen.points, seen.counts, seen.values[rows],
        seen.precisions[rows], n_points, pairs, out,
    )  # fmt: skip
    found = torch.from_numpy(out).double()
    return Products(found[:, 0], found[:, 1:] if pairs else found[:, 1])


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Before an image is seen: ``shares`` (J,) of the states, ``absent`` of images that hold nothing,
    and the deviation ``spread`` of the images' contrast about 1."""

    shares: Tensor
    absent: float = 0.02
    spread: float = 0.0

    @staticmethod
    def even(n: int, absent: float = 0.02, spread: float = 0.0) -> Assumptions:
        """All states alike."""
        return Assumptions(torch.full((n,), 1.0 / n, dtype=torch.float64), absent, spread)


@dataclass(frozen=True, slots=True)
class Expected:
    """``weights`` (n, J) of the states (their rest is that of an empty image), ``contrast`` (n, J) and
    its mean square, and ``evidence`` (n,): nats over an image of noise alone."""

    weights: Tensor
    contrast: Tensor
    contrast_squared: Tensor
    evidence: Tensor


def log_likelihoods(products: Products, spread: float) -> Tensor:
    """Nats (n, J) over an empty image, any contrast about 1 with this ``spread`` being possible."""
    c, g = products.linear, products.own
    if spread <= 0.0:
        return c - 0.5 * g
    rate = 1.0 / spread**2
    return 0.5 * ((c + rate).square() / (g + rate) - rate) - 0.5 * torch.log1p(g / rate)


def expected(products: Products, given: Assumptions, temperature: float = 1.0) -> Expected:
    """The posterior of the states of each image, at a temperature."""
    logs = log_likelihoods(products, given.spread)
    shares = given.shares.clamp_min(1e-12).log() + math.log1p(-given.absent)
    empty = torch.full_like(logs[:, :1], math.log(given.absent))
    evidence = torch.logsumexp(torch.cat([logs + shares, empty], 1), 1)
    hot = torch.cat([logs / temperature + shares, empty], 1)
    weights = torch.softmax(hot, 1)[:, :-1]
    c, g = products.linear, products.own
    if given.spread <= 0.0:
        one = torch.ones_like(c)
        return Expected(weights, one, one, evidence)
    variance = 1.0 / (g + 1.0 / given.spread**2)
    mean = (c + 1.0 / given.spread**2) * variance
    return Expected(weights, mean, mean.square() + variance, evidence)

"""Which states each image may show."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..splatting import voxelize
from ._expectation import Assumptions, Products, expected, products_with
from ._learning import volumes_of
from .coordinates import finer_nodes, functions_at, shares_at
from .models import Model
from .moving import Motion
from .observations import Observations

AT_ONCE = 16  # nodes
SHARED = 8  # steps; many more would gather the particles at a few nodes


def posterior(
    model: Model, given: Assumptions, seen: Observations
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the states that each image may show (n, J), rows adding up to 1, and that it shows none."""
    with torch.no_grad():
        products = products_with(seen, np.arange(len(seen)), volumes_of(model, seen))
    return _by(products, given)


def coordinates_of(
    model: Motion, given: Assumptions, seen: Observations, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation (m, n) of the coordinates of each image.

    At more nodes than motion is learned at: between these, an image of little noise would take one;
    and past the ends, as far as images ask for it: the shares of all nodes are learned anew.
    """
    nodes, parts = finer_nodes(n), []
    with torch.no_grad():
        for some in nodes.split(AT_ONCE):
            mixtures = model.at(functions_at(some))
            volumes = torch.stack([voxelize(mixture, seen.grid) for mixture in mixtures])
            parts.append(products_with(seen, np.arange(len(seen)), volumes))
    linear, power = (torch.cat([getattr(p, k) for p in parts], 1) for k in ("linear", "power"))
    products = Products(linear, power)
    own, at = _by(products, _shared(products, given, n))[0], nodes.double().numpy()
    mean = own @ at
    return mean, np.sqrt(np.maximum(own @ at**2 - mean**2, 0.0))


def _shared(products: Products, given: Assumptions, n: int) -> Assumptions:
    """With the shares of the finer nodes, by a few steps of expectation and maximisation."""
    shares = shares_at(given.shares, n)
    for _ in range(SHARED):
        weights = expected(products, Assumptions(shares, given.absent, given.spread)).weights
        shares = weights.sum(0) / weights.sum().clamp_min(1e-9)
    return Assumptions(shares, given.absent, given.spread)


def _by(products: Products, given: Assumptions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    weights: Tensor = expected(products, given).weights
    there = weights.sum(1, keepdim=True)
    # an image that shows nothing may be in any state
    even = torch.full_like(weights, 1.0 / weights.shape[1])
    own = torch.where(there > 1e-9, weights / there.clamp_min(1e-9), even)
    return own.numpy(), (1.0 - there[:, 0]).numpy()

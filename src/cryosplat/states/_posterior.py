"""Which states each image may show."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ._expectation import Assumptions, expected, products_with
from ._learning import volumes_of
from .models import Model
from .observations import Observations


def posterior(
    model: Model, given: Assumptions, seen: Observations
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the states that each image may show (n, J), rows adding up to 1, and that it shows none."""
    with torch.no_grad():
        products = products_with(seen, np.arange(len(seen)), volumes_of(model, seen))
    weights = expected(products, given).weights
    there = weights.sum(1, keepdim=True)
    # an image that shows nothing may be in any state
    even = torch.full_like(weights, 1.0 / weights.shape[1])
    own = torch.where(there > 1e-9, weights / there.clamp_min(1e-9), even)
    return own.numpy(), (1.0 - there[:, 0]).numpy()

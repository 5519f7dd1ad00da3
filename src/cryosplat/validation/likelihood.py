"""How likely single images are, given a map."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arrays import members
from ..batch import Batch
from ..formation import VolumeProjector
from ..noise import NoiseModel
from .agreement import products, weighed

AT_ONCE = 512  # images predicted in one go


def log_likelihoods(projector: VolumeProjector, batch: Batch, noise: NoiseModel) -> Tensor:
    """``<y, x> - |x|^2 / 2`` of every image y with its prediction x, in nats, (n,) float64.

    Both are weighed by the noise: an image's log-likelihood over that of an empty map. The batch may
    hold several optics groups.
    """
    found = torch.zeros(len(batch), dtype=torch.float64)
    for _, own in members(batch.optics.group):
        for rows in own.split(AT_ONCE):
            part = batch.select(rows)
            product, power = products(projector, part.poses, part.optics, weighed(part, noise))
            found[rows] = product - 0.5 * power
    return found

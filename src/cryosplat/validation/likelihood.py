"""How likely single images are, given a map."""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import Batch
from ..formation import VolumeProjector, form_spectra
from ..noise import NoiseModel
from .agreement import coefficient_weights

AT_ONCE = 512  # images predicted in one go


def log_likelihoods(projector: VolumeProjector, batch: Batch, noise: NoiseModel) -> Tensor:
    """``<y, x> - |x|^2 / 2`` of every image y with its prediction x, in nats, (n,) float64.

    Both are weighed by the noise: an image's log-likelihood over that of an empty map. The batch may
    hold several optics groups.
    """
    found = torch.zeros(len(batch), dtype=torch.float64)
    for group in batch.optics.group.unique():
        for rows in (batch.optics.group == group).nonzero().squeeze(1).split(AT_ONCE):
            part = batch.select(rows)
            y = torch.fft.rfft2(noise.normalised(part))
            x = form_spectra(projector, part.poses, part.optics, part.box_size)
            terms = y.real * x.real + y.imag * x.imag - 0.5 * (x.real.square() + x.imag.square())
            found[rows] = (coefficient_weights(part, noise) * terms).double().sum((1, 2))
    return found

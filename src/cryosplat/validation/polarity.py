"""Is the molecule bright or dark in the images? A matched filter on the statistics decides."""

from __future__ import annotations

import math

import torch

from ..mixture import GaussianMixture
from ..splatting import voxelize
from ..statistics import QuadraticForm

WIDTHS = (0.05, 0.08, 0.12, 0.17, 0.22)  # of the box side: the molecule's standard deviation


def polarity_score(form: QuadraticForm) -> float:
    """How many standard deviations a blob of density at the centre stands out; negative when dark.

    ``<b, V> / sqrt(<V, K*V>)`` for centred Gaussians V of several widths, the one furthest from 0:
    normally distributed with deviation 1 where images hold noise only. Half its square is the
    log-likelihood that the better polarity gains.
    """
    scores = []
    for width in WIDTHS:
        blob = GaussianMixture(
            torch.zeros(1, 3),
            torch.full((1, 3), width * form.grid.side),
            torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
            torch.ones(1),
        ).to(form.linear.device)
        volume = voxelize(blob, form.grid).double()
        power = float((volume * form.convolve(volume.float())).sum())
        scores.append(float((form.linear * volume).sum()) / math.sqrt(max(power, 1e-30)))
    return max(scores, key=abs)

"""What a summary says of the particles' weights and scales."""

from __future__ import annotations

import torch
from torch import Tensor

from ..reconstruction import Reconstruction
from .measured import Worth
from .parts import Rows

MOST_ODDS, ODDS_WIDTH = 60.0, 4.0  # nats
MOST_SCALE, SCALE_WIDTH = 3.0, 0.1


def worth_summary(result: Reconstruction) -> Worth | None:
    """That of a run; None where the particles were not weighed."""
    worth, examples, particles = result.worth, result.examples, result.particles
    if worth is None:
        return None
    shown = [] if examples is None else examples.index.tolist()
    judged = worth.odds.isfinite()
    return Worth(
        used=worth.used,
        kept=int(worth.kept.sum()),
        shares=list(worth.shares),
        spreads=list(worth.spreads),
        odds=_histogram(worth.odds[judged], -MOST_ODDS, MOST_ODDS, ODDS_WIDTH),
        scales=_histogram(worth.scales[worth.kept], 0.0, MOST_SCALE, SCALE_WIDTH),
        examples=[
            (
                str(particles.names[i]), int(particles.images.row[i]),
                round(float(worth.weights[i]), 4), round(float(worth.scales[i]), 4),
            )
            for i in shown
        ],
    )  # fmt: skip


def _histogram(values: Tensor, low: float, high: float, width: float) -> Rows:
    """Rows of lower end, width and count; the ends hold all that is beyond."""
    n = round((high - low) / width)
    bins = ((values - low) / width).floor().clamp(0, n - 1).long()
    counts = torch.bincount(bins, minlength=n).tolist()
    return [[round(low + i * width, 6), width, count] for i, count in enumerate(counts)]

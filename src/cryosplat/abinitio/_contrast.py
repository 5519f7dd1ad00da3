"""Is protein bright or dark? Seen in the average of all images, without their orientations."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..grid import Grid
from ..statistics import QuadraticForm
from ..validation.polarity import Polarity, polarity_score
from ._assignment import observed
from ._images import SmallImages
from ._orientations import at_random
from ._statistics import statistics_of

BOX, LIMIT = 16, 6.5
IMAGES = 4000  # are enough
DOUBT = 4.0  # standard deviations below which protein is taken to be bright


def contrast_of(
    images: SmallImages, centres: Tensor, given: Literal["bright", "dark"] | None,
    generator: torch.Generator,
) -> Polarity:  # fmt: skip
    """What a round blob says, put into images at random orientations; ``given``: what to use."""
    rows = torch.randperm(len(images), generator=generator)[:IMAGES]
    m = images.columns(LIMIT)
    points = images.points[:m]
    seen = observed(
        images.values[rows, :m], images.precisions[rows, :m], points, centres[rows, None],
        torch.zeros(len(rows), 1, device=images.device),
    )  # fmt: skip
    sums = torch.cat([seen.moved[:, 0], seen.precisions], 1)
    rotations = at_random(len(rows), generator)
    grid = Grid(BOX, images.side / BOX)
    statistics = statistics_of(sums, rotations, points, grid, len(rows))
    score = polarity_score(QuadraticForm(statistics.to("cpu"), BOX))
    preferred = "dark" if score < -DOUBT else "bright"
    return Polarity(given or preferred, preferred, score)

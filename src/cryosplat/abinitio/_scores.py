"""What a map is worth: the likelihood of images that it was not made from."""

from __future__ import annotations

import math

from torch import Tensor

from ._assignment import explained, phases
from ._images import SmallImages
from ._search import CROSS, Template, searched_everywhere
from .values import Score


def score_of(
    images: SmallImages, template: Template, rotations: Tensor, centres: Tensor, step: float,
    profile: Tensor,
) -> tuple[Score, Tensor]:  # fmt: skip
    """The score of a map on ``images`` it was not made from, and their gains (n,).

    ``profile`` (shells,): of the round blob that it has to be better than. The same centres are looked
    at for both.
    """
    found = searched_everywhere(images, template, rotations, centres, step, 1)
    gains = explained(found.evidence).cpu()
    blob = explained(of_blob(images, template, centres, step, profile)).cpu()
    shape = (gains - blob).double()
    n = len(shape)
    score = Score(
        float(gains.double().mean()), float(shape.mean()),
        float(shape.std()) / math.sqrt(n), n,
    )  # fmt: skip
    return score, gains


def of_blob(
    images: SmallImages, template: Template, centres: Tensor, step: float, profile: Tensor
) -> Tensor:
    """The evidence (n,) of each image under a round blob, whose transform is ``profile`` (shells,)."""
    m = images.columns(template.limit)
    expected = profile[images.radii[:m].round().long()]
    shifts = centres[:, None] + step * CROSS.to(images.device)
    moved = images.values[:, None, :m] * phases(shifts, images.points[:m])
    power = images.precisions[:, :m] @ expected.square()
    likelihoods = 2.0 * moved.real @ expected - power[:, None] + template.prior(shifts)
    return likelihoods.logsumexp(1)

"""One round's pass over the images: better poses of each half-set, by its own map alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...alignment import (
    Found,
    Frame,
    Prior,
    ReadyImages,
    Template,
    estimated_prior,
    likeliest,
    refined,
    searched,
    significance,
    spacing,
)
from ...poses import Poses
from ...settings import RefinementSettings
from ._halves import HalfSets, sample
from ._judging import Judgement

SAMPLE = 300  # images of each half-set that show how far a search has to go
FINEST = 3.0  # steps of a first search within its radius
WIDE = 2.5  # standard deviations of the errors that a search goes to
BASIN = 1.0  # steps of the finest grid within which an ascent needs no search
MOST_ANGLE = math.radians(30.0)


@dataclass(frozen=True, slots=True)
class Moved:
    """``poses`` of all particles, what was ``found`` of them, and the errors of the given ones."""

    poses: Poses
    found: Found
    prior: Prior


def first_prior(
    halves: HalfSets, given: Poses, judgement: Judgement, settings: RefinementSettings,
    on_batch: Callable[[int], None],
) -> Prior:  # fmt: skip
    """How far the given poses are off, from a wide search with few images at low resolution."""
    radius, reach = math.radians(settings.angle), settings.shift
    wide = Prior(radius / 2.0, max(reach / 2.0, 1e-3))
    priors = []
    for half in (0, 1):
        template = _coarse(judgement.templates[half], radius)
        rows = sample(halves.members(half), SAMPLE)

        def search(images: ReadyImages, index: Tensor, template: Template = template) -> Found:
            return searched(images, template, radius, wide, reach=reach)

        found, order = _joined(halves, given, rows, search, on_batch)
        priors.append(estimated_prior(found.select(order), given.select(rows)))
    return _mean(priors)


def moved(
    halves: HalfSets,
    poses: Poses,
    given: Poses,
    judgement: Judgement,
    prior: Prior,
    search: bool,
    on_batch: Callable[[int], None],
) -> Moved:
    """Better poses near ``poses``, under a prior about the ``given`` ones; ``search`` on a grid first.

    The frame that the poses share stays that of the given ones, and the halves' frames are brought
    together by six numbers.
    """
    parts, orders = [], []
    for half in (0, 1):
        template = judgement.templates[half]

        def ascend(images: ReadyImages, index: Tensor, template: Template = template) -> Found:
            centre = given.select(index)
            near = refined(images, template, prior, given=centre)
            radius = min(WIDE * prior.angle, MOST_ANGLE)
            between = spacing(template.limit, template.grid.side)
            if not search or radius < BASIN * between:
                return near
            coarse = _coarse(template, radius)
            far = searched(images, coarse, radius, prior, reach=WIDE * prior.shift, given=centre)
            fine = refined(images, template, prior, given=centre, starts=far.poses, held=0)
            return likeliest([near, fine], prior, centre)

        rows = halves.members(half)
        found, order = _joined(halves, poses, rows, ascend, on_batch)
        parts.append(found.select(order))
        orders.append(rows)
    priors = [estimated_prior(p, given.select(r)) for p, r in zip(parts, orders, strict=True)]
    place = torch.cat(orders).argsort()
    found = Found.concatenate(parts).select(place)
    together = [
        judgement.frame.scaled(factor).apply(part.poses)
        for factor, part in zip((-0.5, 0.5), parts, strict=True)
    ]
    new = Poses.concatenate(together).select(place)
    return Moved(Frame.drift(new, given).scaled(-1.0).apply(new), found, _mean(priors))


def columns_of(moved: Moved, judgement: Judgement) -> Tensor:
    """Likelihood of every image, and the `significance` of its pose: (n, 3)."""
    peak, samples = significance(moved.found, moved.prior, judgement.templates[0])
    return torch.stack([moved.found.likelihood, peak, samples], 1)


def _joined(
    halves: HalfSets, poses: Poses, rows: Tensor, work: Callable[[ReadyImages, Tensor], Found],
    on_batch: Callable[[int], None],
) -> tuple[Found, Tensor]:  # fmt: skip
    results, order = halves.over(poses, rows, work, on_batch)
    return Found.concatenate(results), order


def _coarse(template: Template, radius: float) -> Template:
    """The template at a resolution at which a grid within ``radius`` is small."""
    return template.within(spacing(1.0, template.grid.side) * FINEST / radius)


def _mean(priors: list[Prior]) -> Prior:
    angle, shift = (
        (0.5 * sum(getattr(prior, name) ** 2 for prior in priors)) ** 0.5
        for name in ("angle", "shift")
    )
    return Prior(angle, shift)

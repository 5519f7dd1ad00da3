"""One round's pass over the images: better poses of each half-set, by its own map alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ...alignment import (
    Found,
    Frame,
    Prior,
    ReadyImages,
    Template,
    differ,
    estimated_prior,
    likeliest,
    ranked,
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
TRIED = 3  # poses of a search that the finest frequencies choose among
RIVAL = 10.0  # nats at coarse frequencies by which the best of these may be ahead
BASIN = 1.0  # steps of the finest grid within which an ascent needs no search
MOST_ANGLE = math.radians(30.0)


@dataclass(frozen=True, slots=True)
class Moved:
    """``poses`` of all particles, what was ``found`` of them, and the errors of the given ones."""

    poses: Poses
    found: Found
    prior: Prior


@dataclass(frozen=True, slots=True)
class Tries:
    """Where better poses are sought: under a ``prior`` about the poses ``about``.

    ``kind``: "given" estimates its widths from what is found; with "none" it is as wide as poses may
    be off, and does not choose among them. ``search``: on a grid first, and from the poses ``others``.
    """

    about: Poses
    prior: Prior
    kind: Literal["given", "none"]
    search: bool
    others: Sequence[Poses] = ()

    @property
    def radius(self) -> float:
        """Of a search, in radian."""
        return min(WIDE * self.prior.angle, MOST_ANGLE)

    def found(self, images: ReadyImages, index: Tensor, template: Template) -> Found:
        """The likeliest poses of the images ``index``."""
        centre = self.about.select(index)
        results = [refined(images, template, self.prior, given=centre)]
        if self.search and self.radius >= BASIN * spacing(template.limit, template.grid.side):
            coarse, reach = _coarse(template, self.radius), WIDE * self.prior.shift
            far = [searched(images, coarse, self.radius, self.prior, reach=reach, given=centre)]
            for other in self.others:
                place = other.select(index)
                far.append(refined(images, coarse, self.prior, given=place, starts=place))
            places = ranked(far, Prior(), centre)[:TRIED]
            for number, place in enumerate(places):
                new = place.likelihood > places[0].likelihood - RIVAL
                for earlier in places[:number]:
                    new &= differ(place.poses, earlier.poses, coarse)
                for known in results:
                    new &= differ(place.poses, known.poses, template)
                rows = new.nonzero().squeeze(1)
                if not len(rows):
                    continue
                starts = place.poses.select(rows)
                given = centre.select(rows) if self.kind == "given" else starts
                better = refined(
                    images.select(rows), template, self.prior, given=given, starts=starts, held=0
                )
                results.append(results[0].put(rows, better))
        return likeliest(results, self.prior if self.kind == "given" else Prior(), centre)


def widest(settings: RefinementSettings) -> Prior:
    """A prior whose ``WIDE`` deviations are as far as poses may be off."""
    return Prior(math.radians(settings.angle) / WIDE, max(settings.shift / WIDE, 1e-3))


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

        found = halves.each(given, rows, search, on_batch)
        priors.append(_prior_of(found, given, rows, halves))
    return _mean(priors)


def moved(
    halves: HalfSets,
    poses: Poses,
    tries: Tries,
    judgement: Judgement,
    on_batch: Callable[[int], None],
) -> Moved:
    """Better poses, from ``poses`` on.

    The frame that they share stays that of the poses which they are sought about, and the halves'
    frames are brought together by six numbers; but for what a symmetry says of the frame.
    """
    parts, orders = [], []
    for half in (0, 1):
        rows, work = halves.members(half), partial(tries.found, template=judgement.templates[half])
        parts.append(halves.each(poses, rows, work, on_batch))
        orders.append(rows)
    prior, about = tries.prior, tries.about
    if tries.kind == "given":
        both = zip(parts, orders, strict=True)
        prior = _mean([_prior_of(part, about, rows, halves) for part, rows in both])
    place = torch.cat(orders).argsort()
    found = Found.concatenate(parts).select(place)
    symmetry = halves.settings.symmetry
    between = judgement.frame.free(symmetry)
    together = [
        between.scaled(factor).apply(part.poses)
        for factor, part in zip((-0.5, 0.5), parts, strict=True)
    ]
    new = Poses.concatenate(together).select(place)
    drift = Frame.drift(new, about).free(symmetry)
    return Moved(drift.scaled(-1.0).apply(new), found, prior)


def unmoved(
    halves: HalfSets, given: Poses, prior: Prior, judgement: Judgement,
    on_batch: Callable[[int], None],
) -> Moved:  # fmt: skip
    """The ``given`` poses, and what the map of its own half-set says of every image there.

    ``prior``: the errors that they were thought to have, with which the search may go on.
    """
    tries = Tries(given, Prior(0.0, 0.0), "none", search=False)
    there = moved(halves, given, tries, judgement, on_batch)
    return Moved(Poses(given.rotations.double(), given.shifts.double()), there.found, prior)


def columns_of(moved: Moved, judgement: Judgement) -> Tensor:
    """Likelihood of every image, and the `significance` of its pose: (n, 3)."""
    peak, samples = significance(moved.found, moved.prior, judgement.templates[0])
    return torch.stack([moved.found.likelihood, peak, samples], 1)


def _prior_of(found: Found, given: Poses, rows: Tensor, halves: HalfSets) -> Prior:
    """The errors of the ``given`` poses of the particles ``rows``, by those that are no junk."""
    kept = halves.kept(rows).nonzero().squeeze(1)
    return estimated_prior(found.select(kept), given.select(rows[kept]))


def _coarse(template: Template, radius: float) -> Template:
    """The template at a resolution at which a grid within ``radius`` is small."""
    return template.within(spacing(1.0, template.grid.side) * FINEST / radius)


def _mean(priors: list[Prior]) -> Prior:
    angle, shift = (
        (0.5 * sum(getattr(prior, name) ** 2 for prior in priors)) ** 0.5
        for name in ("angle", "shift")
    )
    return Prior(angle, shift)

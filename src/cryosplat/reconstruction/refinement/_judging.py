"""What poses are worth: images of one half-set under the map of the other, and FSC between halves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ...alignment import (
    Found,
    Frame,
    Prior,
    ReadyImages,
    ShellProducts,
    Template,
    evaluated,
    log_evidence,
)
from ...maps.fsc import first_below, fourier_shell_correlation
from ...maps.mask import soft_mask
from ...poses import Poses
from ...statistics import Statistics
from ...validation.baseline import voxel_maps
from ...validation.comparison import cross_fsc
from ._halves import HalfSets, sample

SAMPLE = 1500  # images of each half-set that are held against the other's map
THRESHOLD = 0.143  # half-map FSC up to which images are held against maps
CERTAIN = 5.0  # deviations by which images must know the other half's map at all
ORIENTED = 3.0  # standard errors by which images must prefer their own orientations
FEWEST_SHELLS = 4  # that a structure has


@dataclass(frozen=True, slots=True)
class Judgement:
    """Maps made with some poses, held against images that they have not seen.

    ``templates`` of half-sets 0 and 1, their shells weighted by what they predict of the other's
    images; ``likelihoods`` (m,) of the sampled images of both half-sets under the other's map,
    integrated over their poses' errors (`log_evidence`);
    ``held``: which images were held against which map;
    ``last``: the shell up to which the half-maps agree; ``frame``: from half-set 1 to half-set 0;
    ``score``: deviations by which the images know the other's map; ``cross_fsc`` (n_shells,);
    ``oriented``: what `orientations_tell` says, once it was asked.
    """

    templates: tuple[Template, Template]
    likelihoods: Tensor
    last: int
    frame: Frame
    score: float
    cross_fsc: Tensor
    held: tuple[tuple[Tensor, Template], ...]
    oriented: tuple[float, float] = (1.0, 0.0)

    def corrected(self, differences: Iterable[Tensor]) -> Judgement:
        """With ``differences`` of the likelihoods of each part of the images."""
        return replace(self, likelihoods=self.likelihoods + torch.cat(list(differences)))

    @property
    def has_structure(self) -> bool:
        """Whether there is anything to align images to."""
        gain, error = self.oriented
        return self.last >= FEWEST_SHELLS and self.score > CERTAIN and gain > ORIENTED * error


def judged(
    halves: HalfSets,
    poses: Poses,
    about: Poses,
    prior: Prior,
    sign: float,
    statistics: list[Statistics],
    maps: list[Tensor],
    on_batch: Callable[[int], None],
) -> Judgement:
    """Judge ``poses`` by the ``maps`` (d, d, d) of both half-sets that were made with them.

    ``prior``: what is known of the poses' errors, with its centre at those ``about``; without widths
    the poses count as they are. ``statistics`` and ``maps`` with protein bright, ``sign``: of the
    images.
    """
    grid = halves.grid
    fsc = fourier_shell_correlation(maps[0], maps[1])
    last = _last_above(fsc, THRESHOLD)
    limit = max(last, FEWEST_SHELLS) / grid.side
    templates, products, parts, frames, held = [], [], [], [], []
    for half in (0, 1):
        there = sign * maps[half].to(halves.device)
        bare = Template.of(there, grid, limit)
        rows = sample(halves.members(1 - half), SAMPLE)
        products.append(halves.each(poses, rows, partial(_products, template=bare), on_batch))
        templates.append(Template.of(there, grid, limit, products[-1].gains()))
        found = halves.each(poses, rows, partial(_evaluated, template=templates[-1]), on_batch)
        parts.append(log_evidence(found, about.select(rows), prior))
        frames.append(Frame.between(found))
        held.append((rows, templates[-1]))
    voxels = voxel_maps((statistics[0], statistics[1]))
    cross = cross_fsc(maps, voxels[1:], soft_mask(voxels[0], grid))
    power = sum(float(each.powers.sum()) for each in products)
    score = sum(float(each.products.sum()) for each in products) / max(power, 1e-30) ** 0.5
    return Judgement(
        (templates[0], templates[1]), torch.cat(parts), last,
        frames[0].minus(frames[1]).scaled(0.5), score, cross,
        tuple(held),
    )  # fmt: skip


def gain_of(
    halves: HalfSets, poses: Poses, given: Poses, prior: Prior, judgement: Judgement,
    on_batch: Callable[[int], None],
) -> tuple[float, float]:  # fmt: skip
    """By how much ``poses``, known up to a ``prior`` about the ``given`` ones, make images of one
    half-set likelier under the map of the other than the given ones do, and its standard error."""
    gains = []
    for rows, template in judgement.held:
        rows = rows[halves.kept(rows)]
        work = partial(_evaluated, template=template)
        new, old = (halves.each(p, rows, work, on_batch) for p in (poses, given))
        gains.append(log_evidence(new, given.select(rows), prior) - old.likelihood)
    return mean_of(torch.cat(gains))


def orientations_tell(
    halves: HalfSets, poses: Poses, judgement: Judgement, generator: torch.Generator,
    on_batch: Callable[[int], None],
) -> tuple[float, float]:  # fmt: skip
    """By how much images of one half-set are likelier under the map of the other in their own
    orientations than in those of other images, dealt at random, and its standard error.

    Poses of other images make a map too, a round one; images know it, and better once they are centred
    on it. Only that an image prefers its own orientation shows that the orientations are its own.
    """
    gains = []
    for rows, template in judgement.held:
        rotations = poses.rotations.clone()
        rotations[rows] = rotations[rows[torch.randperm(len(rows), generator=generator)]]
        work = partial(_evaluated, template=template)
        pair = poses, Poses(rotations, poses.shifts)
        own, other = (halves.each(p, rows, work, on_batch) for p in pair)
        gains.append(own.likelihood - other.likelihood)
    return mean_of(torch.cat(gains))


def mean_of(values: Tensor) -> tuple[float, float]:
    """The mean and its standard error; no gain of fewer than 2."""
    if len(values) < 2:
        return 0.0, 0.0
    return float(values.mean()), float(values.std()) / len(values) ** 0.5


def _products(images: ReadyImages, index: Tensor, template: Template) -> ShellProducts:
    return ShellProducts.of(images, template)


def _evaluated(images: ReadyImages, index: Tensor, template: Template) -> Found:
    return evaluated(images, template)


def _last_above(fsc: Tensor, threshold: float) -> int:
    """The last shell before a curve falls below a threshold."""
    return min(first_below(fsc, threshold) - 1, len(fsc) - 2)

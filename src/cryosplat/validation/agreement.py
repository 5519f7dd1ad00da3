"""Do single particles agree with the map of the half-set that they do not belong to?

Per particle, with x its projection of the other half's map under its CTF and y its image, both
weighted by the noise: ``t = <y, x> / |x|`` is normal with deviation 1, around 0 for an image of
noise, and around ``|x|`` where pose, CTF and map are right: ``gain = t / |x|`` is then near 1. A CTF of
the wrong sign gives -1, a wrong pose something between. The same is measured with the sample's
rotations dealt out anew: what an unaligned particle would show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..arrays import members
from ..batch import Batch
from ..formation import VolumeProjector
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import Optics, seen_rotations, weigh
from ..poses import Poses

SAMPLE = 600
"""Particles looked at."""
AGAINST = -3.0
"""A particle with t below this contradicts the map: one in 700 by chance."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a sample of particles agrees with the map of the other half-set.

    ``scores`` t (n,), ``strengths`` |x| (n,), ``dealt`` t with the rotations dealt out anew (n,);
    float64.
    """

    scores: Tensor
    strengths: Tensor
    dealt: Tensor

    @property
    def n(self) -> int:
        """Particles in the sample."""
        return len(self.scores)

    @property
    def gain(self) -> float:
        """Least-squares factor between projections and images; 1 where all is right."""
        return float((self.scores * self.strengths).sum() / self._power)

    @property
    def gain_deviation(self) -> float:
        """Standard deviation of `gain` in noise."""
        return float(self._power) ** -0.5

    @property
    def dealt_gain(self) -> float:
        """The same with rotations dealt out anew."""
        return float((self.dealt * self.strengths).sum() / self._power)

    @property
    def strength(self) -> float:
        """Median |x|: how many standard deviations a single particle can stand out."""
        return float(self.strengths.median())

    @property
    def against(self) -> float:
        """Share of particles that contradict the map beyond chance."""
        return float((self.scores < AGAINST).double().mean())

    @property
    def reversal(self) -> float:
        """Standard deviations by which particles that contradict the map do so in their own rotation
        more than in another's; negative where they do less.

        Of matter in no order one rotation is as good as the other: in those that contradict the map in
        either, the difference of the two t has a mean of 0.
        """
        contradict = torch.minimum(self.scores, self.dealt) < AGAINST
        difference = (self.dealt - self.scores)[contradict]
        return float(difference.sum() / difference.square().sum().sqrt().clamp_min(1e-30))

    @property
    def _power(self) -> Tensor:
        return self.strengths.square().sum().clamp_min(1e-30)


def particle_agreement(
    batches: Iterable[Batch],
    half_sets: Tensor,
    halves: tuple[Tensor, Tensor],
    grid: Grid,
    noise: NoiseModel,
    generator: torch.Generator,
) -> Agreement:
    """The agreement of the particles in ``batches`` with ``halves``, maps (d, d, d) of half 1 and 2.

    ``half_sets`` (n,) in {1, 2} by the particles' position ``batch.index``. The maps' sign must be
    that of the images.
    """
    projectors = [VolumeProjector(half, grid) for half in halves]
    parts = []
    for batch in batches:
        images = weighed(batch, noise)
        order = torch.randperm(len(batch), generator=generator)
        dealt = Poses(batch.poses.rotations[order], batch.poses.shifts)
        for half, mine in members(half_sets[batch.index]):
            for _, rows in members(batch.optics.group[mine]):
                chosen = mine[rows]
                own = batch.select(chosen)
                scores = [
                    products(projectors[2 - half], poses, own.optics, images[chosen])
                    for poses in (own.poses, dealt.select(chosen))
                ]
                parts.append(_scores(*scores))
    empty = torch.zeros(0, dtype=torch.float64)
    columns = [torch.cat(column) for column in zip(*parts, strict=True)] or [empty] * 3
    return Agreement(*columns)


def _scores(own: tuple[Tensor, Tensor], dealt: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """t, |x| and t with dealt rotations, from ``<y, x>`` and ``|x|^2`` of each."""
    scores = [product / power.clamp_min(1e-30).sqrt() for product, power in (own, dealt)]
    return scores[0], own[1].sqrt(), scores[1]


def weighed(batch: Batch, noise: NoiseModel) -> Tensor:
    """`optics.weigh` of a batch's images, summed over Friedel pairs, (n, d, d // 2 + 1, 3).

    Without the mean of the images, which normalisation has changed.
    """
    box = batch.box_size
    transforms = fourier.transform(noise.normalised(batch), 2)
    precision = noise.precision(box)
    radii = torch.full((len(batch),), 0.5 * box)
    values = weigh(transforms, batch.poses.shifts, batch.optics, precision, radii).values
    values *= fourier.friedel_counts(box)[:, None].float()
    values[:, 0, 0] = 0.0
    return values


def products(
    projector: VolumeProjector, poses: Poses, optics: Optics, values: Tensor
) -> tuple[Tensor, Tensor]:
    """``<y, x>`` and ``|x|^2`` of images y, `weighed`, and their predictions x; (n,) float64 each.

    All of one optics group.
    """
    (group,) = optics.present()[0]
    slices = projector.slices(seen_rotations(poses, optics), group.pixel_size, values.shape[1])
    x = torch.view_as_real(slices)
    product = (values[..., :2] * x).sum((1, 2, 3), dtype=torch.float64)
    power = (values[..., 2] * x.square().sum(-1)).sum((1, 2), dtype=torch.float64)
    return product, power

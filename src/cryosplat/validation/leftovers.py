"""What single images show beside the projection of the other half-set's map: defocus and neighbours.

With x the projection under the image's CTF and y the image, both divided by the deviation of the
noise, ``y - x`` is noise, whose power is the same everywhere in the image and which no derivative of x
resembles.

- **Defocus.** With x' the derivative of x by defocus, ``d = <y - x, x'>`` has mean 0 and variance
  ``|x'|^2`` for the right defocus, and grows by ``error |x'|^2`` with its error: the score of a
  likelihood and its information. ``sum(d^2 - |x'|^2) / sum |x'|^4`` is the variance of the errors.
- **Neighbours.** Other particles near the edge of the box make the power of ``y - x`` at low
  frequencies larger outside the particle's disc than inside it. What a map does not explain of its own
  particle makes it larger inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import fourier
from ..arrays import members
from ..batch import Batch
from ..formation import VolumeProjector
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import form, recorded, seen_rotations

STEP = 50.0
"""Defocus step of the derivative, in Angstrom."""
COARSE = 20.0
"""Finest detail, in Angstrom, in which neighbours are looked for; or a third of the shells."""
FIRST = 2
"""Shell from which they are: the background's plane is taken from the others."""
LEAST_OUTSIDE = 0.1
"""Share of the image that must lie outside the particle's disc."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Of n images: ``scores`` d and ``information`` |x'|^2 (n,) of the defocus, per Angstrom;
    ``inside`` and ``outside`` (n,): mean power per pixel of what is left at low frequencies."""

    scores: Tensor
    information: Tensor
    inside: Tensor
    outside: Tensor

    @property
    def defocus_variance(self) -> tuple[float, float]:
        """Variance of the errors of defocus in square Angstrom, and its standard error."""
        excess, weight = self.scores.square() - self.information, self.information.square().sum()
        if not float(weight) > 0.0:
            return 0.0, math.inf
        return float(excess.sum() / weight), float(excess.square().sum().sqrt() / weight)

    @property
    def surplus(self) -> tuple[float, float]:
        """By which share the power outside exceeds that inside, and its standard error."""
        if not len(self.inside) or not bool(self.inside.sum() > 0.0):
            return 0.0, math.inf
        ratio = float(self.outside.sum() / self.inside.sum())
        spread = (self.outside - ratio * self.inside).square().sum().sqrt() / self.inside.sum()
        return ratio - 1.0, float(spread)


def left_over(
    batches: Iterable[Batch],
    half_sets: Tensor,
    halves: Sequence[Tensor],
    mask: Tensor,
    grid: Grid,
    noise: NoiseModel,
) -> Leftovers:
    """What images in ``batches`` leave over of ``halves``, maps (d, d, d) of half 1 and 2.

    Each image meets the map of the half-set that it is not in; the maps' sign is the images'.
    ``mask`` (d, d, d) holds the molecule.
    """
    projectors = [VolumeProjector(half, grid) for half in halves]
    inside = fourier.distances((grid.box_size,) * 3)[mask > 0.5]
    radius = float(inside.max()) * grid.pixel_size if len(inside) else 0.0
    parts = []
    for batch in batches:
        for half, mine in members(half_sets[batch.index]):
            for _, rows in members(batch.optics.group[mine]):
                parts.append(_of(batch.select(mine[rows]), projectors[2 - half], radius, noise))
    empty = torch.zeros(0, dtype=torch.float64)
    return Leftovers(*([torch.cat(c) for c in zip(*parts, strict=True)] or [empty] * 4))


def _of(
    batch: Batch, projector: VolumeProjector, radius: float, noise: NoiseModel
) -> tuple[Tensor, ...]:
    """Images of one optics group beside one map: the columns of `Leftovers`."""
    box, optics = batch.box_size, batch.optics
    (group,) = optics.present()[0]
    slices = projector.slices(seen_rotations(batch.poses, optics), group.pixel_size, box)

    def seen(step: float) -> Tensor:
        moved = replace(
            optics, defocus_u=optics.defocus_u + step, defocus_v=optics.defocus_v + step
        )
        return form(slices, batch.poses.shifts, moved, box // 2)

    precision = noise.precision(box)[optics.group[0]]
    shells = fourier.shells((box, box)).clamp_max(len(precision) - 1)
    weights = precision[shells] * (shells > 0)
    images = recorded(fourier.transform(noise.normalised(batch), 2), optics)
    left = images - seen(0.0)
    slope = (seen(STEP) - seen(-STEP)) / (2.0 * STEP)
    counted = (fourier.friedel_counts(box) * weights).double()
    scores = (counted * (left * slope.conj()).real).sum((1, 2))
    information = (counted * slope.abs().square()).sum((1, 2))
    return scores, information, *_powers(left * weights.sqrt(), batch, group.pixel_size, radius)


def _powers(
    whitened: Tensor, batch: Batch, pixel_size: float, radius: float
) -> tuple[Tensor, Tensor]:
    """Mean power inside the disc of ``radius`` (Angstrom) around each particle, and outside; 0 and 0
    where a tenth of the box or less is outside."""
    box = batch.box_size
    shells = fourier.shells((box, box))
    last = box * pixel_size / max(COARSE, 6.0 * pixel_size)
    coarse = whitened * ((shells >= FIRST) & (shells <= max(last, FIRST)))
    power = fourier.inverse(coarse, box, 2).double().square() * box**2
    axis = (torch.arange(box).double() - box // 2) * pixel_size
    x, y = (axis + batch.poses.shifts[:, i, None].double() for i in (0, 1))
    beyond = (y[:, :, None].square() + x[:, None, :].square() > radius**2).double()
    share = beyond.mean((1, 2))
    outside = (power * beyond).mean((1, 2)) / share.clamp_min(1e-30)
    inside = (power * (1.0 - beyond)).mean((1, 2)) / (1.0 - share).clamp_min(1e-30)
    known = (share > LEAST_OUTSIDE) & (share < 1.0)
    return torch.where(known, inside, 0.0), torch.where(known, outside, 0.0)

"""The best, some and the worst images beside their projections: what weights look like."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..formation import VolumeProjector, form_images
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import processed
from ..particles import Particles
from ._worth import Worth

EACH = 4  # of the best, of those at random, and of the worst
LOW_PASS = 20.0  # Angstrom, or
LEAST_PIXELS = 5.0  # pixels where those are more: noise hides the rest


@dataclass(frozen=True, slots=True)
class Examples:
    """Particles at ``index`` (m,): a third the best, a third at random, a third the worst.

    ``pictures`` (m, 3, d, d): image, projection of its own half-set's map, and what remains, low-passed
    and with protein bright.
    """

    index: Tensor
    pictures: Tensor


def examples_of(
    particles: Particles,
    worth: Worth,
    halves: tuple[Tensor, Tensor],
    sign: float,
    grid: Grid,
    noise: NoiseModel,
) -> Examples:
    """Particles of the highest odds, at random and of the lowest odds, in the most usual box.

    ``halves``: maps with protein bright; ``sign`` makes them the images'.
    """
    boxes = torch.from_numpy(particles.images.box_sizes)
    usable = (worth.odds.isfinite() & (boxes == particles.box_size)).nonzero().squeeze(1)
    order = usable[worth.odds[usable].argsort(descending=True)]
    each = min(EACH, len(order) // 3)
    between = order[each : len(order) - each]
    some = between[torch.randperm(len(between), generator=torch.Generator().manual_seed(0))[:each]]
    chosen = torch.cat([order[:each], some, order[len(order) - each :]])
    projectors = [VolumeProjector(sign * half, grid) for half in halves]
    pictures = {}
    for batch in particles.batches(chosen):
        images = noise.normalised(batch)
        for i, position in enumerate(batch.index.tolist()):
            one = batch.select(torch.tensor([i]))
            projector = projectors[int(particles.half_sets[position]) - 1]
            formed = form_images(projector, one.poses, one.optics, one.box_size)
            stored = processed(fourier.transform(formed, 2), one.optics)
            projection = fourier.inverse(stored, one.box_size, 2)[0]
            both = torch.stack([images[i], projection, images[i] - projection])
            size = one.optics.groups[int(one.optics.group[0])].pixel_size
            pictures[position] = sign * _low_passed(both, size)
    found = [pictures[position] for position in chosen.tolist()]
    empty = torch.zeros(0, 3, particles.box_size, particles.box_size)
    return Examples(chosen, torch.stack(found) if found else empty)


def _low_passed(images: Tensor, pixel_size: float) -> Tensor:
    box = images.shape[-1]
    limit = box * pixel_size / max(LOW_PASS, LEAST_PIXELS * pixel_size)
    radius = fourier.squared_radii((box, box)).sqrt()
    return fourier.filter(images, fourier.raised_cosine(radius - limit, 0.3 * limit).float(), 2)

"""What images and projections say of each other, in bands of frequency: all that weights need.

With y an image, x its projection of a map under its CTF, both divided by the deviation of the noise,
each band holds ``|y|^2``, ``<y, x>``, ``|x|^2`` and the power that its CTF passes. Everything that
comes later is arithmetic on these, without images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..arrays import Columns, members
from ..batch import Batch
from ..formation import VolumeProjector
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import recorded, seen_rotations, weigh

MOST_BANDS = 32


@dataclass(frozen=True, slots=True)
class Evidence(Columns):
    """n images beside the projections of a map, in b bands; (n, b) float32 but for ``index`` (n,).

    ``images``: ``|y|^2``; ``products``: ``<y, x>``; ``projections``: ``|x|^2``; ``passed``: sum of
    ``|H|^2 / s^2``; ``counts``: coefficients summed over, both of a Friedel pair counted.
    """

    index: Tensor
    images: Tensor
    products: Tensor
    projections: Tensor
    passed: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.index)


def gather(
    batches: Iterable[Batch],
    sides: Tensor,
    maps: Sequence[Tensor],
    grid: Grid,
    noise: NoiseModel,
    on_images: Callable[[int], None] = lambda n: None,
) -> Evidence:
    """The evidence of all images in ``batches``, each beside one of ``maps`` (d, d, d).

    ``sides`` (n,): which map, by the particles' position ``batch.index``; images of other numbers are
    passed over. The maps' sign is that of the images.
    """
    projectors = [VolumeProjector(volume, grid) for volume in maps]
    parts = []
    for batch in batches:
        of = sides[batch.index]
        for number, projector in enumerate(projectors):
            mine = (of == number).nonzero().squeeze(1)
            for _, rows in members(batch.optics.group[mine]):
                parts.append(_of(batch.select(mine[rows]), projector, grid, noise))
        on_images(len(batch))
    found = Evidence.concatenate(parts)
    return found.select(found.index.argsort())


def _of(batch: Batch, projector: VolumeProjector, grid: Grid, noise: NoiseModel) -> Evidence:
    """Images of one optics group beside one map."""
    box, n = batch.box_size, len(batch)
    (group,) = batch.optics.present()[0]
    transforms = fourier.transform(noise.normalised(batch), 2)
    precision = noise.precision(box)
    radius = min(0.5 * box, 0.5 * grid.box_size * group.pixel_size * box / grid.side)
    radii = torch.full((n,), radius)
    ready = weigh(transforms, batch.poses.shifts, batch.optics, precision, radii).values
    slices = projector.slices(seen_rotations(batch.poses, batch.optics), group.pixel_size, box)
    x = torch.view_as_real(slices)
    shells = fourier.shells((box, box))
    own = precision[batch.optics.group[0]]
    inverse = own[shells.clamp_max(len(own) - 1)]
    power = recorded(transforms, batch.optics).abs().square() * inverse
    columns = power, (ready[..., :2] * x).sum(-1), ready[..., 2] * x.square().sum(-1), ready[..., 2]
    sums = _bands(box, group.pixel_size, radius, grid)
    images, products, projections, passed = (column.reshape(n, -1) @ sums for column in columns)
    counts = sums.sum(0).expand(n, -1)
    return Evidence(batch.index, images, products, projections, passed, counts)


def _bands(box: int, pixel_size: float, radius: float, grid: Grid) -> Tensor:
    """What sums the half transform of an image over the map's bands, (d (d // 2 + 1), b) float32.

    The mean of an image is in none: normalisation has changed it.
    """
    length = fourier.squared_radii((box, box)).sqrt()
    width = -(-(grid.n_shells - 1) // MOST_BANDS)
    shell = (length * grid.side / (box * pixel_size)).round().long()
    band = (shell - 1).div(width, rounding_mode="floor")
    n_bands = -(-(grid.n_shells - 1) // width)
    counts = fourier.friedel_counts(box) * (length < radius) * (shell > 0) * (band < n_bands)
    sums = torch.zeros(length.numel(), n_bands)
    flat = band.flatten().clamp(0, n_bands - 1)
    sums[torch.arange(length.numel()), flat] = counts.flatten().float()
    return sums

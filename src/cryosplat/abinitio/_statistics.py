"""From sums of images at orientations to the statistics of a map."""

from __future__ import annotations

import torch
from torch import Tensor

from ..grid import Grid
from ..noise import NoiseModel
from ..statistics import Accumulator, Statistics, WeightedImages

WHITE = NoiseModel((), False)
"""The images are divided by their noise already."""


def statistics_of(
    sums: Tensor, rotations: Tensor, points: Tensor, grid: Grid, n_images: int
) -> Statistics:
    """The statistics on ``grid`` of ``sums`` (o, 3 m) at ``rotations`` (o, 3, 3).

    ``sums``: of each orientation real and imaginary parts of values, and precisions, at the
    frequencies ``points`` (m, 2) of one half plane.
    """
    m, d = len(points), grid.box_size
    planes = sums.new_zeros(len(sums), d * (d // 2 + 1), 3)
    kx, ky = points[:, 0], points[:, 1]
    columns = sums.reshape(-1, 3, m).transpose(1, 2)
    planes[:, (ky % d) * (d // 2 + 1) + kx] = columns
    mates = kx == 0  # of which the half plane of a transform holds both members of a pair
    conjugate = columns[:, mates] * torch.tensor([1.0, -1.0, 1.0], device=sums.device)
    planes[:, (-ky[mates] % d) * (d // 2 + 1)] = conjugate
    planes = planes.reshape(-1, d, d // 2 + 1, 3)
    limit = float(points[-1].double().square().sum().sqrt()) + 1e-3
    images = WeightedImages(
        torch.view_as_complex(planes[..., :2].contiguous()), planes[..., 2].contiguous(),
        grid.pixel_size, limit, n_images=n_images,
    )  # fmt: skip
    accumulator = Accumulator(grid, WHITE, device=sums.device, identified=False)
    accumulator.add_sums(images, rotations)
    return accumulator.result()

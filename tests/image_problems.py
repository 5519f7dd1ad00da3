"""Small sets of images for the image-space solver, as its own tests need them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from problems import blobs, simulated_batch, white
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.fitting import ImageData
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel
from cryosplat.splatting import voxelize

GRID = Grid(32, 2.0)
NOISE = 3.0


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def truth() -> Tensor:
    """The map that the images show."""
    volume = voxelize(blobs(25, 16.0, seeded(6), width=2.5), GRID)
    return (volume * 40.0 / float(volume.sum(0).max())).float()


def some_blobs(k: int, seed: int) -> GaussianMixture:
    """A mixture to start from, float32, in about the images' grey scale."""
    mixture = blobs(k, 16.0, seeded(seed), width=3.0)
    return GaussianMixture(
        mixture.means.float(), mixture.scales.float(), mixture.quaternions.float(),
        mixture.amplitudes.float() * 20.0,
    )  # fmt: skip


def reading(batch: Batch, size: int = 7) -> ImageData:
    """The images of a batch, read ``size`` at a time; half-sets alternate."""

    def read(index: Tensor) -> Iterator[Batch]:
        for part in index.split(size):
            yield batch.select(part)

    half_sets = 1 + torch.arange(len(batch)) % 2
    kinds = batch.optics.of_group("pixel_size").unique(return_inverse=True)[1]
    noise = NoiseModel(white(GRID, NOISE).variance * len(batch.optics.groups), normalise=False)
    return ImageData(read, half_sets, GRID, noise, kinds=kinds)


def images(n: int, seed: int = 7) -> Batch:
    """n noisy images of the truth."""
    return simulated_batch(truth(), GRID, n, NOISE, seeded(seed))

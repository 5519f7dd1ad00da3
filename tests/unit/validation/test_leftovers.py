"""Errors of defocus and neighbours, found in what single images leave over."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import blobs, simulated_batch, white
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.maps.mask import spherical_mask
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import voxelize
from cryosplat.validation.leftovers import Leftovers, left_over

GRID = Grid(32, 2.5)
MAP = voxelize(blobs(60, 12.0, torch.Generator().manual_seed(1), width=1.5), GRID).float()
MASK = spherical_mask(GRID, 20.0, 5.0)
NOISE = 0.2


def _batch(n: int = 300) -> Batch:
    return simulated_batch(MAP, GRID, n, NOISE, torch.Generator().manual_seed(2))


def _left(batch: Batch) -> Leftovers:
    halves = 1 + torch.arange(len(batch)) % 2
    return left_over([batch], halves, (MAP, MAP), MASK, GRID, white(GRID, NOISE))


def test_true_particles_leave_noise() -> None:
    found = _left(_batch())
    variance, error = found.defocus_variance
    surplus, spread = found.surplus
    assert abs(variance) < 3.0 * error and abs(surplus) < 3.0 * spread and spread < 0.05
    z = found.scores / found.information.sqrt()
    assert float(z.std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("deviation", [100.0, 300.0])
def test_the_error_of_the_defocus_is_measured(deviation: float) -> None:
    batch = _batch()
    errors = deviation * torch.randn(len(batch), generator=torch.Generator().manual_seed(3))
    optics = batch.optics
    recorded = replace(
        optics, defocus_u=optics.defocus_u + errors.double(),
        defocus_v=optics.defocus_v + errors.double(),
    )  # fmt: skip
    variance, error = _left(replace(batch, optics=recorded)).defocus_variance
    assert variance > 4.0 * error
    assert variance**0.5 == pytest.approx(float(errors.std()), rel=0.25)


def _beside(batch: Batch) -> Tensor:
    """The same molecule, 36 Angstrom to the right of every second particle."""
    generator = torch.Generator().manual_seed(4)
    turned = random_poses(len(batch), generator, 0.0).rotations
    places = batch.poses.shifts - torch.tensor([36.0, 0.0])
    poses = Poses(turned, places)
    images = form_images(VolumeProjector(MAP, GRID), poses, batch.optics, GRID.box_size)
    return images * (torch.arange(len(batch)) % 2)[:, None, None]


def test_neighbours_are_found_outside_and_an_unexplained_particle_is_not() -> None:
    batch = _batch()
    surplus, error = _left(replace(batch, images=batch.images + _beside(batch))).surplus
    assert surplus > 0.1 and surplus > 4.0 * error
    surplus, error = _left(replace(batch, images=1.5 * batch.images)).surplus
    assert surplus < 2.0 * error


def test_nothing_is_said_where_nothing_is_outside() -> None:
    halves = 1 + torch.arange(20) % 2
    wide = torch.ones_like(MASK)
    found = left_over([_batch(20)], halves, (MAP, MAP), wide, GRID, white(GRID, NOISE))
    assert found.surplus == (0.0, float("inf"))

"""Single particles against a map: the laws of their score, and its blind spots."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import blobs, simulated_batch, white

from cryosplat.batch import Batch
from cryosplat.grid import Grid
from cryosplat.splatting import voxelize
from cryosplat.validation.agreement import Agreement, particle_agreement

GRID = Grid(32, 2.0)
MAP = voxelize(blobs(60, 16.0, torch.Generator().manual_seed(1)), GRID).float()
NOISE = 0.6


def _batch(n: int = 200, noise: float = NOISE) -> Batch:
    return simulated_batch(MAP, GRID, n, noise, torch.Generator().manual_seed(2))


def _agreement(batch: Batch) -> Agreement:
    halves = 1 + torch.arange(len(batch)) % 2
    generator = torch.Generator().manual_seed(3)
    return particle_agreement([batch], halves, (MAP, MAP), GRID, white(GRID, NOISE), generator)


def test_true_particles_have_gain_one_and_scores_of_deviation_one() -> None:
    found = _agreement(_batch())
    assert found.gain == pytest.approx(1.0, abs=5 * found.gain_deviation)
    assert float((found.scores - found.strengths).std()) == pytest.approx(1.0, abs=0.15)
    assert found.dealt_gain < found.gain - 0.05 and found.against == 0.0


def test_noise_scores_around_zero() -> None:
    batch = _batch()
    noise = NOISE * torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(4))
    found = _agreement(replace(batch, images=noise))
    assert float(found.scores.mean()) == pytest.approx(0.0, abs=0.3)
    assert float(found.scores.std()) == pytest.approx(1.0, abs=0.15)


def test_reversed_particles_are_counted() -> None:
    batch = _batch()
    images = batch.images.clone()
    images[::5] *= -1.0
    assert _agreement(replace(batch, images=images)).against == pytest.approx(0.19, abs=0.02)


def test_each_particle_meets_the_other_half_s_map() -> None:
    batch = _batch()
    generator = torch.Generator().manual_seed(3)
    halves = torch.ones(len(batch), dtype=torch.int8)
    found = particle_agreement([batch], halves, (-MAP, MAP), GRID, white(GRID, NOISE), generator)
    assert found.gain > 0.9


def test_other_matter_is_not_taken_for_the_particle_in_reverse() -> None:
    """Two fifths hold the molecule from elsewhere, its sign and its strength by chance."""
    batch, generator = _batch(400), torch.Generator().manual_seed(6)
    order, signs = torch.randperm(400, generator=generator), torch.rand(400, generator=generator)
    images = batch.images.clone()
    junk = torch.arange(400) % 5 < 2
    images[junk] = (torch.cos(torch.pi * signs)[:, None, None] * batch.images[order])[junk]
    found = _agreement(replace(batch, images=images))
    assert found.against > 0.02 and abs(found.reversal) < 2.5
    images = batch.images.clone()
    images[::10] *= -1.0
    found = _agreement(replace(batch, images=images))
    assert found.against > 0.05 and found.reversal > 3.5

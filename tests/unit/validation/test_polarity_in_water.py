"""Bright or dark: water and a hole in the middle deceive a blob, but not a fit."""

from __future__ import annotations

import pytest
import torch
from problems import simulated_batch, statistics_of, white

from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.solvent import VACUUM, Solvent
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics
from cryosplat.validation.polarity import fitted_polarity, polarity_score

GRID = Grid(24, 5.0)


def hollow(solvent: Solvent, generator: torch.Generator) -> Statistics:
    """150 images of a ring of 35 Angstrom radius, 40 high, in a solvent."""
    angle = 2.0 * torch.pi * torch.rand(400, generator=generator)
    height = 40.0 * (torch.rand(400, generator=generator) - 0.5)
    radius = 32.0 + 6.0 * torch.rand(400, generator=generator)
    means = torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(400, 4)
    ring = GaussianMixture(means, torch.full((400, 3), 2.5), turns, torch.ones(400))
    volume = solvent.shown(voxelize(ring, GRID).float(), GRID)
    volume = volume * 12.0 / float(volume.sum(0).max())
    return statistics_of([simulated_batch(volume, GRID, 150, 1.0, generator)], GRID, white(GRID))


@pytest.mark.parametrize("solvent", [VACUUM, Solvent(0.95, 2000.0)], ids=["vacuum", "water"])
def test_a_hollow_molecule_is_bright(solvent: Solvent) -> None:
    generator = torch.Generator().manual_seed(2)
    own, unseen = hollow(solvent, generator), hollow(solvent, generator)
    score = fitted_polarity(own, unseen)
    assert score > 20.0
    assert fitted_polarity(own.inverted(), unseen.inverted()) == pytest.approx(-score, rel=1e-3)
    whole = own + unseen
    blob = polarity_score(QuadraticForm(whole, GRID.box_size))
    assert max(blob, score, key=abs) > 0.0
    assert solvent or blob > 0.0  # in water it need not be


def test_noise_has_no_polarity() -> None:
    generator = torch.Generator().manual_seed(4)
    nothing = torch.zeros(24, 24, 24)
    own, unseen = (
        statistics_of([simulated_batch(nothing, GRID, 100, 1.0, generator)], GRID, white(GRID))
        for _ in range(2)
    )
    assert abs(fitted_polarity(own, unseen)) < 4.0

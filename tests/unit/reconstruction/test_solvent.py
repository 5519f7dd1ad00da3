"""Is there solvent? Decided by unseen particles, in water and in vacuum."""

from __future__ import annotations

import math

import pytest
import torch
from noting import only
from problems import simulated_batch, statistics_of, white

from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction import FoundSolvent
from cryosplat.reconstruction._solvent import found_solvent
from cryosplat.solvent import VACUUM, Solvent
from cryosplat.splatting import voxelize
from cryosplat.statistics import Statistics

GRID = Grid(24, 5.0)
WATER = Solvent(0.93, 3000.0)


def molecule() -> GaussianMixture:
    """A lump of about 60 by 40 by 30 Angstrom, of 300 atoms' groups."""
    generator = torch.Generator().manual_seed(5)
    inside = torch.randn(300, 3, generator=generator).clamp(-1.6, 1.6)
    means = inside * torch.tensor([18.0, 12.0, 9.0])
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(300, 4)
    return GaussianMixture(means, torch.full((300, 3), 2.5), turns, torch.ones(300))


def halves(solvent: Solvent, noise: float = 1.0) -> tuple[Statistics, Statistics]:
    """120 images of each half-set, of the molecule in a solvent."""
    volume = solvent.shown(voxelize(molecule(), GRID).float(), GRID)
    volume = volume * 12.0 / float(volume.sum(0).max())
    generator = torch.Generator().manual_seed(9)

    def half() -> Statistics:
        batch = simulated_batch(volume, GRID, 120, noise, generator)
        return statistics_of([batch], GRID, white(GRID))

    return half(), half()


def test_water_is_found_with_its_error() -> None:
    found = found_solvent(halves(WATER), "C1", 0, SilentProgress())
    frequencies = torch.linspace(0.0, 0.1, 20)
    difference = (found.solvent(frequencies) - WATER(frequencies)).abs()
    assert found.solvent
    assert float(difference.max()) < 0.16  # vacuum is off by 0.93
    assert found.gain > 0.01
    assert 0.0 < found.b_factor_error < 0.2 * found.solvent.b_factor
    assert only(found.notes(), "solvent-modelled").severity == "note"
    seen = found.seen(halves(WATER))
    assert seen[0].n_images == 120


@pytest.mark.parametrize("noise", [1.0, 30.0])
def test_in_vacuum_and_in_noise_there_is_none(noise: float) -> None:
    given = halves(VACUUM, noise)
    found = found_solvent(given, "C1", 0, SilentProgress())
    assert not found.solvent
    assert found.seen(given) is given
    assert found.notes() == []


def test_nothing_is_known_where_nothing_was_looked_for() -> None:
    assert not FoundSolvent().solvent
    assert math.isnan(FoundSolvent().gain)

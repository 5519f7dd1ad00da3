"""Gaussians begin wider where particles show no detail, and only if they arrive at more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import simulated_batch, statistics_of, white

from cryosplat.grid import Grid
from cryosplat.maps.mask import spherical_mask
from cryosplat.mixture import GaussianMixture
from cryosplat.reconstruction._clock import Clock
from cryosplat.reconstruction._plan import Parts, Plan, plans_for
from cryosplat.reconstruction._prior import Prior
from cryosplat.reconstruction._width import COARSE, with_first_widths
from cryosplat.settings import ReconstructionSettings
from cryosplat.splatting import voxelize

GRID = Grid(48, 1.0)


def _parts(width: float, resolved: int, noise: float) -> Parts:
    """Twelve images of three Gaussians of ``width`` Angstrom; half-maps that agree to a shell."""
    means = torch.tensor([[0.0, 0.0, 6.0], [4.0, 0.0, -6.0], [-5.0, 3.0, 0.0]])
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(3, 4).clone()
    source = GaussianMixture(means, torch.full((3, 3), width), turns, torch.ones(3))
    batch = simulated_batch(
        voxelize(source, GRID), GRID, 12, noise, torch.Generator().manual_seed(1)
    )
    own = [batch.select(torch.arange(first, 12, 2)) for first in (0, 1)]
    halves = [statistics_of([one], GRID, white(GRID, noise)) for one in own]
    fsc = torch.where(torch.arange(GRID.n_shells) <= resolved, 0.9, 0.02).double()
    prior = Prior(GRID, fsc, float(spherical_mask(GRID, 20.0, 6.0).sum()))
    return Parts((halves[0] + halves[1], halves[0], halves[1]), GRID.box_size, prior, None, Clock())


def _widened(parts: Parts) -> tuple[tuple[Plan, ...], tuple[Plan, ...]]:
    plans = plans_for(parts, ReconstructionSettings())
    return plans, with_first_widths(parts, plans, parts.penalty(), "C1", 0)


def test_a_coarse_map_of_few_particles_begins_with_wider_gaussians() -> None:
    parts = _parts(width=7.0, resolved=2, noise=1e-5)
    assert parts.prior.detail == pytest.approx(24.0) and parts.prior.detail > COARSE
    plans, found = _widened(parts)
    factors = {round(b.scale / a.scale, 6) for a, b in zip(plans, found, strict=True)}
    assert len(factors) == 1 and factors.pop() >= 2.0
    assert [replace(b, scale=a.scale) for a, b in zip(plans, found, strict=True)] == list(plans)


def test_where_detail_is_resolved_nothing_is_tried() -> None:
    parts = _parts(width=2.0, resolved=8, noise=1e-5)
    assert parts.prior.detail < COARSE
    plans, found = _widened(parts)
    assert found is plans


def test_few_resolved_shells_are_fitted_in_few_voxels() -> None:
    parts = _parts(width=7.0, resolved=4, noise=1e-5)
    near = parts.in_band()
    assert near.sets[0].grid.box_size == 32 and near.sets[0].grid.side == GRID.side
    assert near.side <= 32 and near.side * near.sets[0].grid.pixel_size >= parts.side
    # the same prior; a transform of voxel sums is smaller by the number of voxels that each holds
    assert near.penalty()[:9] == pytest.approx((32 / 48) ** 3 * parts.penalty()[:9], rel=1e-3)
    assert near.in_band().sets[0].grid == near.sets[0].grid


def test_resolved_particles_are_fitted_in_all_voxels() -> None:
    parts = _parts(width=2.0, resolved=8, noise=1e-5)
    assert parts.in_band() is parts

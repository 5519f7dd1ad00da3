"""The descent: likelihood rises, unseen particles end it, parameters keep their bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from problems import blobs, simulated_batch, statistics_of, white
from torch import Tensor

from cryosplat.fitting import (
    Fit,
    Schedule,
    StatisticsTerm,
    counted,
    density,
    descend,
    effective_voxels,
    even,
    fit,
    march,
    start_at_random,
    start_in_density,
)
from cryosplat.fitting._start import redraw
from cryosplat.grid import Grid
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.mixture import GaussianMixture
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics

GRID = Grid(32, 2.0)
NOISE = 3.0


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    volume = voxelize(blobs(25, 16.0, _seeded(6), width=2.5), GRID)
    return (volume * 40.0 / float(volume.sum(0).max())).float()


@pytest.fixture(scope="module")
def train(truth: Tensor) -> Statistics:
    batch = simulated_batch(truth, GRID, 250, NOISE, _seeded(7))
    return statistics_of([batch], GRID, white(GRID, NOISE))


@pytest.fixture(scope="module")
def unseen(truth: Tensor) -> Statistics:
    batch = simulated_batch(truth, GRID, 60, NOISE, _seeded(8))
    return statistics_of([batch], GRID, white(GRID, NOISE))


@pytest.fixture(scope="module")
def form(train: Statistics) -> QuadraticForm:
    return QuadraticForm(train, 32)


def _volume(found: Fit) -> Tensor:
    return voxelize(found.mixture, GRID)


def _gains(found: Fit) -> list[tuple[int, float]]:
    return [(step, gain) for step, gain, _ in found.history]


@pytest.fixture
def start(form: QuadraticForm) -> GaussianMixture:
    return start_in_density(form, density(form), 60, 1.0, _seeded(9))


def test_the_likelihood_rises_and_the_map_is_found(
    form: QuadraticForm, start: GaussianMixture, truth: Tensor
) -> None:
    found = fit(form, start, Schedule(steps=40))
    gains = [gain for _, gain, _ in found.history]
    assert gains == sorted(gains)
    assert gains[-1] > 1.05 * gains[0] > 0.0
    assert found.step == 40 and [step for step, _, _ in found.history] == list(range(0, 41, 5))
    assert all(math.isnan(seen) for _, _, seen in found.history)
    fsc = fourier_shell_correlation(_volume(found), truth)
    assert float(fsc[1:9].min()) > 0.97


def test_the_history_holds_the_gain_of_the_form(
    form: QuadraticForm, start: GaussianMixture
) -> None:
    found = fit(form, start, Schedule(steps=6))
    assert found.history[-1][1] == pytest.approx(-float(form(_volume(found))), rel=1e-6)


def test_unseen_particles_choose_the_step(
    form: QuadraticForm, start: GaussianMixture, unseen: Statistics
) -> None:
    held_out = QuadraticForm(unseen, 32)
    found = fit(form, start, Schedule(steps=40), held_out)
    gains = {step: gain for step, _, gain in found.history}
    assert found.held_out == max(gains.values()) == gains[found.step]
    assert found.held_out == pytest.approx(-float(held_out(_volume(found))), rel=1e-6)


def test_the_descent_ends_when_unseen_particles_disagree(
    form: QuadraticForm, start: GaussianMixture
) -> None:
    """Held-out statistics of inverted images get worse from the first step on."""
    against = QuadraticForm(Statistics.zero(GRID), 32) + form
    against.linear = -form.linear
    found = fit(form, start, Schedule(steps=200), against)
    assert found.step < 10
    assert found.history[-1][0] == found.step + 20  # four checks of five steps


def test_a_fit_can_be_stopped_on_the_way_of_its_schedule(
    form: QuadraticForm, start: GaussianMixture
) -> None:
    ticks: list[int] = []
    schedule = Schedule(steps=20)
    part = fit(form, start, replace(schedule, stop=7), watchers=[counted(ticks.append)])
    assert part.step == 7 and ticks == [0] + 7 * [1]
    whole = fit(form, start, schedule)
    assert _gains(part)[:2] == _gains(whole)[:2]
    assert fit(form, start, replace(schedule, stop=99)).step == 20


def test_two_fits_are_identical(form: QuadraticForm, start: GaussianMixture) -> None:
    a, b = (fit(form, start, Schedule(steps=10)) for _ in range(2))
    assert torch.equal(_volume(a), _volume(b)) and _gains(a) == _gains(b)


def test_no_scale_falls_below_the_floor(form: QuadraticForm) -> None:
    narrow = start_in_density(form, density(form), 40, 0.45, _seeded(1))
    schedule = Schedule(steps=20, floor=0.4)
    found = fit(form, narrow, schedule)
    assert float(found.mixture.scales.min()) >= 0.4 * GRID.pixel_size
    assert float(found.mixture.amplitudes.min()) >= 0.0


def test_the_prior_holds_scales_together(form: QuadraticForm, start: GaussianMixture) -> None:
    spread = [
        float(descend(StatisticsTerm(form, scale_spread=s), start, Schedule(steps=30))
              .mixture.scales.log().std())
        for s in (0.02, 1.0)
    ]  # fmt: skip
    assert spread[0] < 0.85 * spread[1]


def test_the_start_is_drawn_where_the_density_is() -> None:
    volume = torch.zeros(32, 32, 32)
    volume[20, 10, 16] = 1.0
    volume[8, 16, 24] = 3.0
    form = QuadraticForm(Statistics.zero(GRID), 32)
    start = start_in_density(form, volume, 800, 1.5, _seeded(3))
    cells = (start.means / 2.0).round() + 16
    first = (cells == torch.tensor([16.0, 10.0, 20.0])).all(1)
    second = (cells == torch.tensor([24.0, 16.0, 8.0])).all(1)
    assert bool((first | second).all())
    assert float(second.float().mean()) == pytest.approx(0.75, abs=0.05)
    torch.testing.assert_close(start.scales, torch.full((800, 3), 3.0))


def test_an_empty_density_gives_a_start_in_the_middle() -> None:
    form = QuadraticForm(Statistics.zero(GRID), 32)
    start = start_in_density(form, torch.zeros(32, 32, 32), 500, 1.0, _seeded(3))
    assert bool(torch.isfinite(start.means).all())
    assert float(start.means.norm(dim=1).median()) < 0.5 * GRID.side


def test_the_first_mass_is_the_best_one(form: QuadraticForm, start: GaussianMixture) -> None:
    assert form.line_search(voxelize(start, form.grid)) == pytest.approx(1.0, rel=1e-4)


def test_the_density_lies_on_the_molecule(form: QuadraticForm, truth: Tensor) -> None:
    positive = density(form)
    assert float(positive.min()) == 0.0
    inside = truth > 0.02 * truth.max()
    assert float(positive[inside].sum() / positive.sum()) > 0.9


def test_effective_voxels_count_those_that_are_equal() -> None:
    volume = torch.zeros(8, 8, 8)
    volume[2:4, 2:5, 1:6] = 0.7
    assert effective_voxels(volume) == pytest.approx(30.0, rel=1e-5)
    assert effective_voxels(torch.zeros(8, 8, 8)) == 0.0


@pytest.mark.parametrize(("size", "expected"), [(3.0, 8), (11.0, 12), (12.9, 12), (31.0, 32)])
def test_boxes_of_levels_are_even(size: float, expected: int) -> None:
    assert even(size) == expected


def test_redrawn_gaussians_come_from_the_heavy_ones(form: QuadraticForm) -> None:
    means = torch.tensor([[10.0, 0.0, 0.0], [-10.0, 0.0, 0.0], [0.0, 24.0, 0.0]])
    parents = GaussianMixture(
        means, torch.full((3, 3), 1.0), torch.tensor([[1.0, 0, 0, 0]] * 3),
        torch.tensor([1.0, 3.0, 0.0]),
    )  # fmt: skip
    heirs = redraw(form, parents, 400, 1.0, _seeded(4))
    nearest = torch.cdist(heirs.means, means).argmin(1)
    counts = torch.bincount(nearest, minlength=3)
    assert counts[2] == 0 and counts[1] / 400 == pytest.approx(0.75, abs=0.07)


def test_random_starts_stay_in_the_box(form: QuadraticForm) -> None:
    start = start_at_random(form, 300, 1000.0, 1.0, _seeded(5))
    assert float(start.means.abs().max()) <= 0.45 * GRID.side


@pytest.mark.parametrize("seed", [0, 1])
def test_marching_from_random_positions_finds_the_map(
    seed: int, train: Statistics, form: QuadraticForm, truth: Tensor
) -> None:
    start = march(train, 32, 160, 1.0, Schedule(steps=40), _seeded(seed))
    assert len(start) == 160
    found = fit(form, start, Schedule(steps=40))
    fsc = fourier_shell_correlation(_volume(found), truth)
    assert float(fsc[1:9].min()) > 0.95

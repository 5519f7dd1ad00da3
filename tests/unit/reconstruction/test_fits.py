"""What the three parts of a run share, and what they must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from image_problems import GRID, NOISE, images, some_blobs
from problems import statistics_of, white

from cryosplat.fitting import Schedule, fit
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction._clock import Clock
from cryosplat.reconstruction._fits import fitted_to_statistics, stream
from cryosplat.reconstruction._plan import MEMBERS, MOST, Parts, plans_for
from cryosplat.reconstruction._prior import Prior
from cryosplat.settings import ReconstructionSettings
from cryosplat.statistics import QuadraticForm, Statistics

SETTINGS = ReconstructionSettings(gaussians=40, steps=5, start="random")
SIDE = GRID.box_size


@pytest.fixture(scope="module")
def half() -> Statistics:
    return statistics_of([images(80, 7)], GRID, white(GRID, NOISE))


@pytest.fixture
def parts(half: Statistics) -> Parts:
    fsc = torch.linspace(0.99, 0.2, GRID.n_shells).double()
    prior = Prior(GRID, fsc, 0.2 * GRID.box_size**3)
    return Parts((half + half, half, half), SIDE, prior, None, Clock())


def test_every_fit_draws_its_own_random_numbers() -> None:
    drawn = {
        tuple(torch.rand(3, generator=stream(SETTINGS, part, member)).tolist())
        for part in range(3)
        for member in range(1, MEMBERS + 1)
    }
    assert len(drawn) == 3 * MEMBERS


def test_parts_with_the_same_data_begin_at_different_places(parts: Parts) -> None:
    """Otherwise half-maps agree on what was drawn: after few steps, on nothing else."""
    found = fitted_to_statistics(parts, SETTINGS, SilentProgress())
    full, one, two = (m.means for m in found.mixtures)
    assert not torch.allclose(one, two) and not torch.allclose(full, one)
    assert len(full) == 40 and found.refit is not None
    for history in found.histories[1:]:
        assert [step for step, _, _ in history] == [0, 5]
        assert all(unseen == unseen for _, _, unseen in history)


def test_a_fit_that_goes_on_is_one_descent_under_the_prior(parts: Parts, half: Statistics) -> None:
    first = some_blobs(30, 1)
    others = replace(parts, earlier=[first] * 3)
    found = fitted_to_statistics(others, ReconstructionSettings(steps=7), SilentProgress())
    form = QuadraticForm(half, SIDE).with_penalty(parts.penalty())
    expected = fit(form, first, Schedule(steps=7)).mixture
    assert torch.equal(found.mixtures[1].means, expected.means)
    assert found.refit is None and found.summary["members"] == 1


def test_both_half_sets_are_fitted_alike(parts: Parts, half: Statistics) -> None:
    uneven = replace(parts, sets=(half + 4 * half, half, 4 * half))
    full, one, two = plans_for(uneven, ReconstructionSettings())
    assert one == two and full.gaussians >= one.gaussians and full.steps >= one.steps


def test_fits_seen_through_water_take_more_steps(parts: Parts) -> None:
    dry = plans_for(parts, ReconstructionSettings())
    wet = plans_for(replace(parts, in_water=True), ReconstructionSettings())
    assert [w.steps for w in wet] == [2 * d.steps for d in dry]
    given = plans_for(replace(parts, in_water=True), ReconstructionSettings(steps=7))
    assert {plan.steps for plan in given} == {7}


@pytest.mark.parametrize(("fsc", "voxels"), [(0.9, 2000.0), (0.05, 2000.0), (0.9, 100.0)])
def test_there_are_never_more_gaussians_than_the_particles_know_numbers(
    fsc: float, voxels: float, parts: Parts
) -> None:
    prior = Prior(GRID, torch.full((GRID.n_shells,), fsc).double(), voxels)
    plans = plans_for(replace(parts, prior=prior), ReconstructionSettings())
    known = [prior.coefficients(full) for full in (True, False, False)]
    for plan, limit in zip(plans, known, strict=True):
        assert plan.gaussians <= max(50, limit + 1) and plan.gaussians <= MOST
    assert known[1] == pytest.approx(fsc * voxels * 4 / 3 * torch.pi / 8, rel=0.2)
    few = plans_for(parts, ReconstructionSettings(gaussians=40))[1]
    assert few.scale > plans_for(parts, ReconstructionSettings(gaussians=40_000))[1].scale


def test_the_prior_is_the_inverse_of_the_power_of_the_signal(half: Statistics) -> None:
    """Known white noise and white signal: F = S / (S + N), and the penalty is 1 / S."""
    forms = QuadraticForm(half, 16), QuadraticForm(half, 16)
    information = torch.full((9,), 4.0)
    for form in forms:
        form.transfer = torch.full_like(form.transfer, 4.0)
    power = torch.linspace(3.0, 0.5, GRID.n_shells).double()
    prior = Prior(GRID, power / (power + 0.25), 1.0)
    expected = 1.0 / power[torch.arange(9) * GRID.box_size // 16]
    assert GRID.box_size % 16 == 0 and float(information[0]) == 4.0
    torch.testing.assert_close(prior.penalty(forms), expected, rtol=1e-6, atol=0.0)

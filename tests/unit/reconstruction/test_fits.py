"""What the three parts of a run share, and what they must not."""

from __future__ import annotations

import pytest
import torch
from image_problems import GRID, NOISE, images, some_blobs
from problems import statistics_of, white

from cryosplat.fitting import Choice, Schedule, fit
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction import _fits
from cryosplat.reconstruction._clock import Clock
from cryosplat.reconstruction._data import HalfSet
from cryosplat.reconstruction._fits import Parts, fitted_to_statistics, stream
from cryosplat.settings import ReconstructionSettings
from cryosplat.statistics import QuadraticForm

SETTINGS = ReconstructionSettings(gaussians=40, steps=5, start="random")


@pytest.fixture(scope="module")
def half() -> HalfSet:
    train, held_out = (
        statistics_of([images(n, seed)], GRID, white(GRID, NOISE)) for n, seed in ((60, 7), (20, 8))
    )
    return HalfSet(train, held_out)


def test_every_fit_draws_its_own_random_numbers() -> None:
    drawn = {
        tuple(torch.rand(3, generator=stream(SETTINGS, part, member)).tolist())
        for part in range(3)
        for member in range(3)
    }
    assert len(drawn) == 9


def test_parts_with_the_same_data_begin_at_different_places(half: HalfSet) -> None:
    """Otherwise half-maps agree on what was drawn: after few steps, on nothing else."""
    parts = Parts((half, half, half), GRID.box_size, None, Clock())
    found = fitted_to_statistics(parts, SETTINGS, SilentProgress())
    full, one, two = (m.means for m in found.mixtures)
    assert not torch.allclose(one, two) and not torch.allclose(full, one)
    assert found.refit is not None


def test_steps_are_run_on_the_schedule_they_were_chosen_on(
    half: HalfSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates that fall faster than in the trial would stop elsewhere."""
    first, choice = some_blobs(30, 1), Choice(30, 1.0, 7, ())
    monkeypatch.setattr(_fits._Part, "steps_from", lambda *given: choice)
    parts = Parts((half, half, half), GRID.box_size, [first] * 3, Clock())
    found = fitted_to_statistics(parts, ReconstructionSettings(), SilentProgress())
    form = QuadraticForm(half.whole(), GRID.box_size)
    expected = fit(form, first, Schedule(stop=7)).mixture
    assert torch.equal(found.mixtures[0].means, expected.means)

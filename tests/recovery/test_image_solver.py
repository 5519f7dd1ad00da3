"""The image-space solver finds the map, whatever the batch, and from the other solver's result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tolerances
import torch
from image_problems import GRID, NOISE, images, reading, seeded, truth
from problems import statistics_of, white

from cryosplat.batch import Batch
from cryosplat.fitting import (
    ImageData,
    Schedule,
    StatisticsTerm,
    density,
    descend,
    fit_images,
    images_of_a_march,
    march_images,
    paper_start,
    start_in_density,
)
from cryosplat.fitting.images.data import observe
from cryosplat.fitting.images.term import ImageLikelihood
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.mixture import GaussianMixture
from cryosplat.settings import ImageSchedule
from cryosplat.splatting import project, voxelize
from cryosplat.statistics import QuadraticForm

K = 60


@pytest.fixture(scope="module")
def batch() -> Batch:
    return images(300)


@pytest.fixture(scope="module")
def data(batch: Batch) -> ImageData:
    return reading(batch, 100)


@pytest.fixture(scope="module")
def form(batch: Batch) -> QuadraticForm:
    return QuadraticForm(statistics_of([batch], GRID, white(GRID, NOISE)), 32)


@pytest.fixture(scope="module")
def start(form: QuadraticForm) -> GaussianMixture:
    return start_in_density(form, density(form), K, 1.0, seeded(9))


def _fsc(mixture: GaussianMixture) -> float:
    """Mean FSC with the truth up to shell 9."""
    curve = fourier_shell_correlation(voxelize(mixture, GRID).detach(), truth())
    return float(curve[1:10].mean())


def _fitted(
    data: ImageData, start: GaussianMixture, schedule: ImageSchedule
) -> tuple[GaussianMixture, float]:
    """The mixture of all particles, and its misfit in the last epoch."""
    found = fit_images(data, [start], schedule)
    return found.mixtures[0], found.epochs[-1].misfit[0]


@pytest.mark.parametrize("batch_size", [8, 32])
def test_the_map_is_found_from_a_start_in_the_statistics(
    batch_size: int, data: ImageData, start: GaussianMixture
) -> None:
    schedule = ImageSchedule(epochs=15, batch_size=batch_size)
    mixture, misfit = _fitted(data, start, schedule)
    assert _fsc(mixture) > 0.97 > _fsc(start) + 0.05
    assert misfit == pytest.approx(1.0, abs=tolerances.MISFIT)


# of three hundred images it takes some epochs more; in so small a box 0.0075 of it is a quarter pixel
PAPER = replace(ImageSchedule.paper(), epochs=6, rate=4e-3, gamma=0.5, floor=0.4)


@pytest.fixture(scope="module")
def random_start(few: ImageData) -> GaussianMixture:
    return paper_start(few, K, seeded(3))


@pytest.fixture(scope="module")
def few() -> ImageData:
    return reading(images(300), 100)


@pytest.fixture(scope="module")
def one_by_one(few: ImageData, random_start: GaussianMixture) -> float:
    """FSC of the paper's descent, one image a step."""
    return _fsc(_fitted(few, random_start, PAPER)[0])


def test_one_rate_finds_the_map_from_a_random_start(
    random_start: GaussianMixture, one_by_one: float
) -> None:
    assert _fsc(random_start) < 0.5 and one_by_one > 0.85


def test_larger_batches_reach_what_single_images_reach(
    few: ImageData, random_start: GaussianMixture, one_by_one: float
) -> None:
    """The rule for rate and memory (`ImageSchedule.step_size`, `ImageSchedule.betas`)."""
    many, _ = _fitted(few, random_start, replace(PAPER, batch_size=16))
    assert _fsc(many) > one_by_one - tolerances.BATCH_FSC


def test_either_solver_goes_on_from_the_other(
    data: ImageData, batch: Batch, form: QuadraticForm, start: GaussianMixture
) -> None:
    """A gentle descent leaves the other's loss as good as it was; the two losses are one."""
    schedule, statistics = Schedule(steps=25), StatisticsTerm(form, scale_spread=10.0)
    by_statistics = descend(statistics, start, schedule).mixture
    gentle = ImageSchedule(epochs=3, batch_size=32, rate=2e-5, factors=(1.0, 10.0, 10.0, 10.0))
    by_images, _ = _fitted(data, by_statistics, gentle)
    slow = replace(schedule, rates=(2e-3, 1e-3, 1e-3, 1e-3))
    back = descend(statistics, by_images, slow).mixture

    def loss(mixture: GaussianMixture) -> float:
        return form.energy + float(form(voxelize(mixture, GRID)))

    gain = loss(start) - loss(by_statistics)
    assert loss(by_images) < loss(by_statistics) + 0.01 * gain
    assert loss(back) < loss(by_images)
    term, seen = ImageLikelihood(GRID, data.noise.precision), observe(batch, data)
    over_images = float(term(project(by_images, seen.poses, seen.grid), seen))
    assert over_images == pytest.approx(loss(by_images), rel=tolerances.TWO_SOLVERS_NARROW)


def test_marching_leads_random_positions_to_their_places(
    data: ImageData, start: GaussianMixture
) -> None:
    schedule, met = ImageSchedule(epochs=10, batch_size=8), list[int]()
    draws = [seeded(number) for number in (3, 4, 5)]
    starts = march_images(data, K, GRID.pixel_size, schedule, 3, draws, on_images=met.append)
    assert sum(met) == images_of_a_march(len(data.used()))
    assert len({tuple(s.means[0].tolist()) for s in starts}) == 3
    marched, _ = _fitted(data, starts[0], schedule)
    known, _ = _fitted(data, start, schedule)
    assert _fsc(marched) > _fsc(known) - tolerances.MARCHED_FSC


def test_half_sets_give_two_maps_that_agree(data: ImageData, form: QuadraticForm) -> None:
    positive = density(form)
    starts = [start_in_density(form, positive, K, 1.0, seeded(seed)) for seed in (9, 10, 11)]
    found = fit_images(data, starts, ImageSchedule(epochs=8))
    maps = [voxelize(m, GRID) for m in found.mixtures]
    between = float(fourier_shell_correlation(maps[1], maps[2])[1:8].mean())
    assert 0.9 < between < 1.0
    assert _fsc(found.mixtures[0]) > _fsc(found.mixtures[1])
    assert torch.isfinite(maps[0]).all()

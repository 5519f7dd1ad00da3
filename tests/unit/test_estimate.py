"""Expected costs: their order of magnitude, how they grow, and how they are corrected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryosplat import ReconstructionSettings
from cryosplat.abinitio import AbinitSettings, search_cost
from cryosplat.estimate import REST, Cost, Forecast, expected_cost, expected_states
from cryosplat.progress import ACCUMULATE, FIT_ALL, FIT_HALF, JUDGE, SUBSTITUTE, TURN
from cryosplat.settings import ImageSchedule

IMAGES = ReconstructionSettings(solver="images", gaussians=448)
PAPER = ReconstructionSettings.paper()
MEASURED = [  # particles, box, settings, threads, seconds (of one thread: processor time)
    (1000, 32, ReconstructionSettings(), 1, 15.5),
    (2000, 64, ReconstructionSettings(), 1, 37.5),
    (500, 32, ReconstructionSettings(symmetry="D7", quick=True), 1, 17.9),
    (500, 32, IMAGES, 1, 32.0),
    (300, 32, ReconstructionSettings.paper(3000), 1, 37.7),
    (15_000, 64, PAPER, 2, 1312.0),
]


@pytest.mark.parametrize(("n", "box_size", "settings", "threads", "seconds"), MEASURED)
def test_what_was_measured_is_expected(
    n: int, box_size: int, settings: ReconstructionSettings, threads: int, seconds: float
) -> None:
    expected = expected_cost(n, box_size, threads, settings).seconds
    assert seconds / 1.5 < expected < seconds * 1.5


def test_memory_of_128_pixels_is_about_two_gigabytes() -> None:
    assert 1.4e9 < expected_cost(4000, 128, 2).memory < 3e9


def test_time_grows_with_what_is_done() -> None:
    plain = ReconstructionSettings()
    for more in (
        replace(plain, steps=400), replace(plain, gaussians=100_000), replace(plain, symmetry="D7"),
        replace(plain, solver="images", images=ImageSchedule(epochs=500)),
    ):  # fmt: skip
        assert expected_cost(9000, 64, 2, more).seconds > expected_cost(9000, 64, 2, plain).seconds
    quick = expected_cost(9000, 64, 2, replace(plain, quick=True)).seconds
    assert (
        quick
        < expected_cost(9000, 64, 2, plain).seconds
        < expected_cost(9000, 64, 1, plain).seconds
    )
    assert expected_cost(9000, 64, 2, plain, rounds=3).seconds > expected_cost(9000, 64, 2).seconds


def test_a_search_for_poses_takes_about_a_minute_and_more_for_more_images() -> None:
    """Of 4,000 images on one thread; measured: benchmarks/results/abinit.json."""
    settings = AbinitSettings()
    cost = search_cost(4000, 64, 1, settings)
    assert 60.0 < cost.seconds < 180.0
    assert cost.seconds < search_cost(40_000, 64, 1, settings).seconds < 10.0 * cost.seconds
    one = search_cost(4000, 64, 1, replace(settings, starts=1, carried=1))
    assert search_cost(4000, 64, 2, settings).seconds < cost.seconds > one.seconds


def test_ten_float_maps_fit_into_the_expected_disk() -> None:
    assert expected_cost(1000, 100, 2).disk > 10 * 4 * 100**3


def test_a_symmetry_costs_what_its_rotations_do() -> None:
    plain, c2, d7 = (
        expected_cost(50_000, 128, 2, ReconstructionSettings(symmetry=name)).stages[ACCUMULATE][0]
        for name in ("C1", "C2", "D7")
    )
    assert c2 == plain  # a half turn maps the grid onto itself
    assert 1.5 < d7 / plain < 10


class Clock:
    """A time that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _forecast() -> tuple[Forecast, Clock]:
    stages = {REST: (10.0, 1), ACCUMULATE: (20.0, 1), SUBSTITUTE: (20.0, 1),
              FIT_ALL: (50.0, 1), FIT_HALF: (50.0, 4)}  # fmt: skip
    clock = Clock()
    return Forecast(Cost(0.0, 0.0, stages), clock), clock


def test_a_run_at_the_expected_pace_is_not_corrected() -> None:
    forecast, clock = _forecast()
    for title, seconds in {"accumulating statistics": 20.0, "fitting all particles": 45.0,
                           "fitting half 1": 55.0, "something else": 9.0}.items():  # fmt: skip
        clock.now += seconds
        assert forecast.corrected(title, seconds) is None


def test_a_stage_that_is_slow_tells_of_its_kind() -> None:
    forecast, clock = _forecast()
    clock.now = 20.0
    assert forecast.corrected("accumulating statistics", 20.0) is None
    clock.now += 15.0  # a twentieth of a fit of 300 s, where 50 s were expected
    total, left = forecast.corrected("fitting all particles", 15.0, 0.05) or (0.0, 0.0)
    assert left == pytest.approx(285.0 + 4 * 300.0 + 20.0, rel=0.02) and total == left + 35.0
    assert forecast.corrected("fitting all particles", 60.0, 0.2) is None  # that was said
    clock.now += 285.0
    assert forecast.corrected("fitting all particles", 300.0) is None
    clock.now += 50.0  # the halves are as fast as expected
    assert forecast.corrected("fitting half 1", 50.0) is not None


def test_the_last_seconds_are_not_worth_a_word() -> None:
    forecast, clock = _forecast()
    for title in (ACCUMULATE, FIT_ALL, *4 * [FIT_HALF], SUBSTITUTE):
        clock.now += 1.0
        forecast.corrected(title, 1.0)
    assert forecast.corrected("noise substitution", 500.0) is None


@pytest.mark.parametrize(
    ("n", "box_size", "rounds", "seconds"), [(500, 32, 2, 27.8), (1000, 88, 3, 220.0)]
)
def test_rounds_of_refinement_cost_what_was_measured(
    n: int, box_size: int, rounds: int, seconds: float
) -> None:
    with_, without = (expected_cost(n, box_size, 1, rounds=r).seconds for r in (rounds, 0))
    assert seconds / 1.5 < with_ - without < seconds * 1.5


def test_a_round_tells_of_the_next_ones() -> None:
    clock = Clock()
    forecast = Forecast(Cost(0.0, 0.0, {TURN: (20.0, 2), JUDGE: (5.0, 3)}), clock)
    clock.now = 40.0
    total, left = forecast.corrected("round 0: refining poses", 40.0) or (0.0, 0.0)
    assert total == 40.0 + left == 40.0 + 40.0 + 3 * 5.0


@pytest.mark.parametrize(
    ("n", "starts", "motion", "seconds"),
    [(300, 3, False, 68.1), (300, 3, True, 107.7), (6000, 3, False, 162.8), (6000, 3, True, 245.3)],
)
def test_states_cost_what_was_measured(n: int, starts: int, motion: bool, seconds: float) -> None:
    expected = expected_states(n, 64, 1, starts, motion).seconds
    assert seconds / 1.5 < expected < seconds * 1.5
    assert expected_states(30_000, 64, 1, 3, motion).seconds < 100 * expected  # batches

"""The one loop: any term, any watcher, broken off anywhere, and never a number that is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_problems import GRID, NOISE, images, seeded, some_blobs, truth
from problems import statistics_of, white
from torch import Tensor

from cryosplat.errors import InputError, NotFiniteError, SettingsError
from cryosplat.fitting import (
    BestSoFar,
    Fit,
    History,
    Journal,
    Moment,
    Schedule,
    Stopped,
    density,
    descend,
    fit,
    march,
    start_in_density,
)
from cryosplat.grid import Grid
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.mixture import TENSORS, GaussianMixture
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics

SCHEDULE = Schedule(steps=12)


class Likeness:
    """A user's own data term: how far the mixture's map is from a map, in 15 lines."""

    def __init__(self, volume: Tensor, grid: Grid) -> None:
        self.volume, self.grid = volume, grid

    def __call__(self, mixture: GaussianMixture) -> Tensor:
        return (voxelize(mixture, self.grid) - self.volume).square().sum()


class Noisy(Likeness):
    """Another one, whose mini-batches are slabs drawn at random: resumable by its `seek`."""

    step = 0

    def seek(self, step: int) -> None:
        self.step = step

    def __call__(self, mixture: GaussianMixture) -> Tensor:
        chosen = torch.randperm(32, generator=seeded(self.step))[:20]
        self.step += 1
        return (voxelize(mixture, self.grid) - self.volume)[chosen].square().sum()


@pytest.fixture(scope="module")
def train() -> Statistics:
    return statistics_of([images(60)], GRID, white(GRID, NOISE))


@pytest.fixture(scope="module")
def form(train: Statistics) -> QuadraticForm:
    return QuadraticForm(train, 32)


@pytest.fixture(scope="module")
def unseen() -> QuadraticForm:
    return QuadraticForm(statistics_of([images(20, 8)], GRID, white(GRID, NOISE)), 32)


@pytest.fixture(scope="module")
def start(form: QuadraticForm) -> GaussianMixture:
    return start_in_density(form, density(form), 60, 1.0, seeded(9))


def _fsc(mixture: GaussianMixture) -> float:
    return float(fourier_shell_correlation(voxelize(mixture, GRID), truth())[1:9].min())


@pytest.mark.parametrize("term", [Likeness, Noisy])
def test_a_term_of_ones_own_is_minimised(term: type[Likeness], start: GaussianMixture) -> None:
    found = descend(term(truth(), GRID), start, Schedule(steps=40))
    assert _fsc(found.mixture) > 0.94 > _fsc(start)
    assert found.step == 40 and [row[0] for row in found.history] == list(range(0, 41, 5))
    assert found.history[-1][1] > found.history[0][1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_descent_follows_the_device(start: GaussianMixture) -> None:
    columns = {name: getattr(start, name).cuda() for name in TENSORS}
    found = descend(Likeness(truth().cuda(), GRID), GaussianMixture(**columns), SCHEDULE).mixture
    expected = descend(Likeness(truth(), GRID), start, SCHEDULE).mixture
    assert found.means.is_cuda
    fsc = fourier_shell_correlation(voxelize(found, GRID).cpu(), voxelize(expected, GRID))
    assert float(fsc[1:12].min()) > 0.99


def test_a_term_may_take_several_mixtures(start: GaussianMixture) -> None:
    class Pair:
        grid = GRID

        def __call__(self, one: GaussianMixture, two: GaussianMixture) -> Tensor:
            both = voxelize(one, GRID) + voxelize(two, GRID)
            return (both - truth()).square().sum()

    halves = [replace(start, amplitudes=0.5 * start.amplitudes), some_blobs(10, 1)]
    found = descend(Pair(), halves, Schedule(steps=30))  # type: ignore[arg-type]
    assert [len(m) for m in found.mixtures] == [60, 10]
    assert found.history[-1][1] > found.history[0][1]


@pytest.mark.parametrize("bad", [1.0, torch.zeros(3, requires_grad=True), torch.zeros(())])
def test_a_value_that_has_no_gradient_is_refused(bad: object, start: GaussianMixture) -> None:
    class Wrong:
        grid = GRID

        def __call__(self, mixture: GaussianMixture) -> Tensor:
            return bad  # type: ignore[return-value]

    with pytest.raises(SettingsError, match=r"Wrong returned .* expected a scalar tensor"):
        descend(Wrong(), start, SCHEDULE)


def test_watchers_look_on_and_may_end_it(start: GaussianMixture) -> None:
    seen: list[tuple[int, bool]] = []

    def watch(now: Moment) -> bool:
        seen.append((now.step, now.last))
        return now.value < 0.0 or now.step == 3

    assert descend(Likeness(truth(), GRID), start, SCHEDULE, [watch]).step == 3
    assert seen == [(0, False), (1, False), (2, False), (3, False)]
    descend(Likeness(truth(), GRID), start, replace(SCHEDULE, stop=2), [watch])
    assert seen[4:] == [(0, False), (1, False), (2, True)]


def _spoilt(form: QuadraticForm) -> QuadraticForm:
    bad = QuadraticForm(Statistics.zero(GRID), 32) + form
    bad.linear = form.linear.clone()
    bad.linear[16, 16, 16] = math.nan
    return bad


def test_statistics_that_are_not_finite_end_the_fit(
    form: QuadraticForm, start: GaussianMixture, unseen: QuadraticForm
) -> None:
    """At once, with or without held-out particles: not a mixture of NaN, nor the start as the best."""
    for held_out in (None, unseen):
        with pytest.raises(NotFiniteError, match="value of the data term is nan after 0 steps"):
            fit(_spoilt(form), start, SCHEDULE, held_out)
    with pytest.raises(NotFiniteError, match="likelihood of the held-out particles is nan"):
        fit(form, start, SCHEDULE, _spoilt(form))


def test_a_gaussian_that_is_not_finite_ends_the_fit(
    form: QuadraticForm, start: GaussianMixture
) -> None:
    means = start.means.clone()
    means[7, 1] = math.inf
    with pytest.raises(NotFiniteError, match=r"1 of 60 Gaussians have means .* after 0 steps"):
        fit(form, replace(start, means=means), SCHEDULE)

    class Steep(Likeness):
        def __call__(self, mixture: GaussianMixture) -> Tensor:
            return (
                super().__call__(mixture) + (mixture.amplitudes - mixture.amplitudes).sqrt().sum()
            )

    with pytest.raises(
        NotFiniteError, match=r"60 of 60 Gaussians have amplitudes .* after 1 steps"
    ):
        descend(Steep(truth(), GRID), start, SCHEDULE)


def test_the_best_so_far_is_remembered(start: GaussianMixture) -> None:
    gains = iter([1.0, 3.0, 2.0, 2.0, 2.0])
    history = History(1, lambda now: (-now.value, next(gains)))
    best = BestSoFar(history, patience=3)
    found = descend(Likeness(truth(), GRID), start, SCHEDULE, [history, best])
    assert (best.step, best.gain, found.step) == (1, 3.0, 4)
    again = descend(Likeness(truth(), GRID), start, replace(SCHEDULE, stop=1))
    assert torch.equal(best.mixtures[0].means, again.mixture.means)


def _journal(folder: Path, **identity: object) -> Journal:
    return Journal.open(CheckpointFile(folder / "fit.checkpoint"), identity)


def _same(a: Fit, b: Fit) -> bool:
    pairs = list(zip(a.mixtures, b.mixtures, strict=True))
    rows = repr((a.step, a.history)) == repr((b.step, b.history))
    return rows and all(
        torch.equal(getattr(m, t), getattr(n, t)) for m, n in pairs for t in TENSORS
    )


def _broken_off(
    work: Callable[[Journal, Callable[[Moment], None]], Fit], folder: Path, steps: int
) -> Fit:
    """What ``work`` gives when it is stopped after so many steps, again and again."""
    for _ in range(100):
        journal, left = _journal(folder), steps

        def stop(now: Moment, journal: Journal = journal) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                journal.stop()

        try:
            return work(journal, stop)
        except Stopped:
            continue
    raise AssertionError("never done")


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_fit_goes_on_bit_for_bit(
    steps: int, form: QuadraticForm, start: GaussianMixture, unseen: QuadraticForm, tmp_path: Path
) -> None:
    def work(journal: Journal, stop: Callable[[Moment], None]) -> Fit:
        return fit(form, start, SCHEDULE, unseen, watchers=[stop], journal=journal)

    assert _same(_broken_off(work, tmp_path, steps), fit(form, start, SCHEDULE, unseen))


def test_a_term_of_mini_batches_goes_on_bit_for_bit(start: GaussianMixture, tmp_path: Path) -> None:
    def work(journal: Journal, stop: Callable[[Moment], None]) -> Fit:
        return descend(Noisy(truth(), GRID), start, SCHEDULE, [stop], journal=journal)

    whole = descend(Noisy(truth(), GRID), start, SCHEDULE)
    assert _same(_broken_off(work, tmp_path, 5), whole)


def test_what_is_done_is_not_done_again(
    form: QuadraticForm, train: Statistics, tmp_path: Path
) -> None:
    """A fit after a march: resumed, neither the march nor the fit makes a step."""
    steps: list[int] = []

    def work(journal: Journal) -> Fit:
        made: list[int] = []

        def begin() -> GaussianMixture:
            made.append(1)
            return march(train, 32, 60, 1.0, Schedule(steps=3), seeded(1), journal=journal)

        found = fit(
            form, begin, SCHEDULE, watchers=[lambda now: steps.append(now.step)], journal=journal
        )
        journal.write()
        return found if made or not steps else replace(found, step=-1)

    first = work(_journal(tmp_path).of("half 1"))
    assert len(steps) == 13
    assert work(_journal(tmp_path).of("half 1")).step == -1 and len(steps) == 13
    assert work(_journal(tmp_path).of("half 2")).step == first.step  # another part begins anew


def test_a_checkpoint_of_something_else_is_refused(start: GaussianMixture, tmp_path: Path) -> None:
    journal = _journal(tmp_path, poses="a", settings={"seed": 1, "steps": None})
    descend(Likeness(truth(), GRID), start, SCHEDULE, journal=journal.of("full"))
    journal.write()
    with pytest.raises(
        InputError, match=r"other particles or settings; .*: poses, settings.seed\."
    ):
        _journal(tmp_path, poses="b", settings={"seed": 2, "steps": None})
    again = _journal(tmp_path, poses="a", settings={"seed": 1, "steps": None})
    with pytest.raises(InputError, match="not the state of this descent"):
        descend(Likeness(truth(), GRID), start, SCHEDULE, [BestSoFar(History(1), 3)],
                journal=again.of("full"))  # fmt: skip

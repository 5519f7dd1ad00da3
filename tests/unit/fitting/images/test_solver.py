"""The image-space solver: three fits in one pass, which may be broken off anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_problems import GRID, images, reading, seeded, some_blobs

from cryosplat.batch import Batch
from cryosplat.errors import InputError, SettingsError
from cryosplat.fitting import (
    ImageData,
    ImageState,
    Watch,
    begin,
    fit_images,
    paper_start,
)
from cryosplat.fitting.images import data as image_data
from cryosplat.io.checkpoint import read_checkpoint, write_checkpoint
from cryosplat.settings import ImageSchedule

SCHEDULE = ImageSchedule(epochs=2, batch_size=5, rate=2e-4, gamma=0.5, factors=(1.0, 9.0, 9.0, 9.0))


@pytest.fixture(scope="module")
def batch() -> Batch:
    return images(40)


@pytest.fixture
def data(batch: Batch) -> ImageData:
    return reading(batch)


@pytest.fixture
def first(data: ImageData) -> ImageState:
    return begin(data, [some_blobs(20, s) for s in (1, 2, 3)], SCHEDULE)


def _saved_and_read(state: ImageState, path: Path) -> ImageState:
    write_checkpoint(path, {k: v.numpy() for k, v in state.tensors.items()}, state.scalars())
    arrays, values = read_checkpoint(path)
    return ImageState.of(values, {k: torch.from_numpy(v) for k, v in arrays.items()})


def _same(a: ImageState, b: ImageState) -> bool:
    return (
        a.tensors.keys() == b.tensors.keys()
        and all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)
        and a.scalars() == b.scalars()
    )


class _After:
    """Says stop after so many mini-batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("batches", [1, 4, 8, 11, 16])
def test_a_fit_goes_on_bit_for_bit(
    batches: int,
    data: ImageData,
    first: ImageState,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken off in the middle of a pool, at its end, at the end of an epoch, in another epoch."""
    monkeypatch.setattr(image_data, "POOL_BYTES", 20 * 4 * GRID.box_size**2)
    whole = fit_images(data, first)
    broken = fit_images(data, first, Watch(stop=_After(batches)))
    assert not broken.finished
    resumed = fit_images(data, _saved_and_read(broken, tmp_path / "fit.checkpoint"))
    assert resumed.finished and _same(whole, resumed)


def test_a_finished_fit_stays_as_it_is(data: ImageData, first: ImageState) -> None:
    whole = fit_images(data, first)
    assert fit_images(data, whole) is whole


def test_the_watch_is_told_about_images_and_epochs(data: ImageData, first: ImageState) -> None:
    counts: list[int] = []
    states: list[ImageState] = []
    found = fit_images(data, first, Watch(counts.append, states.append))
    assert sum(counts) == 80 and max(counts) <= 5
    assert [s.epoch for s in states] == [1, 2] and _same(states[-1], found)
    assert [e.number for e in found.history] == [1, 2]
    for earlier, later in zip(*(e.misfit for e in found.history), strict=True):
        assert later < earlier


def test_an_epoch_can_be_gone_on_from(data: ImageData, first: ImageState) -> None:
    states: list[ImageState] = []
    whole = fit_images(data, first, Watch(on_epoch=states.append))
    assert _same(fit_images(data, states[0]), whole)


def test_half_sets_never_meet(batch: Batch, data: ImageData, first: ImageState) -> None:
    """Other images in half 2 leave the mixture of half 1 as it is, bit for bit."""
    other = batch.images.clone()
    other[1::2] = torch.randn(20, 32, 32, generator=seeded(1))
    changed = reading(Batch(batch.index, other, batch.poses, batch.optics))
    a, b = fit_images(data, first), fit_images(changed, first)
    assert torch.equal(a.mixtures()[1].means, b.mixtures()[1].means)
    assert not torch.equal(a.mixtures()[2].means, b.mixtures()[2].means)
    assert not torch.equal(a.mixtures()[0].means, b.mixtures()[0].means)


def test_the_mixture_of_all_does_not_need_those_of_the_halves(
    data: ImageData, first: ImageState
) -> None:
    alone = fit_images(data, begin(data, [some_blobs(20, 1)], SCHEDULE))
    assert alone.sets == ("full",)
    assert torch.equal(alone.mixtures()[0].means, fit_images(data, first).mixtures()[0].means)


def test_every_image_is_read_once_where_all_fit_into_memory(batch: Batch) -> None:
    times: list[int] = []
    plain = reading(batch)

    def read(index: torch.Tensor) -> Iterator[Batch]:
        times.append(len(index))
        yield from plain.read(index)

    data = replace(plain, read=read)
    fit_images(data, begin(data, [some_blobs(5, 1)], SCHEDULE))
    assert times.count(40) <= 2  # the grey level, and both epochs


@pytest.mark.parametrize("shape", ["anisotropic", "isotropic"])
def test_gaussians_are_split_after_an_epoch(shape: str, data: ImageData) -> None:
    schedule = replace(SCHEDULE, split_after=(1,), shape=shape)
    found = fit_images(data, begin(data, [some_blobs(6, 1)], schedule))
    assert [e.gaussians for e in found.history] == [6, 12]
    (mixture,) = found.mixtures()
    assert len(mixture) == 12
    assert bool((mixture.scales == mixture.scales[:, :1]).all()) == (shape == "isotropic")


def test_one_mixture_or_three(data: ImageData) -> None:
    with pytest.raises(SettingsError, match="2 mixtures to start from, expected 1"):
        begin(data, [some_blobs(5, 1)] * 2, SCHEDULE)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="not the state of a fit of images"):
        ImageState.of({"epoch": 3}, {})


def test_the_papers_start_is_the_papers(data: ImageData) -> None:
    start = paper_start(data, 4000, seeded(1))
    assert float(start.means.std()) / GRID.side == pytest.approx(0.075, rel=0.03)
    torch.testing.assert_close(start.scales, torch.full((4000, 3), 0.0075 * GRID.side))
    level = image_data.grey_level(data)
    assert float(start.amplitudes.sum()) == pytest.approx(0.5 * level * 32**2, rel=1e-4)


def test_plain_least_squares_does_not_depend_on_the_grey_scale(batch: Batch) -> None:
    """The paper's setting on images a hundred times as bright gives the same mixture so much brighter.

    To a float's rounding, which the descent enlarges.
    """
    schedule = replace(ImageSchedule.paper(), epochs=1, batch_size=8)
    found = []
    for factor in (1.0, 128.0):
        data = reading(Batch(batch.index, factor * batch.images, batch.poses, batch.optics))
        state = begin(data, [paper_start(data, 30, seeded(1))], schedule)
        found.append(fit_images(data, state).mixtures()[0])
    torch.testing.assert_close(found[0].means, found[1].means)
    torch.testing.assert_close(128.0 * found[0].amplitudes, found[1].amplitudes)


def test_what_is_left_open_follows_the_data() -> None:
    schedule = ImageSchedule().resolved(1000, 128)
    assert schedule.epochs == 20 and schedule.rate == pytest.approx(0.005 / 128)
    assert ImageSchedule().resolved(10**6, 128).epochs == 5
    last = schedule.step_size(19)[0] / schedule.step_size(0)[0]
    assert last == pytest.approx(0.04)
    paper = ImageSchedule.paper()
    assert paper.resolved(10, 64) == paper
    with pytest.raises(SettingsError, match="values left open"):
        ImageSchedule().step_size(0)


def test_batches_step_as_the_rule_says() -> None:
    one, many = ImageSchedule.paper(), replace(ImageSchedule.paper(), batch_size=16)
    assert one.step_size(1) == pytest.approx((1e-4,) * 4)
    assert many.step_size(0) == pytest.approx((8e-3,) * 4)
    assert one.betas == (0.9, 0.999)
    assert many.betas == pytest.approx((0.9**4, 0.999**16))

"""The image-space solver: three fits in one pass, which may be broken off anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_problems import GRID, NOISE, images, reading, seeded, some_blobs
from problems import white

from cryosplat.batch import Batch
from cryosplat.errors import InputError, SettingsError
from cryosplat.fitting import ImageData, ImageFit, Journal, Stopped, fit_images, paper_start
from cryosplat.fitting.images import data as image_data
from cryosplat.fitting.images._fit import split
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.mixture import TENSORS, GaussianMixture
from cryosplat.settings import ImageSchedule

SCHEDULE = ImageSchedule(epochs=2, batch_size=5, rate=2e-4, gamma=0.5, factors=(1.0, 9.0, 9.0, 9.0))


@pytest.fixture(scope="module")
def batch() -> Batch:
    return images(40)


@pytest.fixture
def data(batch: Batch) -> ImageData:
    return reading(batch)


@pytest.fixture
def starts() -> list[GaussianMixture]:
    return [some_blobs(20, s) for s in (1, 2, 3)]


def _journal(folder: Path) -> Journal:
    return Journal.open(CheckpointFile(folder / "fit.checkpoint"), {})


def _same(a: ImageFit, b: ImageFit) -> bool:
    return a.epochs == b.epochs and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for one, other in zip(a.mixtures, b.mixtures, strict=True)
        for name in TENSORS
    )


@pytest.mark.parametrize("split_after", [(), (1,)])
@pytest.mark.parametrize("batches", [1, 4, 8, 11, 16])
def test_a_fit_goes_on_bit_for_bit(
    batches: int,
    split_after: tuple[int, ...],
    data: ImageData,
    starts: list[GaussianMixture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken off in the middle of a pool, at its end, at the end of an epoch, in another epoch."""
    monkeypatch.setattr(image_data, "POOL_BYTES", 20 * 4 * GRID.box_size**2)
    schedule = replace(SCHEDULE, split_after=split_after)
    whole = fit_images(data, starts, schedule)
    journal, met = _journal(tmp_path), []

    def stop(n: int) -> None:
        met.append(n)
        if len(met) == batches:
            journal.stop()

    with pytest.raises(Stopped):
        fit_images(data, starts, schedule, on_images=stop, journal=journal)
    assert len(met) == batches
    assert _same(whole, fit_images(data, [], schedule, journal=_journal(tmp_path)))


def test_a_finished_fit_is_not_made_again(
    data: ImageData, starts: list[GaussianMixture], tmp_path: Path
) -> None:
    journal = _journal(tmp_path)
    whole = fit_images(data, starts, SCHEDULE, journal=journal)
    journal.write()
    met: list[int] = []
    again = fit_images(data, [], SCHEDULE, on_images=met.append, journal=_journal(tmp_path))
    assert _same(whole, again) and not met


def test_images_and_epochs_are_told(data: ImageData, starts: list[GaussianMixture]) -> None:
    counts: list[int] = []
    states: list[ImageFit] = []
    found = fit_images(data, starts, SCHEDULE, on_images=counts.append, on_epoch=states.append)
    assert sum(counts) == 80 and max(counts) <= 5
    assert [len(s.epochs) for s in states] == [1, 2] and _same(states[-1], found)
    assert [e.number for e in found.epochs] == [1, 2]
    for earlier, later in zip(*(e.misfit for e in found.epochs), strict=True):
        assert later < earlier


def test_half_sets_never_meet(batch: Batch, data: ImageData, starts: list[GaussianMixture]) -> None:
    """Other images in half 2 leave the mixture of half 1 as it is, bit for bit.

    All share one grey level, which the other images have too.
    """
    other = batch.images.clone()
    other[1::2] *= -1.0
    changed = reading(Batch(batch.index, other, batch.poses, batch.optics))
    a, b = fit_images(data, starts, SCHEDULE), fit_images(changed, starts, SCHEDULE)
    assert torch.equal(a.mixtures[1].means, b.mixtures[1].means)
    assert not torch.equal(a.mixtures[2].means, b.mixtures[2].means)
    assert not torch.equal(a.mixtures[0].means, b.mixtures[0].means)


def test_the_mixture_of_all_does_not_need_those_of_the_halves(
    data: ImageData, starts: list[GaussianMixture]
) -> None:
    (alone,) = fit_images(data, starts[:1], SCHEDULE).mixtures
    assert torch.equal(alone.means, fit_images(data, starts, SCHEDULE).mixtures[0].means)


def test_every_image_is_read_once_where_all_fit_into_memory(batch: Batch) -> None:
    times: list[int] = []
    plain = reading(batch)

    def read(index: torch.Tensor) -> Iterator[Batch]:
        times.append(len(index))
        yield from plain.read(index)

    data = replace(plain, read=read)
    fit_images(data, [some_blobs(5, 1)], SCHEDULE)
    assert times.count(40) <= 2  # the grey level, and both epochs


@pytest.mark.parametrize("shape", ["anisotropic", "isotropic"])
def test_gaussians_are_split_after_an_epoch(shape: str, data: ImageData) -> None:
    schedule = replace(SCHEDULE, split_after=(1,), shape=shape)
    found = fit_images(data, [some_blobs(6, 1)], schedule)
    assert [e.gaussians for e in found.epochs] == [6, 12]
    (mixture,) = found.mixtures
    assert len(mixture) == 12
    assert bool((mixture.scales == mixture.scales[:, :1]).all()) == (shape == "isotropic")


def test_one_mixture_or_three(data: ImageData) -> None:
    with pytest.raises(SettingsError, match="2 mixtures to start from, expected 1"):
        fit_images(data, [some_blobs(5, 1)] * 2, SCHEDULE)


def test_splitting_keeps_mass_mean_and_covariance() -> None:
    mixture = some_blobs(7, 4)
    halves = split(mixture)
    assert len(halves) == 14
    a, b = halves.select(torch.arange(7)), halves.select(torch.arange(7, 14))
    torch.testing.assert_close(a.amplitudes + b.amplitudes, mixture.amplitudes)
    torch.testing.assert_close(0.5 * (a.means + b.means), mixture.means)
    offsets = a.means - mixture.means
    covariances = a.covariances() + offsets[:, :, None] * offsets[:, None, :]
    torch.testing.assert_close(covariances, mixture.covariances(), rtol=1e-4, atol=1e-4)
    assert bool((a.scales.amax(1) < mixture.scales.amax(1)).all())


def test_images_of_unknown_kinds_are_refused(batch: Batch) -> None:
    group = batch.optics.groups[0]
    optics = replace(
        batch.optics, groups=(group, replace(group, pixel_size=2.5)), group=(torch.arange(40) < 4)
        .long(),
    )  # fmt: skip
    data = reading(Batch(batch.index, batch.images, batch.poses, optics))
    with pytest.raises(InputError, match="is of optics group 2, but the noise is known of 1"):
        fit_images(replace(data, noise=white(GRID, NOISE)), [some_blobs(5, 1)], SCHEDULE)
    fit_images(data, [some_blobs(5, 1)], replace(SCHEDULE, epochs=1))
    with pytest.raises(InputError, match=r"come in 10 mini-batches, expected 8 .*\n.*give `kinds`"):
        fit_images(replace(data, kinds=None), [some_blobs(5, 1)], SCHEDULE)


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
        found.append(fit_images(data, [paper_start(data, 30, seeded(1))], schedule).mixtures[0])
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

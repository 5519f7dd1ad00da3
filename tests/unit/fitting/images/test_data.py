"""Images on their way to the image-space solver: bad ones are named, none is met twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
import tolerances
import torch
from image_problems import GRID, images, reading
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.errors import ImageError, InputError
from cryosplat.fitting.images import data as image_data
from cryosplat.fitting.images.data import (
    ImageData,
    Order,
    Pool,
    epoch_pools,
    grey_level,
    planned,
    pools,
)

CPU = torch.device("cpu")


def _pools(batch: Batch, size: int = 4, epochs: int = 1, seed: int = 0) -> list[Pool]:
    return _read(reading(batch), Order(epochs, size, seed))


def _read(data: ImageData, order: Order, first: int = 0) -> list[Pool]:
    return list(pools(data, order, planned(data, order)[first:], CPU))


def _met(found: list[Pool]) -> list[list[int]]:
    return [seen.index.tolist() for pool in found for _, seen in pool.batches_from(0)]


def test_an_epoch_meets_every_image_once() -> None:
    met = _met(_pools(images(30)))
    assert sorted(chain(*met)) == list(range(30))
    assert list(chain(*met)) != list(range(30))


def test_a_batch_holds_one_half_set_and_about_its_size() -> None:
    batch = images(30)
    half_sets = reading(batch).half_sets
    for pool in _pools(batch, size=4):
        for half, seen in pool.batches_from(0):
            assert set(half_sets[seen.index].tolist()) == {half}
            assert len(seen) in (3, 4)


def test_the_order_is_that_of_the_seed_and_the_epoch() -> None:
    batch = images(30)
    first, again = _pools(batch, epochs=2), _pools(batch, epochs=2)
    assert _met(first) == _met(again)
    assert _met(first[:1]) != _met(first[1:])
    assert _met(first) != _met(_pools(batch, epochs=2, seed=1))


def test_a_large_set_is_read_in_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_data, "POOL_BYTES", 10 * 4 * 32**2)
    monkeypatch.setattr(image_data, "BLOCK_BYTES", 2 * 4 * 32**2)
    found = _pools(images(35), epochs=2)
    assert [(p.part.epoch, p.part.number) for p in found] == [
        (e, n) for e in range(2) for n in range(4)
    ]
    assert sorted(chain(*_met(found[:4]))) == list(range(35))
    assert max(sum(len(b) for b in p.blocks) for p in found) <= 10
    parts = epoch_pools(torch.arange(35), 32, 0, 0)
    pairs = [set(part.tolist()) for part in parts]
    assert any({2 * i, 2 * i + 1} <= p for p in pairs for i in range(17))  # neighbours stay so


def test_what_is_read_later_does_not_depend_on_where_one_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(image_data, "POOL_BYTES", 10 * 4 * 32**2)
    batch = images(35)
    whole = _pools(batch, epochs=2)
    later = _read(reading(batch), Order(2, 4, 0), first=5)
    assert _met(later) == _met(whole[5:])


def test_images_are_transformed_with_their_sign() -> None:
    batch = images(3)
    data = reading(batch)
    bright = image_data.observe(batch, data).transforms
    expected = torch.fft.rfft2(batch.images)
    scale = float(expected.abs().max())
    torch.testing.assert_close(bright / scale, expected / scale, rtol=0.0, atol=tolerances.FFT)
    dark = image_data.observe(batch, replace(data, sign=-1.0)).transforms
    torch.testing.assert_close(dark, -bright)


def test_the_grey_level_is_the_root_mean_square_of_the_pixels() -> None:
    batch = images(12)
    expected = float(batch.images.double().square().mean().sqrt())
    assert grey_level(reading(batch)) == pytest.approx(expected, rel=tolerances.SUM_FLOAT32)


def _spoilt(where: int, value: float) -> Batch:
    batch = images(20)
    pixels: Tensor = batch.images.clone()
    pixels[where, 3, 5] = value
    return Batch(batch.index, pixels, batch.poses, batch.optics)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_that_is_not_finite_is_named(value: float) -> None:
    with pytest.raises(ImageError, match=r"^particle 13 .*pixels that are NaN or infinite \(1 of"):
        _pools(_spoilt(13, value))
    named = replace(reading(_spoilt(13, value)), name=lambda i: f"a.star row {i + 1}")
    with pytest.raises(ImageError, match=r"^a.star row 14: has pixels"):
        _read(named, Order(1, 4, 0))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_an_image_without_a_ctf_is_named(value: float) -> None:
    batch = images(20)
    scale = batch.optics.scale.clone()
    scale[4] = value
    batch = Batch(batch.index, batch.images, batch.poses, replace(batch.optics, scale=scale))
    with pytest.raises(ImageError, match=r"^particle 4 .*CTF that is zero, or no number"):
        _pools(batch)


def test_an_empty_half_set_is_an_error() -> None:
    data = replace(reading(images(6)), half_sets=torch.full((6,), 2))
    with pytest.raises(InputError, match="half-set 1 holds 0 and half-set 2 6 particles"):
        data.used()


def test_a_single_particle_is_named() -> None:
    data = replace(reading(images(1)), half_sets=torch.ones(1))
    with pytest.raises(InputError, match=r"half-set 2 0 particles.* particle 0 \(counted from 0\)"):
        data.used()


def test_the_grid_of_the_images_need_not_be_the_maps() -> None:
    """Images of two pixel sizes never share a batch."""
    batch = images(12)
    group = batch.optics.groups[0]
    groups = (group, replace(group, pixel_size=2.5))
    optics = replace(batch.optics, groups=groups, group=(torch.arange(12) % 3 == 0).long())
    batch = Batch(batch.index, batch.images, batch.poses, optics)
    sizes = set()
    for pool in _pools(batch, size=5):
        for _, seen in pool.batches_from(0):
            assert len(seen.optics.of_group("pixel_size").unique()) == 1
            sizes.add(seen.grid.pixel_size)
    assert sizes == {2.0, 2.5} and GRID.pixel_size == 2.0

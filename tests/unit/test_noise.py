"""The noise model: variance per shell, background levels, and when images are normalised."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
import tolerances
import torch
from problems import (
    GROUP,
    blobs,
    no_optics,
    noise_model,
    random_batch,
    random_optics,
    simulated_batch,
)
from torch import Tensor

from cryosplat import fourier
from cryosplat.batch import Batch
from cryosplat.errors import ImageError
from cryosplat.grid import Grid
from cryosplat.noise import (
    NoiseModel,
    background_levels,
    blank_corners,
    estimate_noise,
    estimate_noise_of_groups,
)
from cryosplat.optics import OpticsGroup, ctf
from cryosplat.poses import random_poses
from cryosplat.splatting import voxelize

BOX = 32
N = 120
EDGE = 3.2  # from half power to the end of an edge of five pixels


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def _batch(images: Tensor) -> Batch:
    n, box, _ = images.shape
    group = OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1)
    poses = random_poses(n, torch.Generator().manual_seed(0))
    return Batch(torch.arange(n), images, poses, no_optics(n, group))


def _white(generator: torch.Generator, box: int = BOX) -> Tensor:
    return torch.randn(N, box, box, generator=generator)


@pytest.mark.parametrize("box", [32, 33])
def test_white_noise_has_the_variance_of_its_pixels(box: int, generator: torch.Generator) -> None:
    model = estimate_noise([_batch(_white(generator, box))])
    assert not model.normalise
    assert model.variance[0].shape == (box // 2 + 1,)
    torch.testing.assert_close(
        model.variance[0][3:] / box**2, torch.ones(box // 2 - 2).double(),
        **tolerances.NOISE_SPECTRUM,
    )  # fmt: skip
    assert float(model.variance[0][:3].max()) < 1.2 * box**2
    assert float(model.variance[0][1:].mean()) == pytest.approx(
        box**2, rel=tolerances.SAMPLE_VARIANCE
    )


def test_coloured_noise_has_its_spectrum(generator: torch.Generator) -> None:
    shells = fourier.shells((BOX, BOX))
    gain = (1.6 - 0.06 * shells).clamp_min(0.5)
    images = torch.fft.irfft2(torch.fft.rfft2(_white(generator)) * gain, s=(BOX, BOX))
    model = estimate_noise([_batch(images)])
    level = 1.0 if not model.normalise else float(images.var())
    expected = torch.tensor([float(gain[shells == s].square().mean()) for s in range(BOX // 2 + 1)])
    found = model.variance[0] * level / BOX**2
    # the first shells: the background's mean is taken away, and their neighbours stand in for them
    # and the last one: the window mixes it with its louder neighbours
    inner = slice(3, BOX // 2)
    torch.testing.assert_close(found[inner], expected[inner].double(), **tolerances.NOISE_SPECTRUM)
    assert float(found[0]) > 0.6 * float(expected[0])


def test_the_particle_does_not_count_as_noise(generator: torch.Generator) -> None:
    grid = Grid(BOX, 2.0)
    volume = voxelize(blobs(30, 12.0, generator), grid)
    volume = (volume * 3.0 / float(volume.sum(0).max())).float()
    batch = simulated_batch(volume, grid, N, 1.0, generator)
    model = estimate_noise([batch])
    assert float(batch.images.var()) > 1.1
    assert float(model.variance[0][4:].mean()) == pytest.approx(
        BOX**2, rel=2 * tolerances.SAMPLE_VARIANCE
    )


@pytest.mark.parametrize(
    ("offset", "factor"), [(0.0, 7.0), (40.0, 1.0), (-3.0, 0.01), (1e4, 250.0)]
)
def test_images_at_another_level_are_normalised(
    offset: float, factor: float, generator: torch.Generator
) -> None:
    images = _white(generator)
    model = estimate_noise([_batch(images * factor + offset)])
    assert model.normalise
    normalised = model.normalised(_batch(images * factor + offset))
    mean, deviation = background_levels(images)
    expected = (images - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(normalised, expected, rtol=0.0, atol=1e-6 * (1e2 + abs(offset)))
    assert float(model.variance[0].mean()) == pytest.approx(BOX**2, rel=0.1)


def test_images_of_changing_levels_are_normalised_each_by_its_own(
    generator: torch.Generator,
) -> None:
    images = _white(generator) * (0.5 + torch.rand(N, 1, 1, generator=generator))
    model = estimate_noise([_batch(images)])
    assert model.normalise
    mean, deviation = background_levels(model.normalised(_batch(images)))
    assert float(mean.abs().max()) < 1e-5
    assert float((deviation - 1).abs().max()) < 1e-5


def test_normal_images_are_left_alone(generator: torch.Generator) -> None:
    batch = _batch(_white(generator))
    assert estimate_noise([batch]).normalised(batch) is batch.images


def test_constant_backgrounds_do_not_divide_by_zero() -> None:
    images = torch.zeros(4, BOX, BOX) + 5.0
    images[:, 12:20, 10:22] += torch.arange(1.0, 5.0)[:, None, None]
    mean, deviation = background_levels(images)
    assert torch.equal(mean, torch.full((4,), 5.0)) and torch.equal(deviation, torch.ones(4))
    model = estimate_noise([_batch(images)])
    assert bool(torch.isfinite(model.normalised(_batch(images))).all())
    assert bool((model.variance[0] > 0).all()) and bool(torch.isfinite(model.variance[0]).all())


def _cut(images: Tensor, radius: float) -> Tensor:
    """Images cut to a circle, over five pixels."""
    axis = torch.arange(images.shape[-1]) - images.shape[-1] // 2
    distance = torch.hypot(axis[:, None].float(), axis[None].float())
    return images * (0.5 - 0.5 * torch.cos(torch.pi * ((radius - distance) / 5).clamp(0, 1)))


@pytest.mark.parametrize(
    ("box", "radius"), [(48, 24.0), (64, 32.0), (64, 27.0), (64, 20.0), (64, 40.0)]
)
def test_noise_of_images_cut_to_a_circle_is_that_inside(
    box: int, radius: float, generator: torch.Generator
) -> None:
    whole, cut = _white(generator, box), _cut(_white(generator, box), radius)
    model = estimate_noise([_batch(cut + 0.05)], cut=True)
    assert model.circles == pytest.approx((radius - EDGE,), abs=0.5) and not model.normalise
    mean, deviation = model.levels(_batch(cut + 0.05))
    torch.testing.assert_close(mean, torch.full((N,), 0.05))
    assert float(deviation.median()) == pytest.approx(1.0, abs=0.05)
    area = float(_cut(torch.ones_like(whole), radius)[0].square().sum())
    found = model.variance[0][4:]
    torch.testing.assert_close(
        found / area, torch.ones_like(found), rtol=0.25, atol=0.0
    )  # a narrow ring
    assert float(found.mean()) == pytest.approx(area, rel=0.08)
    assert estimate_noise([_batch(whole)], cut=True).circles == ()
    assert bool(blank_corners(cut + 0.05).all()) and not bool(blank_corners(whole).any())


def test_a_particle_without_noise_is_no_circle(generator: torch.Generator) -> None:
    grid = Grid(48, 2.0)
    for extent in (4.0, 8.0, 14.0):
        volume = voxelize(blobs(40, extent, generator), grid).float()
        batch = simulated_batch(volume, grid, 20, 0.0, generator)
        small = batch.images.abs() > 1e-2 * batch.images.abs().amax()
        batch = replace(batch, images=batch.images * small)
        assert bool(blank_corners(batch.images).all())
        assert estimate_noise([batch], cut=True).circles == ()


@pytest.mark.parametrize("radius", [0.0, 24.0])
def test_noise_of_premultiplied_images_is_that_before(
    radius: float, generator: torch.Generator
) -> None:
    """Noise times the CTF of larger images, cut out."""
    box, large = 48, 96
    optics = random_optics(
        N, (replace(GROUP, box_size=box, processing="premultiplied"),), generator
    )
    cycles = torch.stack(
        torch.meshgrid(torch.fft.rfftfreq(large), torch.fft.fftfreq(large), indexing="xy"), -1
    )
    transfer = ctf(optics, cycles.double() / GROUP.pixel_size).float()
    white = 0.5 * _white(generator, large)
    stored = torch.fft.irfft2(torch.fft.rfft2(white) * transfer, s=(large, large))
    stored = stored[:, 24:72, 24:72]
    images = _cut(stored, radius) if radius else stored
    batch = Batch(torch.arange(N), images, random_poses(N, generator), optics)
    model = estimate_noise([batch], cut=radius > 0.0)
    assert model.normalise
    assert model.circles == (pytest.approx((radius - EDGE,), abs=0.5) if radius else ())
    assert float(model.levels(batch)[1].median()) == pytest.approx(0.5, rel=0.05)
    shown = float(_cut(torch.ones(1, box, box), radius).square().sum()) if radius else box**2
    found = model.variance[0][4:]
    assert float(found.mean()) == pytest.approx(shown, rel=0.1)
    assert float((found / shown - 1).abs().max()) < 0.4


def test_images_without_noise_get_a_finite_weight(generator: torch.Generator) -> None:
    grid = Grid(BOX, 2.0)
    batch = simulated_batch(voxelize(blobs(9, 8.0, generator), grid).float(), grid, 20, 0.0,
                            generator)  # fmt: skip
    model = estimate_noise([batch])
    precision = model.precision(BOX)
    assert (precision > 0).all() and (precision < float("inf")).all()


def test_each_optics_group_has_its_own_noise(generator: torch.Generator) -> None:
    groups = (GROUP, OpticsGroup("b", 2.0, 30, 300e3, 2.7e7, 0.1),
              OpticsGroup("no images", 2.0, 24, 300e3, 2.7e7, 0.1))  # fmt: skip
    first, second = (random_batch(80, groups, generator, group) for group in (0, 1))
    louder = Batch(second.index, 1.1 * second.images, second.poses, second.optics)
    model = estimate_noise([first, louder])
    assert [len(v) for v in model.variance] == [13, 16, 0]
    assert float(model.variance[0][1:].mean()) == pytest.approx(24**2, rel=0.06)
    assert float(model.variance[1][1:].mean()) == pytest.approx(1.21 * 30**2, rel=0.06)


def test_groups_are_held_one_at_a_time(generator: torch.Generator) -> None:
    groups = tuple(replace(GROUP, name=name) for name in "abc")
    batches = [random_batch(20, groups, generator, group) for group in range(3)]
    together = estimate_noise(batches)
    alive: list[weakref.ref[Tensor]] = []

    def samples() -> Iterator[list[Batch]]:
        for batch in batches:
            assert not any(reference() is not None for reference in alive)
            images = batch.images.clone()
            alive.append(weakref.ref(images))
            sample = [replace(batch, images=images)]
            del images
            yield sample
            del sample

    apart = estimate_noise_of_groups(samples())
    assert apart.normalise == together.normalise
    for one, other in zip(apart.variance, together.variance, strict=True):
        assert torch.equal(one, other)


def test_the_precision_of_groups_with_another_box_is_zero() -> None:
    groups = (GROUP, OpticsGroup("b", 2.0, 30, 300e3, 2.7e7, 0.1))
    model = noise_model(groups)
    table = model.precision(24)
    assert table.shape == (2, 13)
    assert (table[1] == 0).all()
    assert table[0].numpy() == pytest.approx(1.0 / model.variance[0].numpy())


def test_no_images_are_an_error() -> None:
    with pytest.raises(ImageError, match="no images to estimate the noise from"):
        estimate_noise([])


def test_a_model_without_normalisation_returns_the_images_themselves() -> None:
    batch = _batch(torch.ones(2, 8, 8))
    assert NoiseModel((torch.ones(5).double(),), False).normalised(batch) is batch.images

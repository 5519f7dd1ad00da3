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
    Levels,
    NoiseModel,
    background_levels,
    blank_corners,
    estimate_noise,
    estimate_noise_of_groups,
    fitted_background,
    prepare,
)
from cryosplat.optics import OpticsGroup, ctf
from cryosplat.poses import random_poses
from cryosplat.splatting import voxelize

SEED = 4

BOX = 32
N = 120
EDGE = 3.2  # from half power to the end of an edge of five pixels


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
    assert model.variance[0].shape == (box // 2 + 1,)
    torch.testing.assert_close(
        model.variance[0][3:] / box**2, torch.ones(box // 2 - 2).double(),
        **tolerances.NOISE_SPECTRUM,
    )  # fmt: skip
    assert float(model.variance[0][1:3].max()) < 1.4 * box**2
    assert float(model.variance[0][1:].mean()) == pytest.approx(
        box**2, rel=tolerances.SAMPLE_VARIANCE
    )


def test_coloured_noise_has_its_spectrum(generator: torch.Generator) -> None:
    shells = fourier.shells((BOX, BOX))
    gain = (1.6 - 0.06 * shells).clamp_min(0.5)
    images = torch.fft.irfft2(torch.fft.rfft2(_white(generator)) * gain, s=(BOX, BOX))
    model = estimate_noise([_batch(images)])
    level = float(images.var())
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
    normalised = model.normalised(_batch(images * factor + offset))
    expected = fitted_background(images).taken_from(images)
    torch.testing.assert_close(normalised, expected, rtol=0.0, atol=1e-6 * (1e2 + abs(offset)))
    assert float(model.variance[0][1:].mean()) == pytest.approx(BOX**2, rel=0.1)


def test_images_of_changing_levels_are_normalised_each_by_its_own(
    generator: torch.Generator,
) -> None:
    images = _white(generator) * (0.5 + torch.rand(N, 1, 1, generator=generator))
    model = estimate_noise([_batch(images)])
    found = fitted_background(model.normalised(_batch(images)))
    assert float(found.mean.abs().max()) < 1e-5 and float(found.slope.abs().max()) < 1e-6
    assert float((found.deviation - 1).abs().max()) < 1e-5


@pytest.mark.parametrize("box", [24, 33])
def test_a_plane_changes_nothing(box: int, generator: torch.Generator) -> None:
    white = _white(generator, box)
    axis = torch.arange(box) - box // 2
    slope = torch.randn(N, 2, generator=generator)
    plane = slope[:, :1, None] * axis + slope[:, 1:, None] * axis[:, None] + 3.0
    before, after = fitted_background(white), fitted_background(white + plane)
    torch.testing.assert_close(after.slope, before.slope + slope, rtol=0.0, atol=1e-4)
    torch.testing.assert_close(after.mean, before.mean + 3.0, rtol=0.0, atol=1e-4)
    flat = before.taken_from(white)
    torch.testing.assert_close(after.taken_from(white + plane), flat, rtol=0.0, atol=2e-4)


@pytest.mark.parametrize("box", [24, 33])
def test_the_error_of_the_plane_counts_as_noise(box: int, generator: torch.Generator) -> None:
    """What is told of white noise is what normalised white noise has, in the first shells too."""
    images = torch.randn(1500, box, box, generator=generator)
    model = estimate_noise([_batch(images)])
    power = fourier.transform(model.normalised(_batch(images)), 2).abs().square()
    found = fourier.shell_means(power.mean(0)[None], 2, fourier.friedel_counts(box))[0]
    torch.testing.assert_close(model.variance[0][:4], found[:4].double(), rtol=0.2, atol=0.0)


def test_carbon_in_a_corner_does_not_tilt_the_plane(generator: torch.Generator) -> None:
    images = _white(generator, 48)
    before = fitted_background(images)
    images[:, :5, :7] += 30.0
    after = fitted_background(images)
    assert float((after.slope - before.slope).abs().max()) < 0.01
    assert float((after.mean - before.mean).abs().max()) < 0.2
    assert float((after.deviation / before.deviation - 1).abs().max()) < 0.1


def test_constant_backgrounds_do_not_divide_by_zero() -> None:
    images = torch.zeros(4, BOX, BOX) + 5.0
    images[:, 12:20, 10:22] += torch.arange(1.0, 5.0)[:, None, None]
    mean, deviation = background_levels(images)
    assert torch.equal(mean, torch.full((4,), 5.0)) and torch.equal(deviation, torch.ones(4))
    model = estimate_noise([_batch(images)])
    assert bool(torch.isfinite(model.normalised(_batch(images))).all())
    assert bool((model.variance[0] > 0).all()) and bool(torch.isfinite(model.variance[0]).all())


HITS = [(3, 5, 1000.0), (20, 20, -40.0), (0, 31, 12.0)]


def test_pixels_that_stand_out_are_replaced(generator: torch.Generator) -> None:
    images = _white(generator)
    assert int(prepare(_batch(images)).outlying.sum()) == 0
    hit = images.clone()
    for y, x, value in HITS:
        hit[7, y, x] = value
    hit[9, :, 14] = -25.0  # a dead column
    found = prepare(_batch(hit))
    expected = torch.zeros(N, dtype=torch.int64)
    expected[7], expected[9] = len(HITS), BOX
    assert torch.equal(found.outlying, expected)
    assert float(found.images.abs().max()) < 7.0
    clean = prepare(_batch(images)).images
    other = torch.arange(N) != 9
    other[7] = False
    assert torch.equal(found.images[other], clean[other])
    assert float((found.images[7] - clean[7]).square().mean()) < 0.02


@pytest.mark.parametrize("level", [0.0, 0.01, 1.0])
def test_bright_particles_do_not_stand_out(level: float, generator: torch.Generator) -> None:
    grid = Grid(BOX, 2.0)
    batch = simulated_batch(
        voxelize(blobs(9, 8.0, generator), grid).float(), grid, 40, 0.0, generator
    )
    scale = 30.0 / float(batch.images.abs().max())
    noise = level * torch.randn(batch.images.shape, generator=generator)
    images = scale * batch.images + noise
    assert int(prepare(replace(batch, images=images)).outlying.sum()) == 0


def test_an_image_unlike_the_others_is_known(generator: torch.Generator) -> None:
    images = _white(generator) * torch.rand(N, 1, 1, generator=generator)
    images[5, 8:24, 8:24] += 4.0  # a crystal, not a level
    images[6] *= 100.0
    batch = _batch(images)
    model = estimate_noise([batch])
    levels = Levels.of(batch.index, batch.optics.group, model.prepared(batch))
    unlike = levels.unlike(model.powers)
    assert unlike.nonzero().flatten().tolist() == [5]
    clean = estimate_noise([batch.select((torch.arange(N) != 5).nonzero().flatten())])
    torch.testing.assert_close(model.variance[0], clean.variance[0])


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
    assert model.circles == pytest.approx((radius - EDGE,), abs=0.5)
    background = model.prepared(_batch(cut + 0.05)).background
    torch.testing.assert_close(background.mean, torch.full((N,), 0.05))
    assert not bool(background.slope.any())
    assert float(background.deviation.median()) == pytest.approx(1.0, abs=0.05)
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
    assert model.circles == (pytest.approx((radius - EDGE,), abs=0.5) if radius else ())
    assert float(model.prepared(batch).background.deviation.median()) == pytest.approx(
        0.5, rel=0.05
    )
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
    assert float(model.variance[1][1:].mean()) == pytest.approx(30**2, rel=0.06)
    variance = model.variance[1]
    model = estimate_noise([second])
    torch.testing.assert_close(model.variance[1], variance, rtol=1e-4, atol=0.0)


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

"""The noise model: variance per shell, background levels, and when images are normalised."""

from __future__ import annotations

import pytest
import tolerances
import torch
from problems import GROUP, blobs, no_optics, noise_model, random_batch, simulated_batch
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.errors import ImageError
from cryosplat.grid import Grid, radial_shells
from cryosplat.noise import NoiseModel, background_levels, estimate_noise
from cryosplat.optics import OpticsGroup
from cryosplat.poses import random_poses
from cryosplat.splatting import voxelize

BOX = 32
N = 120


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
    shells = radial_shells((BOX, BOX))
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


def test_the_precision_of_groups_with_another_box_is_zero() -> None:
    groups = (GROUP, OpticsGroup("b", 2.0, 30, 300e3, 2.7e7, 0.1))
    model = noise_model(groups)
    table = model.precision(24)
    assert table.shape == (2, 13)
    assert (table[1] == 0).all()
    assert table[0] == pytest.approx(1.0 / model.variance[0].numpy())


def test_no_images_are_an_error() -> None:
    with pytest.raises(ImageError, match="no images to estimate the noise from"):
        estimate_noise([])


def test_a_model_without_normalisation_returns_the_images_themselves() -> None:
    batch = _batch(torch.ones(2, 8, 8))
    assert NoiseModel((torch.ones(5).double(),), False).normalised(batch) is batch.images

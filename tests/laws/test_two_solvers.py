"""Two data terms, one likelihood: images of a mixture against the statistics of its map."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import tolerances
import torch
from problems import ABERRATIONS, blobs, noise_model, random_batch, statistics_of
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.fitting.images.data import ImageData, Observed, observe
from cryosplat.fitting.images.term import ImageLikelihood
from cryosplat.formation import MixtureProjector, form_images
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel
from cryosplat.optics import OpticsGroup
from cryosplat.splatting import project, voxelize
from cryosplat.statistics import QuadraticForm

SEED = 3

GRID = Grid(48, 2.0)
GROUPS = (
    OpticsGroup("g", 2.0, 48, 300e3, 2.7e7, 0.1),
    OpticsGroup("finer", 1.6, 64, 200e3, 2.0e7, 0.07),
    OpticsGroup("odd", 2.2, 45, 300e3, 2.7e7, 0.1),
    OpticsGroup("aberrant", 2.05, 48, 300e3, 2.7e7, 0.1, **ABERRATIONS),
)


def _single(mixture: GaussianMixture) -> GaussianMixture:
    return GaussianMixture(
        mixture.means.float(), mixture.scales.float(), mixture.quaternions.float(),
        mixture.amplitudes.float(),
    )  # fmt: skip


def _data(noise: NoiseModel, n: int) -> ImageData:
    return ImageData(lambda index: [], torch.ones(n), GRID, noise)


def _batches(generator: torch.Generator) -> list[Batch]:
    return [
        random_batch(6, GROUPS, generator, group, first=6 * group) for group in range(len(GROUPS))
    ]


def _image_loss(mixture: GaussianMixture, batches: list[Batch], noise: NoiseModel) -> Tensor:
    data, term = _data(noise, 18), ImageLikelihood(GRID, noise.precision)
    blocks = [observe(batch, data) for batch in batches]
    return torch.stack([term(project(mixture, b.poses, b.grid), b) for b in blocks]).sum()


def test_the_image_loss_is_the_statistics_loss(generator: torch.Generator) -> None:
    """Half the weighted sum of squared residuals, pixel by pixel or as a quadratic form."""
    mixture = _single(blobs(30, 22.0, generator, width=3.2))
    mixture.amplitudes.mul_(40.0)
    batches, noise = _batches(generator), noise_model(GROUPS)
    statistics = statistics_of(batches, GRID, noise)
    gain = QuadraticForm(statistics, GRID.box_size)(voxelize(mixture, GRID))
    assert abs(float(gain)) > 0.2 * statistics.energy  # the mixture matters
    expected = statistics.energy + float(gain)
    assert float(_image_loss(mixture, batches, noise)) == pytest.approx(
        expected, rel=tolerances.TWO_SOLVERS
    )


def test_an_empty_mixture_leaves_the_energy(generator: torch.Generator) -> None:
    mixture = _single(blobs(3, 10.0, generator))
    mixture.amplitudes.zero_()
    batches, noise = _batches(generator), noise_model(GROUPS)
    found = float(_image_loss(mixture, batches, noise))
    statistics = statistics_of(batches, GRID, noise)
    assert found == pytest.approx(statistics.energy, rel=tolerances.SUM_FLOAT32)
    data, term = _data(noise, 18), ImageLikelihood(GRID, noise.precision)
    counted = sum(6 * term.n_frequencies(observe(b, data).grid) for b in batches)
    assert counted == statistics.n_frequencies


def test_the_gradients_are_the_same(generator: torch.Generator) -> None:
    """By every parameter of every Gaussian, over the images or through the quadratic form."""
    batches, noise = _batches(generator), noise_model(GROUPS)
    form = QuadraticForm(statistics_of(batches, GRID, noise), GRID.box_size)
    start = _single(blobs(20, 22.0, generator, width=3.2))
    start.amplitudes.mul_(40.0)
    gradients = []
    for loss in (
        lambda m: _image_loss(m, batches, noise), lambda m: form(voxelize(m, GRID)),
    ):  # fmt: skip
        leaves = [
            t.clone().requires_grad_()
            for t in (start.means, start.scales, start.quaternions, start.amplitudes)
        ]
        gradients.append(torch.autograd.grad(loss(GaussianMixture(*leaves)), leaves))
    for images, statistics in zip(*gradients, strict=True):
        error = float((images - statistics).norm() / statistics.norm())
        assert error < tolerances.TWO_SOLVERS_GRADIENT


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_images_of_the_forward_model_leave_no_residual(
    number: int, generator: torch.Generator
) -> None:
    """`form_images` and the data term hold the same CTF, shift and projection."""
    mixture = _single(blobs(25, 20.0, generator))
    batch = random_batch(5, GROUPS, generator, number)
    box = GROUPS[number].box_size
    images = form_images(MixtureProjector(mixture), batch.poses, batch.optics, box)
    formed = Batch(batch.index, images, batch.poses, batch.optics)
    # a map so fine that the images' own Nyquist frequency is the limit
    noise, fine = noise_model(GROUPS), Grid(256, 0.5)
    seen = observe(formed, _data(noise, 5))
    term = ImageLikelihood(fine, noise.precision)
    rendered = project(mixture, seen.poses, seen.grid)
    energy = float(term(torch.zeros_like(rendered), seen))
    assert float(term(rendered, seen)) < tolerances.SAME_IMAGES**2 * energy


def _definition(images: Tensor, term: ImageLikelihood, seen: Observed) -> tuple[Tensor, Tensor]:
    """Value and gradient by the definition, which is what other dtypes and devices use."""
    exact = images.double().requires_grad_()
    value = term(exact, seen)
    return value.detach(), torch.autograd.grad(value, exact)[0]


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_the_kernel_is_the_definition(number: int, generator: torch.Generator) -> None:
    noise = noise_model(GROUPS)
    seen = observe(random_batch(3, GROUPS, generator, number), _data(noise, 3))
    term = ImageLikelihood(GRID, noise.precision)
    images = torch.randn(3, *(2 * [seen.grid.box_size]), generator=generator)
    expected, by_pixels = _definition(images, term, seen)
    single = images.clone().requires_grad_()
    value = term(single, seen)
    (gradient,) = torch.autograd.grad(value, single)
    assert float(value.detach()) == pytest.approx(float(expected), rel=tolerances.SUM_FLOAT32)
    error = (gradient - by_pixels).abs().max() / by_pixels.abs().max()
    assert float(error) < tolerances.RESIDUAL_KERNEL


def test_the_definition_has_the_gradient_of_its_value(generator: torch.Generator) -> None:
    group = (OpticsGroup("small", 2.0, 8, 300e3, 2.7e7, 0.1),)
    noise = noise_model(group)
    data = ImageData(lambda index: [], torch.ones(2), Grid(8, 2.0), noise)
    seen = observe(random_batch(2, group, generator), data)
    term = ImageLikelihood(Grid(8, 2.0), noise.precision)
    images = torch.randn(2, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: term(x, seen), (images,))


def test_the_definition_is_the_sum_over_pixels_for_white_noise(
    generator: torch.Generator,
) -> None:
    """Parseval: with noise of deviation s, half the sum of squares of the band's pixels over s^2."""
    group = (OpticsGroup("small", 2.0, 32, 300e3, 2.7e7, 0.1),)
    noise = NoiseModel((torch.full((17,), (2.5 * 32) ** 2, dtype=torch.float64),), False)
    grid = Grid(32, 2.0)
    batch = random_batch(4, group, generator)
    seen = observe(batch, ImageData(lambda index: [], torch.ones(4), grid, noise))
    value = float(ImageLikelihood(grid, noise.precision)(torch.zeros(4, 32, 32), seen))
    transform = scipy.fft.fftn(batch.images.double().numpy(), axes=(1, 2))
    k = np.fft.fftfreq(32) * 32
    transform[:, k[:, None] ** 2 + k**2 >= 16**2] = 0.0
    pixels = scipy.fft.ifftn(transform, axes=(1, 2)).real
    assert value == pytest.approx(0.5 * (pixels**2).sum() / 2.5**2, rel=tolerances.SUM_FLOAT32)

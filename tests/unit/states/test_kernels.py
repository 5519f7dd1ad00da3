"""Many maps at once against one at a time: slices, likelihoods, statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tolerances
import torch
from pretended_device import pretended_device
from problems import GROUP, noise_model, random_batch

from cryosplat import gridding
from cryosplat.grid import Grid
from cryosplat.optics import OpticsGroup
from cryosplat.states import _device
from cryosplat.states._expectation import (
    Assumptions,
    Products,
    expected,
    log_likelihoods,
    products_with,
)
from cryosplat.states._grids import convolved, statistics_of
from cryosplat.states.observations import Observations, Observer
from cryosplat.statistics import Accumulator, QuadraticForm, weighted_images

GRID = Grid(GROUP.box_size, GROUP.pixel_size)
N = 7


@pytest.fixture(scope="module")
def noise():
    return noise_model((GROUP,))


@pytest.fixture(scope="module")
def batch():
    return random_batch(N, (GROUP,), torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def seen(batch, noise) -> Observations:
    observer = Observer(N, GRID, noise)
    observer.add(batch)
    return observer.result()


@pytest.mark.parametrize("n_maps", [1, 3, 8, 11])
def test_products_are_those_of_slices(seen, batch, noise, n_maps: int) -> None:
    maps = torch.randn(n_maps, *(GRID.box_size,) * 3, generator=torch.Generator().manual_seed(2))
    found = products_with(seen, np.arange(N), maps, pairs=True)
    images = weighted_images(batch, GRID, noise)
    steps = 2.0 * batch.poses.rotations[:, :2]
    radii = torch.full((N,), images.radius)
    weight = torch.full((GRID.box_size // 2 + 1,), 2.0)
    weight[0] = 1.0
    slices = torch.stack([
        gridding.slices(gridding.padded_transform(v), steps, radii, GRID.box_size) for v in maps
    ], 1)  # fmt: skip
    linear = (weight * (images.values[:, None] * slices.conj()).real).sum((2, 3))
    power = torch.einsum(
        "x,nyx,njyx,nlyx->njl", weight.cfloat(), images.precisions.cfloat(), slices, slices.conj()
    ).real
    assert float((found.linear - linear).abs().max() / linear.abs().max()) < tolerances.GRIDDING
    assert float((found.power - power).abs().max() / power.abs().max()) < tolerances.GRIDDING
    diagonal = products_with(seen, np.arange(N), maps)
    assert torch.allclose(diagonal.power, found.own, rtol=1e-4)


def test_statistics_are_those_that_are_accumulated(seen, batch, noise) -> None:
    weights = torch.rand(N, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    b, transfer = statistics_of(seen, np.arange(N), weights, weights)
    for j in range(3):
        sums = Accumulator(GRID, noise)
        sums.add(batch, weights[:, j])
        own = sums.result()
        worst = (b[j] - own.backprojection).abs().max() / own.backprojection.abs().max()
        assert float(worst) < tolerances.GRIDDING
        assert float((transfer[j] - own.transfer).abs().max() / own.transfer.abs().max()) < 1e-4
        form = QuadraticForm(own, GRID.box_size)
        volume = torch.randn(1, *(GRID.box_size,) * 3)
        both = convolved(volume, transfer[j : j + 1])[0], form.convolve(volume[0])
        assert (both[0] - both[1]).abs().max() < 1e-4 * both[0].abs().max()


def test_images_of_other_pixels_are_seen_at_their_frequencies(noise) -> None:
    """A coarser image of the same box has fewer frequencies, at the same places."""
    coarse = OpticsGroup("c", 3.0, 16, 300e3, 2.7e7, 0.1)
    batch = random_batch(N, (coarse,), torch.Generator().manual_seed(4))
    observer = Observer(N, GRID, noise_model((coarse,)))
    observer.add(batch)
    seen = observer.result()
    assert np.allclose(np.linalg.norm(seen.steps, axis=2), 2.0, atol=1e-5)
    outside = np.abs(seen.points).max(1) >= 8
    assert (seen.precisions[:, outside] == 0).all() and (seen.precisions[:, ~outside] > 0).any()


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_contrast_is_integrated_over(spread: float) -> None:
    products = Products(torch.tensor([[3.0, -1.0]]).double(), torch.tensor([[2.0, 5.0]]).double())
    found = log_likelihoods(products, spread)
    s = torch.linspace(1 - 12 * spread, 1 + 12 * spread, 20001, dtype=torch.float64)
    prior = torch.exp(-0.5 * ((s - 1) / spread) ** 2) / (spread * (2 * torch.pi) ** 0.5)
    for j in range(2):
        c, g = products.linear[0, j], products.power[0, j]
        integral = torch.trapezoid(prior * torch.exp(s * c - 0.5 * s * s * g), s).log()
        assert float(found[0, j]) == pytest.approx(float(integral), abs=1e-6)


def test_an_image_that_holds_nothing_informs_no_state() -> None:
    products = Products(torch.tensor([[-30.0, -40.0]]).double(), torch.ones(1, 2).double() * 20)
    found = expected(products, Assumptions.even(2))
    assert float(found.weights.sum()) < 1e-9
    assert float(found.evidence) == pytest.approx(np.log(0.02), abs=1e-6)


@pytest.mark.parametrize("n_maps", [1, 3])
def test_another_device_says_what_the_cpu_does(
    seen, n_maps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = torch.Generator().manual_seed(5)
    maps = torch.randn(n_maps, *(GRID.box_size,) * 3, generator=draw)
    first, second = torch.rand(2, N - 1, n_maps, generator=draw)
    rows = np.arange(1, N)
    monkeypatch.setattr(_device, "AT_ONCE", 2 * len(seen.points))  # as many images at a time

    def told(own: Observations) -> list[torch.Tensor]:
        b, transfer = statistics_of(own, rows, first, second)
        found = [b, transfer, convolved(maps.to(own.device), transfer)]
        for radius, pairs in ((np.inf, True), (0.3 * GRID.box_size, False)):
            products = products_with(own, rows, maps, radius, pairs)
            found += [products.linear, products.power]
        return [each.cpu() for each in found]

    wanted = told(seen)
    with pretended_device(monkeypatch) as device:
        found = told(replace(seen, device=device))
    for own, other in zip(found, wanted, strict=True):
        assert own.shape == other.shape
        assert float((own - other).abs().max()) < tolerances.GRIDDING * float(other.abs().max())

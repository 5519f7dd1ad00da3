"""What Gaussians leave over: confirmed by the other half-set or left out, never below plain voxels."""

from __future__ import annotations

import pytest
import torch
from problems import blobs, simulated_batch, statistics_of, white
from torch import Tensor

from cryosplat.fitting import Schedule, density, fit, start_in_density
from cryosplat.grid import Grid
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.maps.mask import spherical_mask
from cryosplat.reconstruction._maps import Maps
from cryosplat.reconstruction._residual import completed, confirmed_weights
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics
from cryosplat.validation.baseline import voxel_maps

GRID = Grid(32, 2.0)
NOISE = 3.0
MASK = spherical_mask(GRID, 22.0, 6.0)
LAW = 0.005
CLEAR = 0.2


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def truth() -> Tensor:
    volume = voxelize(blobs(60, 12.0, _seeded(6), width=1.6), GRID)
    return (volume * 40.0 / float(volume.sum(0).max())).float()


@pytest.fixture(scope="module")
def halves(truth: Tensor) -> tuple[Statistics, Statistics]:
    first, second = (
        statistics_of([simulated_batch(truth, GRID, 300, NOISE, _seeded(s))], GRID, white(GRID, NOISE))
        for s in (7, 8)
    )  # fmt: skip
    return first, second


@pytest.fixture(scope="module")
def voxels(halves: tuple[Statistics, Statistics]) -> Maps:
    return Maps(*voxel_maps(halves))


def _fitted(halves: tuple[Statistics, Statistics], k: int, steps: int) -> Maps:
    maps = []
    for number, part in enumerate((halves[0] + halves[1], *halves)):
        form = QuadraticForm(part, GRID.box_size)
        start = start_in_density(form, density(form), k, 1.0, _seeded(number))
        maps.append(voxelize(fit(form, start, Schedule(steps=steps)).mixture, GRID).detach())
    return Maps(*maps)


@pytest.mark.parametrize(
    ("k", "steps"),
    [
        pytest.param(4, 5, id="far too few Gaussians"),
        pytest.param(60, 2, id="stopped at once"),
        pytest.param(300, 40, id="a good fit"),
    ],
)
def test_no_map_is_below_the_voxel_baseline(
    k: int, steps: int, halves: tuple[Statistics, Statistics], voxels: Maps, truth: Tensor
) -> None:
    """The law, under one mask, in each shell where voxels show anything."""
    gaussians = _fitted(halves, k, steps)
    maps, residual = completed(gaussians, halves, voxels, MASK)
    for ours, theirs in zip(maps, voxels, strict=True):
        of_ours, of_theirs = (fourier_shell_correlation(v * MASK, truth) for v in (ours, theirs))
        clear = (of_theirs > CLEAR)[1:-1]  # no image is compared at Nyquist
        assert float((of_ours - of_theirs)[1:-1][clear].min()) > -LAW
    assert float(residual.weights.min()) >= 0.0 and float(residual.weights.max()) <= 1.0
    assert float(residual.carried[1:8].max()) > (0.3 if k == 4 else 0.0)


def _white(seed: int, gain: float = 1.0) -> Tensor:
    return gain * torch.randn(32, 32, 32, generator=_seeded(seed)) * MASK


def test_noise_that_the_other_half_does_not_show_stays_out() -> None:
    """Mixtures that hold all of the signal; residuals are noise, and so is what voxels add to it."""
    signal = _white(1)
    voxels = signal + _white(2), signal + _white(3)
    weights = confirmed_weights((signal, signal), (_white(2), _white(3)), voxels, MASK)
    assert float(weights[4:].max()) < 0.05


def test_signal_that_gaussians_missed_comes_back_with_a_wiener_weight() -> None:
    """Residual = missed signal (power 1) + noise (power 1): half of it is believed, less the doubt."""
    signal, missed = _white(1), _white(4)
    noise = _white(2), _white(3)
    left = missed + noise[0], missed + noise[1]
    voxels = signal + left[0], signal + left[1]
    weights = confirmed_weights((signal, signal), left, voxels, MASK)
    assert float((weights[5:] - 0.5).abs().max()) < 0.12
    assert -0.08 < float(weights[5:].mean() - 0.5) < 0.02


def test_half_maps_share_the_weights_and_nothing_else(
    halves: tuple[Statistics, Statistics], voxels: Maps
) -> None:
    """Half-map 1 is a function of its own Gaussians, its own data, the penalty and the mask."""
    gaussians = _fitted(halves, 20, 5)
    one, weights_one = completed(gaussians, halves, voxels, MASK)
    changed = halves[0], halves[1] + halves[1].inverted() * 0.3
    two, weights_two = completed(gaussians, changed, voxels, MASK)
    assert not torch.equal(weights_one.weights, weights_two.weights)
    again = weights_one.added([gaussians.half1], [halves[0]], MASK)[0]
    assert torch.equal(again, one.half1)
    exchanged = weights_two.added([gaussians.half1], [halves[0]], MASK)[0]
    assert torch.equal(exchanged, two.half1)

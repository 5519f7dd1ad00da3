"""Sharpening: known B-factors come back, and Gaussians agree with the filter."""

from __future__ import annotations

import math

import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.errors import SettingsError
from cryosplat.grid import Grid
from cryosplat.maps.fsc import truth_from_halves
from cryosplat.maps.sharpening import (
    guinier_plot,
    share_at_floor,
    sharpen,
    sharpen_mixture,
)
from cryosplat.mixture import GaussianMixture
from cryosplat.splatting import voxelize

SEED = 2

GRID = Grid(48, 1.5)  # shell i is 72 / i Angstrom: the line starts at shell 8
SIZE = (48, 48, 48)
PERFECT = torch.ones(25, dtype=torch.float64)


def _blurred_noise(b_factor: float, generator: torch.Generator) -> Tensor:
    """White noise whose amplitudes fall with ``b_factor`` (square Angstrom)."""
    white = torch.fft.rfftn(torch.randn(SIZE, generator=generator, dtype=torch.float64))
    fall = torch.exp(-0.25 * b_factor * fourier.squared_radii(SIZE) / GRID.side**2)
    return torch.fft.irfftn(white * fall, s=SIZE)


def _mixture(generator: torch.Generator, k: int = 30) -> GaussianMixture:
    means = 6.0 * torch.randn(k, 3, generator=generator)
    scales = 1.5 + torch.rand(k, 3, generator=generator)
    turns = torch.nn.functional.normalize(torch.randn(k, 4, generator=generator), dim=1)
    return GaussianMixture(means, scales, turns, torch.rand(k, generator=generator) + 0.5)


def test_the_b_factor_of_blurred_noise_is_found(generator: torch.Generator) -> None:
    found = guinier_plot(_blurred_noise(90.0, generator), PERFECT, GRID)
    assert found.b_factor == pytest.approx(-90.0, abs=2.0)
    assert found.slope == found.b_factor / 4 and found.correlation < -0.99
    assert found.fit_range == (10.0, 3.0) and found.fitted
    torch.testing.assert_close(found.log_amplitude, found.log_amplitude_weighted)


def test_weights_and_range_follow_the_fsc(generator: torch.Generator) -> None:
    fsc = PERFECT.clone()
    fsc[1:15], fsc[15:] = 0.5, -0.1
    found = guinier_plot(_blurred_noise(90.0, generator), fsc, GRID)
    assert found.fit_range[1] == pytest.approx(72 / 14)
    drop = (found.log_amplitude_weighted - found.log_amplitude)[1:15]
    torch.testing.assert_close(drop, torch.full((14,), 0.5 * math.log(2 / 3), dtype=torch.float64))
    assert bool((found.log_amplitude_weighted[15:] == -math.inf).all())


def test_a_coarse_map_has_no_line(generator: torch.Generator) -> None:
    fsc = PERFECT.clone()
    fsc[10:] = 0.0
    found = sharpen(_blurred_noise(90.0, generator), fsc, GRID)
    assert not found.guinier.fitted and math.isnan(found.guinier.b_factor)
    assert found.b_factor == 0.0 and found.summary()["line"] is None


def test_sharpening_restores_what_blurring_took(generator: torch.Generator) -> None:
    sharp = _blurred_noise(0.0, generator)
    transform = torch.fft.rfftn(sharp)
    blurred = torch.fft.irfftn(
        transform * torch.exp(-0.25 * 80.0 * fourier.squared_radii(SIZE) / GRID.side**2), s=SIZE
    )
    found = sharpen(blurred, PERFECT, GRID, b_factor=-80.0)
    low = fourier.squared_radii(SIZE) <= 23**2  # the low-pass at Nyquist, shell 24, begins there
    assert found.low_pass == 3.0 and found.b_factor == -80.0
    torch.testing.assert_close(
        torch.fft.rfftn(found.map.double())[low], transform[low], rtol=1e-3, atol=1e-3
    )


def test_each_shell_is_weighted_by_its_fsc_and_the_end_is_soft(generator: torch.Generator) -> None:
    volume = _blurred_noise(0.0, generator)
    fsc = torch.linspace(1.0, 0.2, 25, dtype=torch.float64)
    found = sharpen(volume, fsc, GRID, b_factor=0.0, low_pass=6.0)
    gain = torch.fft.rfftn(found.map.double()).abs() / torch.fft.rfftn(volume).abs()
    radii = fourier.squared_radii(SIZE).sqrt()
    for shell in (3, 7, 10):
        there = gain[fourier.shells(SIZE) == shell]
        weight = truth_from_halves(fsc)[shell].expand_as(there)
        torch.testing.assert_close(there, weight, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(
        gain[radii == 12], (0.5 * truth_from_halves(fsc)[12]).expand(int((radii == 12).sum())),
        rtol=1e-3, atol=0.0,
    )  # fmt: skip
    assert float(gain[radii >= 13].max()) < 1e-5


def test_amplitudes_that_rise_are_not_blurred(generator: torch.Generator) -> None:
    rising = _blurred_noise(-60.0, generator)
    found = sharpen(rising, PERFECT, GRID)
    assert found.guinier.slope > 10.0 and found.b_factor == 0.0


def test_without_resolution_only_the_mean_is_left(generator: torch.Generator) -> None:
    fsc = torch.zeros(25, dtype=torch.float64)
    fsc[0] = 1.0
    found = sharpen(_blurred_noise(0.0, generator) + 2.0, fsc, GRID)
    assert math.isinf(found.low_pass)
    torch.testing.assert_close(found.map, torch.full(SIZE, 2.0), rtol=0.02, atol=0.0)


def test_the_summary_is_plain(generator: torch.Generator) -> None:
    found = sharpen(_blurred_noise(90.0, generator), PERFECT, GRID).summary()
    assert set(found) == {
        "b_factor", "fit_range_angstrom", "frequencies_squared", "log_amplitude",
        "log_amplitude_weighted", "line", "correlation", "b_factor_applied", "low_pass_angstrom",
    }  # fmt: skip
    assert len(found["log_amplitude"]) == len(found["frequencies_squared"]) == 25
    assert found["line"][0] == pytest.approx(found["b_factor"] / 4)
    assert found["frequencies_squared"][8] == pytest.approx(1 / 81)


@pytest.mark.parametrize("b_factor", [-60.0, 40.0])
def test_gaussians_are_sharpened_as_their_map_is(
    generator: torch.Generator, b_factor: float
) -> None:
    grid = Grid(64, 0.8)
    mixture = _mixture(generator)
    sharp = sharpen_mixture(mixture, b_factor, floor=0.4)
    gain = torch.exp(-0.25 * b_factor * fourier.squared_radii((64, 64, 64)) / grid.side**2)
    transform = torch.fft.rfftn(voxelize(mixture, grid).double()) * gain
    keep = (
        fourier.squared_radii((64, 64, 64)) < 24**2
    )  # what float32 leaves beyond is noise, amplified
    expected = torch.fft.irfftn(transform * keep, s=(64, 64, 64))
    rendered = torch.fft.rfftn(voxelize(sharp, grid).double()) * keep
    given = torch.fft.irfftn(rendered, s=(64, 64, 64))
    error = float((given - expected).abs().max() / expected.abs().max())
    assert error < tolerances.SHARPENED_GAUSSIANS
    assert share_at_floor(mixture, sharp, b_factor) == 0.0
    assert torch.equal(sharp.amplitudes, mixture.amplitudes)


def test_scales_stop_at_the_floor_and_never_grow(generator: torch.Generator) -> None:
    mixture = _mixture(generator)
    mixture.scales[0] = 0.3
    sharp = sharpen_mixture(mixture, -1000.0, floor=0.5)
    torch.testing.assert_close(sharp.scales[0], torch.full((3,), 0.3))
    torch.testing.assert_close(sharp.scales[1:], torch.full((29, 3), 0.5))
    assert share_at_floor(mixture, sharp, -1000.0) == 1.0
    with pytest.raises(SettingsError, match=r"floor is 0.0 Angstrom, expected above 0"):
        sharpen_mixture(mixture, -1.0, 0.0)

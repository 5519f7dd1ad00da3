"""Reading a resolution from an FSC curve, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from cryosplat.errors import InputError, SettingsError
from cryosplat.grid import Grid
from cryosplat.maps.fsc import (
    fourier_shell_correlation,
    masked_fsc,
    resolution,
    truth_from_halves,
)

GRID = Grid(16, 2.0)  # nine shells; shell i is 32 / i Angstrom


def _curve(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_resolution_is_the_last_shell_before_the_first_drop() -> None:
    found = resolution(_curve(1, 0.9, 0.8, 0.6, 0.2, 0.9, 0.9, 0.1, 0.0), GRID, 0.5)
    assert (found.shell, found.at_nyquist, found.resolved) == (3, False, True)
    assert found.angstrom == pytest.approx(32 / 3)
    assert found.frequency == pytest.approx(3 / 32)
    assert found.crossing == pytest.approx(3.25 / 32)  # a quarter of the way from .6 to .2
    assert found.crossing_angstrom == pytest.approx(32 / 3.25)
    assert str(found) == "10.67 Å"


def test_a_curve_exactly_on_the_threshold_has_not_dropped() -> None:
    assert resolution(_curve(1, 0.5, 0.5, 0.4, 0, 0, 0, 0, 0), GRID, 0.5).shell == 2


def test_a_curve_that_never_drops_ends_at_nyquist() -> None:
    found = resolution(torch.full((9,), 0.9), GRID)
    assert (found.shell, found.at_nyquist) == (8, True)
    assert found.angstrom == pytest.approx(4.0)
    assert found.crossing == pytest.approx(GRID.nyquist)
    assert str(found) == "4.00 Å (at Nyquist)"


def test_a_curve_below_from_the_start_has_no_resolution() -> None:
    found = resolution(_curve(1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9), GRID)
    assert (found.shell, found.resolved, str(found)) == (0, False, "none")
    assert math.isinf(found.angstrom) and math.isinf(found.crossing_angstrom)


def test_an_unknown_shell_ends_the_claim() -> None:
    found = resolution(_curve(1, 0.9, 0.9, math.nan, 0.9, 0.9, 0.9, 0.9, 0.9), GRID)
    assert found.shell == 2
    assert found.crossing == pytest.approx(2 / 32)


def test_the_origin_is_not_part_of_the_scan() -> None:
    assert resolution(_curve(-1, 0.9, 0.9, 0.1, 0, 0, 0, 0, 0), GRID).shell == 2


def test_resolution_refuses_a_curve_of_another_box() -> None:
    with pytest.raises(SettingsError, match=r"shape \(5,\), expected \(9,\)"):
        resolution(torch.ones(5), GRID)


def test_truth_from_halves_at_known_points() -> None:
    expected = _curve(0.0, 0.0, 0.5002187, 0.8164966, 1.0)
    given = truth_from_halves(_curve(-0.3, 0.0, 0.143, 0.5, 1.0))
    torch.testing.assert_close(given, expected, rtol=1e-6, atol=0)


def test_a_shell_without_power_has_fsc_zero() -> None:
    flat = torch.ones(8, 8, 8)
    assert fourier_shell_correlation(flat, flat).tolist() == [1, 0, 0, 0, 0]


def test_good_half_maps_need_no_random_phases(generator: torch.Generator) -> None:
    volume = torch.randn(16, 16, 16, generator=generator)
    result = masked_fsc(volume, volume, torch.ones(16, 16, 16), generator)
    assert result.randomised_from == 9
    assert torch.equal(result.corrected, result.masked)
    assert result.inflation(GRID) == 0.0


def test_correction_starts_two_shells_after_the_first_random_one(
    generator: torch.Generator,
) -> None:
    a, b = torch.randn(2, 16, 16, 16, generator=generator)
    result = masked_fsc(a, b, torch.ones(16, 16, 16), generator)
    assert result.randomised_from == 1
    assert torch.equal(result.corrected[:3], result.masked[:3])
    noise, masked = result.randomised[3:], result.masked[3:]
    torch.testing.assert_close(result.corrected[3:], (masked - noise) / (1 - noise))


def test_maps_of_different_boxes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(8, 8, 8\) and \(16, 16, 16\).*resample"):
        fourier_shell_correlation(torch.zeros(8, 8, 8), torch.zeros(16, 16, 16))


def test_maps_with_nan_are_refused() -> None:
    broken = torch.zeros(8, 8, 8)
    broken[1, 2, 3:5] = torch.nan
    with pytest.raises(InputError, match="2 of 512 voxels of the second map are NaN"):
        fourier_shell_correlation(torch.zeros(8, 8, 8), broken)

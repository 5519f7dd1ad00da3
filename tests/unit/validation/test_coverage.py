"""Directions without particles lower the FSC with the truth by what theory says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cryosplat import fourier
from cryosplat.grid import Grid
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.validation.coverage import (
    coverage,
    known_information,
    over_all_directions,
)

SIDE = 32
HIGH = torch.full((SIDE // 2 + 1,), 0.999, dtype=torch.float64)
SHELLS = slice(6, SIDE // 2)


def _within(degrees: float) -> Tensor:
    """Which coefficients views within some degrees of the z axis show."""
    k = fourier.frequencies((SIDE,) * 3)
    height = k[..., 2].abs() / k.norm(dim=-1).clamp_min(1e-9)
    return height < math.sin(math.radians(degrees))


def _white(seed: int) -> Tensor:
    return torch.randn((SIDE,) * 3, generator=torch.Generator().manual_seed(seed)).double()


def test_nothing_is_taken_where_all_directions_are_seen_alike() -> None:
    falling = torch.linspace(1.0, 0.05, SIDE // 2 + 1, dtype=torch.float64)
    information = 3.0 * torch.ones(SIDE, SIDE, SIDE // 2 + 1, dtype=torch.float64)
    power = fourier.transform(_white(0), 3).abs().square()
    factor = coverage(information, power, falling, falling**2)
    torch.testing.assert_close(factor, torch.ones_like(factor), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("degrees", [20.0, 45.0])
def test_unseen_directions_take_the_root_of_their_share(degrees: float) -> None:
    """A map that is perfect where it is seen and empty elsewhere: the factor is its FSC."""
    seen, truth = _within(degrees).double(), _white(1)
    volume = fourier.filter(truth, seen, 3)
    factor = over_all_directions(seen, volume, HIGH, HIGH, Grid(SIDE, 2.0))
    measured = fourier_shell_correlation(volume, truth)
    torch.testing.assert_close(factor[SHELLS], measured[SHELLS], rtol=0.0, atol=0.03)
    expected = math.sqrt(math.sin(math.radians(degrees)))
    assert float(factor[SHELLS].mean()) == pytest.approx(expected, abs=0.03)


def test_power_where_nothing_is_known_counts_as_wrong() -> None:
    seen, truth = _within(30.0).double(), _white(2)
    invented = fourier.filter(_white(3), 1.0 - seen, 3)
    volume = fourier.filter(truth, seen, 3) + invented
    factor = over_all_directions(seen, volume, HIGH, HIGH, Grid(SIDE, 2.0))
    measured = fourier_shell_correlation(volume, truth)
    torch.testing.assert_close(factor[SHELLS], measured[SHELLS], rtol=0.0, atol=0.05)


def test_noise_on_what_is_seen_is_left_to_the_cross_fsc() -> None:
    """Half of the directions, signal-to-noise ratio 1: the known FSC times the root of 1/2."""
    seen = _within(30.0).double()
    power = fourier.transform(_white(4), 3).abs().square() * seen
    rho = torch.full_like(HIGH, 0.5**0.5)
    factor = over_all_directions(seen, fourier.inverse(
        fourier.transform(_white(4), 3) * seen, SIDE, 3), rho, rho**2, Grid(SIDE, 2.0))  # fmt: skip
    assert float(coverage(seen, power, rho, rho**2)[SHELLS].mean()) == pytest.approx(
        0.5**0.5, abs=0.03
    )
    assert float(factor[SHELLS].mean()) == pytest.approx(0.5**0.5, abs=0.03)


def test_a_mask_spreads_what_is_known_over_its_width() -> None:
    """Information on one plane of frequencies: within a mask a fifth as wide, on five beside it."""

    class Form:
        grid = Grid(SIDE, 2.0)
        transfer = torch.zeros(2 * SIDE, 2 * SIDE, SIDE + 1)

    Form.transfer[0] = 1.0
    ball = (fourier.distances((SIDE,) * 3) < SIDE / 10).float()
    known = known_information(Form, ball)  # type: ignore[arg-type]
    column = known[:, 0, 0] / known[0, 0, 0]
    assert known.shape == (SIDE, SIDE, SIDE // 2 + 1)
    assert float(column[2]) > 0.5 and float(column[8]) < 0.15
    whole = known_information(Form, torch.ones((SIDE,) * 3))[:, 0, 0]  # type: ignore[arg-type]
    assert float(whole[2] / whole[0]) < 0.1

"""Expected costs: their order of magnitude, and how they grow."""

from __future__ import annotations

import pytest

from cryosplat.estimate import expected_cost


def test_memory_of_128_pixels_is_about_two_gigabytes() -> None:
    assert 1.4e9 < expected_cost(4000, 128, 2).memory < 3e9


def test_time_grows_with_particles_and_shrinks_with_threads() -> None:
    few, many = expected_cost(1000, 128, 2), expected_cost(101_000, 128, 2)
    assert many.seconds - few.seconds == pytest.approx(100_000 / 1500, rel=0.5)
    assert expected_cost(1000, 128, 4).seconds == pytest.approx(few.seconds / 2)


def test_ten_float_maps_fit_into_the_expected_disk() -> None:
    assert expected_cost(1000, 100, 2).disk > 10 * 4 * 100**3


def test_a_symmetry_costs_what_its_rotations_do() -> None:
    plain, c2, d7 = (expected_cost(20_000, 128, 2, name).seconds for name in ("C1", "C2", "D7"))
    assert c2 == plain  # a half turn maps the grid onto itself
    assert 20.0 < d7 - plain < 60.0

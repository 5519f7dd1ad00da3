"""Viewing directions: cells of equal area, and the score of their sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cryosplat.errors import SettingsError
from cryosplat.maps.views import sampling_score, unseen_share, view_distribution
from cryosplat.poses import Poses, random_poses, rotations_from_euler

SEED = 1


def _looking_along(directions: Tensor) -> Tensor:
    """Rotations whose third row is each of ``directions`` (n, 3)."""
    azimuth = torch.atan2(directions[:, 1], directions[:, 0])
    tilt = directions[:, 2].clamp(-1.0, 1.0).acos()
    angles = torch.stack([azimuth, tilt, torch.zeros_like(tilt)], -1)
    return torch.from_numpy(rotations_from_euler(angles.numpy()).copy())


def _around_z(n: int, tilt: float, generator: torch.Generator) -> Tensor:
    turn = 2.0 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    rows = math.sin(tilt) * turn.cos(), math.sin(tilt) * turn.sin()
    return _looking_along(torch.stack([*rows, torch.full_like(turn, math.cos(tilt))], -1))


@pytest.mark.parametrize("n_cells", [6, 100, 768])
def test_cells_have_equal_area_and_cover_the_sphere(n_cells: int) -> None:
    cells = view_distribution(random_poses(1, torch.Generator()), n_cells)
    low, high, left, right = cells.bounds.T
    areas = (high - low) * (right - left)
    expected = torch.full((n_cells,), 4.0 * math.pi / n_cells, dtype=torch.float64)
    torch.testing.assert_close(areas, expected)
    torch.testing.assert_close(cells.axes.norm(dim=1), torch.ones(n_cells, dtype=torch.float64))


def test_uniform_views_fill_all_cells_alike(generator: torch.Generator) -> None:
    views = view_distribution(random_poses(100_000, generator), 200)
    counts = views.counts.double()
    assert float(counts.sum()) == 100_000
    chi_squared = float(((counts - 500.0) ** 2 / 500.0).sum())
    assert 140 < chi_squared < 270  # 199 degrees of freedom


def test_each_view_lands_in_the_cell_around_it() -> None:
    cells = view_distribution(random_poses(1, torch.Generator()), 300)
    rotations = _looking_along(cells.axes)
    found = view_distribution(Poses(rotations, torch.zeros(300, 2)), 300)
    assert found.counts.tolist() == [1] * 300


def test_the_view_is_the_third_row_of_the_rotation(generator: torch.Generator) -> None:
    """RELION: rot and tilt are the view's azimuth and polar angle in the map, psi turns it not."""
    angles = torch.tensor([[0.7, 1.1, 0.0], [0.7, 1.1, 2.0]]).numpy()
    rotations = torch.from_numpy(rotations_from_euler(angles).copy())
    found = view_distribution(Poses(rotations, torch.zeros(2, 2)))
    axis = found.axes[int(found.counts.argmax())]
    expected = torch.tensor(
        [math.cos(0.7) * math.sin(1.1), math.sin(0.7) * math.sin(1.1), math.cos(1.1)],
        dtype=torch.float64,
    )
    assert int(found.counts.max()) == 2
    assert float(axis @ expected) > math.cos(math.radians(5.0))
    assert set(found.summary()) == {"axes", "bounds", "counts"}


def test_too_few_cells_are_refused() -> None:
    with pytest.raises(SettingsError, match="5 cells, expected at least 6"):
        view_distribution(random_poses(3, torch.Generator()), 5)


def test_uniform_views_sample_evenly(generator: torch.Generator) -> None:
    assert sampling_score(random_poses(50_000, generator).rotations) > 0.99
    assert sampling_score(random_poses(300, generator).rotations) > 0.95


def test_side_views_score_8_over_pi_squared(generator: torch.Generator) -> None:
    score = sampling_score(_around_z(50_000, 0.5 * math.pi, generator))
    assert score == pytest.approx(8.0 / math.pi**2, abs=0.01)


def test_preferred_orientations_score_low(generator: torch.Generator) -> None:
    top = _around_z(4000, 0.0, generator)
    tilted = _around_z(4000, math.radians(30.0), generator)
    mixed = torch.cat([top, random_poses(1000, generator).rotations])
    scores = [sampling_score(r) for r in (top, tilted, mixed)]
    assert scores[0] < 0.05
    assert scores[1] < 0.5
    assert scores[0] < scores[2] < 0.81
    assert sampling_score(torch.zeros(0, 3, 3)) == 0.0


def test_turning_the_map_or_the_images_changes_no_score(generator: torch.Generator) -> None:
    rotations = _around_z(20_000, math.radians(60.0), generator)
    turn = random_poses(1, generator).rotations[0]
    before = sampling_score(rotations)
    assert sampling_score(rotations @ turn) == pytest.approx(before, abs=0.02)
    in_plane = torch.from_numpy(rotations_from_euler([[0.0, 0.0, 1.0]]).copy())
    assert sampling_score(in_plane @ rotations) == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("n", [10, 50, 1000, 20_000])
def test_uniform_views_leave_no_direction_out(n: int) -> None:
    shares = [
        unseen_share(random_poses(n, torch.Generator().manual_seed(seed)).rotations)
        for seed in range(5)
    ]
    assert sum(shares) / 5 < 0.03


@pytest.mark.parametrize("degrees", [20.0, 45.0])
def test_views_near_an_axis_leave_out_a_cap(degrees: float, generator: torch.Generator) -> None:
    """Directions closer to the axis than 90 degrees less the views' spread are seen by none."""
    rotations = random_poses(100_000, generator).rotations
    near = rotations[rotations[:, 2, 2].abs() > math.cos(math.radians(degrees))]
    cap = 1.0 - math.cos(math.radians(90.0 - degrees))
    assert unseen_share(near) == pytest.approx(cap, abs=0.05)
    assert unseen_share(near[:0]) == 1.0


def test_side_views_leave_no_direction_out(generator: torch.Generator) -> None:
    assert unseen_share(_around_z(5000, 0.5 * math.pi, generator)) < 0.01

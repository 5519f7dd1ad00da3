"""Isosurface pictures: geometry, light and colour of a ball, whose picture is known."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import DISC_AREA

from cryosplat.appearance import SCALE, contour_level, on_scale, rgb
from cryosplat.report.surface import OBLIQUE, VIEWS, Painted, Surface, surface_picture

BOX, RADIUS, PIXELS, REACH = 32, 9.0, 120, 14.0


def _ball(
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = RADIUS
) -> np.ndarray:
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.sqrt((x - shift[0]) ** 2 + (y - shift[1]) ** 2 + (z - shift[2]) ** 2)
    return (1.0 / (1.0 + np.exp(2.0 * (distance - radius)))).astype(np.float32)


@pytest.mark.parametrize("view", [*VIEWS.values(), OBLIQUE])
def test_a_ball_is_a_disc_of_its_radius_from_everywhere(view: tuple) -> None:
    picture = surface_picture(Surface.of(_ball(), 0.5, REACH), view, PIXELS)
    area = picture[..., 3].sum() / 255.0 * (2 * REACH / PIXELS) ** 2
    assert area == pytest.approx(np.pi * RADIUS**2, **DISC_AREA)
    assert set(np.unique(picture[..., 3])) - {0, 255}  # edges are smoothed


def test_views_are_right_handed() -> None:
    for view in (*VIEWS.values(), OBLIQUE):
        axes = np.array(view)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=2e-3)
        assert np.linalg.det(axes) > 0.99


@pytest.mark.parametrize(
    ("name", "shift"),
    [("along z", (5, 3, 0)), ("along y", (5, 0, 3)), ("along x", (0, 5, 3))],
)  # fmt: skip
def test_what_lies_right_and_up_in_the_map_does_so_in_the_picture(name: str, shift: tuple) -> None:
    picture = surface_picture(Surface.of(_ball(shift, 3.0), 0.5, REACH), VIEWS[name], PIXELS)
    rows, columns = np.nonzero(picture[..., 3])
    scale = 2 * REACH / PIXELS
    assert columns.mean() * scale - REACH == pytest.approx(5.0, abs=0.2)
    assert REACH - rows.mean() * scale == pytest.approx(3.0, abs=0.2)


def test_the_light_comes_from_above_and_the_left() -> None:
    picture = surface_picture(Surface.of(_ball(), 0.5, REACH), VIEWS["along z"], PIXELS).astype(
        float
    )
    bright = picture[..., :3].mean(2)
    a, b = PIXELS // 2 - 22, PIXELS // 2 + 22
    assert bright[a, a] > bright[b, b] + 25


def test_nothing_is_drawn_above_the_highest_voxel() -> None:
    assert not surface_picture(Surface.of(_ball(), 1.5, REACH), OBLIQUE, 20).any()


def test_a_painted_surface_takes_its_colours_from_the_scale() -> None:
    axis = np.arange(BOX) - BOX // 2
    across = np.broadcast_to(axis.astype(np.float32), (BOX,) * 3)
    painted = Painted(np.ascontiguousarray(across), -RADIUS, RADIUS)
    picture = surface_picture(
        Surface.of(_ball(), 0.5, REACH), VIEWS["along z"], PIXELS, painted
    ).astype(float)
    middle = picture[PIXELS // 2]
    left, right = middle[PIXELS // 2 - 30], middle[PIXELS // 2 + 30]
    assert left[2] > left[0] + 40 and right[0] > right[2] + 40


def test_the_scale_of_colours_ends_in_its_stops_and_shows_the_unknown_in_grey() -> None:
    found = on_scale([0.0, 10.0, 99.0, np.nan], 0.0, 10.0)
    np.testing.assert_allclose(found[0], rgb(SCALE[0]))
    np.testing.assert_allclose(found[1:3], [rgb(SCALE[-1])] * 2)
    assert len(set(found[3])) == 1


def test_the_contour_encloses_half_of_the_mass() -> None:
    volume = np.array([4.0, 3.0, 2.0, 1.0, -7.0], np.float32)
    assert contour_level(volume) == 3.0
    assert contour_level(-np.abs(volume)) == 0.0

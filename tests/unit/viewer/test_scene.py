"""What the viewer draws: surfaces in place and facing outwards, maps made smaller or finer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from full_runs import fill_run, plain_run
from tolerances import COVARIANCE_FLOAT32, SURFACE

from cryosplat import GaussianMixture, InputError, RunFolder, read_map, write_map
from cryosplat.appearance import contour_level
from cryosplat.viewer.scene import LARGEST, Scene, ShownMap, read_scene, reduced, refined


def _gaussian(box: int, at: tuple[float, float, float], sigma: float = 3.0) -> np.ndarray:
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    squared = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def _scene(tmp_path: Path) -> Scene:
    folder = plain_run(tmp_path / "run")
    fill_run(folder)
    return read_scene(folder)


def test_a_surface_lies_where_the_map_does_and_faces_outwards() -> None:
    shown = ShownMap("a", _gaussian(32, (4, -2, 1)), 2.0, 1.0, np.ones(3))
    surface = shown.surface(np.exp(-0.5))  # one sigma: 3 voxels, 6 Angstrom
    offset = surface.points - 2.0 * np.array([4, -2, 1])
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 6.0, **SURFACE)
    outwards = offset / np.linalg.norm(offset, axis=1, keepdims=True)
    assert (surface.normals * outwards).sum(1).min() > 0.95
    a, b, c = (offset[surface.triangles[:, i]] for i in range(3))
    volume = (a * np.cross(b, c)).sum() / 6.0
    assert volume == pytest.approx(4 / 3 * np.pi * 6.0**3, rel=0.1)  # flat triangles


def test_beyond_the_map_there_is_no_surface() -> None:
    shown = ShownMap("a", _gaussian(16, (0, 0, 0)), 1.0, 1.0, np.ones(3))
    assert len(shown.surface(2.0).triangles) == 0


def test_values_are_read_where_they_are() -> None:
    shown = ShownMap("a", _gaussian(32, (4, -2, 1)), 2.0, 1.0, np.ones(3))
    found = shown.values_at(np.array([[8.0, -4.0, 2.0], [8.0, -4.0, 8.0]]))
    np.testing.assert_allclose(found, [1.0, np.exp(-0.5)], rtol=1e-6)


@pytest.mark.parametrize("box", [24, 25, 30])
@pytest.mark.parametrize("factor", [2, 3])
def test_a_smaller_map_keeps_its_centre(box: int, factor: int) -> None:
    small = reduced(_gaussian(box, (0, 0, 0), 4.0), factor)
    assert np.unravel_index(small.argmax(), small.shape) == (small.shape[0] // 2,) * 3


@pytest.mark.parametrize("box", [16, 17])
def test_a_finer_map_keeps_its_voxels_and_centre(box: int) -> None:
    coarse = _gaussian(box, (1, 2, -2), 2.0)
    fine = refined(coarse)
    assert fine.shape == (2 * box,) * 3
    first = box % 2  # the centres of both are whole voxels
    np.testing.assert_allclose(fine[first::2, first::2, first::2], coarse, atol=2e-3)


def test_large_maps_are_reduced_and_the_scene_says_so(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    side = LARGEST + 20
    write_map(folder.map, _gaussian(side, (20, 0, 0), 12.0), 1.0)
    for path in (folder.half1, folder.half2, folder.voxel_map, folder.mask):
        path.unlink()
    scene = read_scene(folder)
    assert scene.reduction == 2
    shown = scene.maps["Map"]
    assert shown.volume.shape[0] <= LARGEST and shown.pixel_size == 2.0
    surface = shown.surface(0.5)
    np.testing.assert_allclose(surface.points.mean(0), [20.0, 0.0, 0.0], atol=1.0)


def test_surfaces_are_painted_by_the_voxels_in_the_range_of_the_molecule(tmp_path: Path) -> None:
    scene = _scene(tmp_path)
    folder = RunFolder(tmp_path / "run")
    local = read_map(folder.local_resolution_voxels).data
    shown = read_map(folder.map).data
    inside = local[(shown >= contour_level(shown)) & (local > 0)]
    assert scene.local_resolution is not None
    np.testing.assert_array_equal(scene.local_resolution.volume, local)
    assert scene.local_range == pytest.approx(np.percentile(inside, (5, 95)), rel=1e-5)


def test_gaussians_come_heaviest_first_with_what_is_known_of_them(tmp_path: Path) -> None:
    gaussians = _scene(tmp_path).gaussians
    assert gaussians is not None
    assert np.all(np.diff(gaussians.amplitudes) <= 0)
    assert list(gaussians.colourings) == [
        "amplitude", "local resolution", "uncertainty of position", "width"
    ]  # fmt: skip
    heavy, light = gaussians.colours("amplitude")[[0, -1]]
    assert heavy[2] > heavy[0] and light[0] > light[2]
    opacities = gaussians.opacities()
    assert 0 < opacities.min() < opacities.max() <= 0.95


def test_covariances_are_those_of_the_mixture(tmp_path: Path) -> None:
    gaussians = _scene(tmp_path).gaussians
    assert gaussians is not None
    mixture = GaussianMixture(
        *(
            torch.from_numpy(np.ascontiguousarray(a))
            for a in (
                gaussians.means,
                gaussians.scales,
                gaussians.quaternions,
                gaussians.amplitudes,
            )
        )
    )
    expected = mixture.covariances().numpy()
    np.testing.assert_allclose(gaussians.covariances(), expected, **COVARIANCE_FLOAT32)


def test_a_plain_run_shows_what_it_has(tmp_path: Path) -> None:
    scene = read_scene(plain_run(tmp_path / "run"))
    assert list(scene.maps) == ["Map", "Half-map 1", "Half-map 2", "Voxel map"]
    assert scene.gaussians is None and scene.local_resolution is None and scene.mask is not None
    assert scene.reduction == 1
    assert scene.suggested_sigmas > 0.5 and 10.0 < scene.reach < 35.0


def test_no_run_and_no_map_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json: cannot be read"):
        read_scene(RunFolder(tmp_path))
    folder = plain_run(tmp_path / "run")
    folder.map.unlink()
    with pytest.raises(InputError, match=r"map\.mrc: absent, expected the map of a finished run"):
        read_scene(folder)

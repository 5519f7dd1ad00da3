"""Laws of the forward model: a projection is a central slice, and gridding is its adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tolerances
import torch
from problems import (
    ABERRATIONS,
    Plane,
    blobs,
    no_optics,
    noise_model,
    nufft_slices,
    random_optics,
    statistics_of,
)
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.errors import SettingsError
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.optics import Optics, OpticsGroup
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import voxelize

SEED = 1


def _images(volume: Tensor, grid: Grid, poses: Poses, optics: Optics) -> Tensor:
    box = optics.groups[int(optics.group[0])].box_size
    return form_images(VolumeProjector(volume, grid), poses, optics, box)


@pytest.mark.parametrize(
    ("box", "pixel", "grid", "aberrations"),
    [
        (24, 2.0, Grid(24, 2.0), {}),
        (25, 2.0, Grid(25, 2.0), {}),
        (30, 1.5, Grid(25, 2.0), {}),
        (24, 2.0, Grid(24, 2.0), ABERRATIONS),
    ],
)
def test_the_transform_of_an_image_is_a_central_slice(
    box: int, pixel: float, grid: Grid, aberrations: dict[str, Any], generator: torch.Generator
) -> None:
    group = OpticsGroup("g", pixel, box, 300e3, 2.7e7, 0.1, **aberrations)
    poses, optics = random_poses(5, generator, 5.0), random_optics(5, (group,), generator)
    volume = voxelize(blobs(12, 0.3 * grid.side, generator), grid)
    batch = Batch(torch.arange(5), _images(volume, grid, poses, optics), poses, optics)
    for i in range(5):
        plane = Plane(batch, i, grid)
        expected = plane.contrast * plane.ramp * nufft_slices(volume, plane.points)
        error = np.linalg.norm(plane.data - expected) / np.linalg.norm(expected)
        assert error < tolerances.SLICE


@pytest.mark.parametrize("box", [24, 25])
def test_an_image_sums_to_the_map(box: int, generator: torch.Generator) -> None:
    grid = Grid(box, 2.0)
    volume = voxelize(blobs(9, 12.0, generator), grid)
    optics = no_optics(4, OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1))
    images = _images(volume, grid, random_poses(4, generator), optics)
    sums = images.double().sum((1, 2))
    torch.testing.assert_close(sums, volume.sum().expand(4), rtol=tolerances.SLICE, atol=0.0)


@pytest.mark.parametrize("box", [24, 25])
def test_an_unturned_projection_is_the_sum_along_z(box: int, generator: torch.Generator) -> None:
    grid = Grid(box, 2.0)
    volume = voxelize(blobs(9, 11.0, generator), grid)
    poses = Poses(torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 2, dtype=torch.float64))
    optics = no_optics(1, OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1))
    image = _images(volume, grid, poses, optics)[0].double()
    expected = volume.sum(0)
    assert float((image - expected).norm() / expected.norm()) < tolerances.PROJECTION


def test_a_shift_moves_the_particle_by_its_negative(generator: torch.Generator) -> None:
    grid = Grid(24, 2.0)
    volume = voxelize(blobs(6, 8.0, generator), grid)
    optics = no_optics(1, OpticsGroup("g", 2.0, 24, 300e3, 2.7e7, 0.1))
    rotations = random_poses(1, generator).rotations
    still, moved = (
        _images(volume, grid, Poses(rotations, torch.tensor([shift]).double()), optics)[0]
        for shift in ((0.0, 0.0), (6.0, -2.0))
    )
    expected = still.roll((1, -3), (0, 1))  # pixels: -6 Angstrom along x, +2 along y
    error = float((moved - expected).abs().max() / expected.abs().max())
    assert error < tolerances.SLICE


def test_turning_the_map_equals_turning_the_camera(generator: torch.Generator) -> None:
    grid = Grid(25, 2.0)
    mixture = blobs(12, 12.0, generator)
    turn = random_poses(1, generator).rotations[0]
    poses = random_poses(4, generator, 3.0)
    optics = random_optics(4, (OpticsGroup("g", 2.0, 25, 300e3, 2.7e7, 0.1),), generator)
    camera = Poses(poses.rotations @ turn, poses.shifts)
    a = _images(voxelize(mixture.rotated(turn), grid), grid, poses, optics)
    b = _images(voxelize(mixture, grid), grid, camera, optics)
    assert float((a - b).norm() / b.norm()) < tolerances.PROJECTION


@pytest.mark.parametrize("box", [24, 25])
def test_gridding_is_the_adjoint_of_slicing(box: int, generator: torch.Generator) -> None:
    grid = Grid(box, 2.0)
    group = OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1)
    poses, optics = random_poses(6, generator, 4.0), random_optics(6, (group,), generator)
    images = torch.randn(6, box, box, generator=generator)
    volume = torch.randn(box, box, box, generator=generator)
    noise = noise_model((group,))
    b = statistics_of([Batch(torch.arange(6), images, poses, optics)], grid, noise).backprojection
    formed = Batch(torch.arange(6), _images(volume, grid, poses, optics), poses, optics)
    given = Batch(torch.arange(6), images, poses, optics)
    across = scale = 0.0
    for i in range(6):
        x, y = Plane(formed, i, grid), Plane(given, i, grid)
        precision = y.precision(noise.variance[0])
        across += float(np.sum(precision * (x.data.conj() * y.data).real))
        scale += float(np.sum(precision * np.abs(x.data * y.data)))
    assert float((b * volume).sum()) == pytest.approx(across, abs=tolerances.ADJOINT * scale)


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"shape \(8, 8, 9\), expected \(8, 8, 8\)"):
        VolumeProjector(torch.zeros(8, 8, 9), Grid(8, 2.0))


def test_images_of_two_groups_at_once_are_refused(generator: torch.Generator) -> None:
    groups = tuple(OpticsGroup(name, 2.0, 24, 300e3, 2.7e7, 0.1) for name in "ab")
    parts = [random_optics(1, groups, generator, group) for group in (0, 1)]
    columns = ("group", "defocus_u", "defocus_v", "defocus_angle", "phase_shift", "b_factor",
               "scale")  # fmt: skip
    both = Optics(groups, *(torch.cat([getattr(p, c) for p in parts]) for c in columns))
    projector = VolumeProjector(torch.zeros(24, 24, 24), Grid(24, 2.0))
    with pytest.raises(SettingsError, match=r"2 optics groups, expected one.*once per group"):
        form_images(projector, random_poses(2, generator), both, 24)

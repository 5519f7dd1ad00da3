"""Laws of poses: derivatives of the likelihood, steps that compose, and ascents that know no frame."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import tolerances
import torch
from problems import (
    ABERRATIONS,
    blobs,
    noise_model,
    random_batch,
    simulated_batch,
    white,
)
from torch import Tensor

from cryosplat.alignment import (
    Found,
    Prior,
    ReadyImages,
    Template,
    ball,
    changes,
    evaluated,
    refined,
    searched,
)
from cryosplat.alignment._definition import log_likelihood, turned
from cryosplat.batch import Batch
from cryosplat.errors import SettingsError
from cryosplat.grid import Grid
from cryosplat.optics import OpticsGroup
from cryosplat.poses import Poses
from cryosplat.splatting import voxelize

SEED = 11

GRID = Grid(32, 1.75)
GROUPS = (
    OpticsGroup("aberrant", 2.0, 24, 300e3, 2.7e7, 0.1, **ABERRATIONS),
    OpticsGroup("plain", 2.0, 24, 300e3, 2.7e7, 0.1),
)
LIMIT = 0.2  # 1/Angstrom


@pytest.fixture
def volume(generator: torch.Generator) -> Tensor:
    return voxelize(blobs(30, 14.0, generator, 1.6), GRID).float()


def _at_identity(batch: Batch) -> Batch:
    """The first image seen along z, where every point lies on a cell of the grid or half way."""
    rotations = batch.poses.rotations.clone()
    rotations[0] = torch.eye(3)
    return replace(batch, poses=Poses(rotations, batch.poses.shifts))


def _ready(generator: torch.Generator) -> ReadyImages:
    parts = [random_batch(3, GROUPS, generator, group) for group in (0, 1)]
    return ReadyImages.of(_at_identity(Batch.concatenate(parts)), noise_model(GROUPS))


def _moved(poses: Poses, angles: Tensor, shifts: Tensor) -> Poses:
    return Poses(turned(angles, poses.rotations), poses.shifts + shifts)


def _degrees(a: Poses, b: Poses) -> Tensor:
    return torch.rad2deg(changes(a, b)[0].norm(dim=1))


def test_likelihood_and_derivatives_are_those_of_the_definition(
    volume: Tensor, generator: torch.Generator
) -> None:
    images, template = _ready(generator), Template.of(volume, GRID, LIMIT)
    found = evaluated(images, template)
    angles = torch.zeros(len(images), 3, dtype=torch.float64, requires_grad=True)
    shifts = torch.zeros(len(images), 2, dtype=torch.float64, requires_grad=True)
    stretch, radii = images.steps(template)
    expected = log_likelihood(
        template.transform.to(torch.complex128), images.values.double(), stretch, radii,
        turned(angles, images.poses.rotations), shifts / images.pixel_sizes[:, None],
    )  # fmt: skip
    expected.sum().backward()
    pairs = (
        (found.likelihood, expected.detach()),
        (found.gradient[:, :3], angles.grad),
        (found.gradient[:, 3:], shifts.grad),
    )
    for value, definition in pairs:
        assert definition is not None
        error = (value - definition).abs().max() / definition.abs().max()
        assert error < tolerances.LIKELIHOOD_KERNEL


def test_gradient_is_that_of_finite_differences_at_the_identity_too(
    volume: Tensor, generator: torch.Generator
) -> None:
    images, template = _ready(generator), Template.of(volume, GRID, LIMIT)
    gradient = evaluated(images, template).gradient
    for unknown in range(5):
        step = torch.zeros(len(images), 5, dtype=torch.float64)
        step[:, unknown] = 1e-3
        sides = [
            evaluated(
                images, template, _moved(images.poses, sign * step[:, :3], sign * step[:, 3:])
            ).likelihood
            for sign in (1.0, -1.0)
        ]
        numerical = (sides[0] - sides[1]) / 2e-3
        error = (gradient[:, unknown] - numerical).abs().max() / gradient[:, unknown].abs().max()
        assert error < tolerances.LIKELIHOOD_DIFFERENCES


def test_curvature_is_that_of_images_without_a_residual(
    volume: Tensor, generator: torch.Generator
) -> None:
    """There the matrix of Gauss and Newton is minus the second derivative of the likelihood."""
    batch = _at_identity(simulated_batch(volume, GRID, 4, 0.0, generator))
    images, template = ReadyImages.of(batch, white(GRID)), Template.of(volume, GRID, LIMIT)
    slices = torch.view_as_real(_own_slices(images, template))
    values = images.values.clone()
    values[..., :2] = values[..., 2:] * slices  # w = p S
    exact = replace(images, values=values)
    found = evaluated(exact, template)
    assert found.gradient.abs().max() < 1e-4 * found.curvature.abs().max()
    for unknown in range(5):
        step = torch.zeros(len(images), 5, dtype=torch.float64)
        step[:, unknown] = 2e-3
        sides = [
            evaluated(exact, template, _moved(images.poses, s * step[:, :3], s * step[:, 3:])).gradient
            for s in (1.0, -1.0)
        ]  # fmt: skip
        numerical = (sides[1] - sides[0]) / 4e-3
        error = (found.curvature[:, unknown] - numerical).abs()
        scale = found.curvature.diagonal(dim1=1, dim2=2).sqrt()
        assert bool((error < tolerances.CURVATURE * scale[:, unknown, None] * scale).all())


def _own_slices(images: ReadyImages, template: Template) -> Tensor:
    from cryosplat import gridding

    stretch, radii = images.steps(template)
    steps = stretch.transpose(1, 2) @ images.poses.rotations[:, :2]
    return gridding.slices(template.transform, steps, radii, images.box_size)


def test_steps_compose_and_are_measured_as_they_were_made(generator: torch.Generator) -> None:
    poses = random_batch(20, GROUPS, generator).poses
    first, second = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
    far = turned(second, turned(first, poses.rotations))
    product = torch.matrix_exp(_cross(second)) @ torch.matrix_exp(_cross(first)) @ poses.rotations
    torch.testing.assert_close(far, product, **tolerances.COMPOSED)
    small = first / first.norm(dim=1, keepdim=True).clamp_min(1.0)
    moved = Poses(turned(small, poses.rotations), poses.shifts + 1.0)
    angles, shifts = changes(moved, poses)
    torch.testing.assert_close(angles, small, **tolerances.COMPOSED)
    torch.testing.assert_close(shifts, torch.ones_like(shifts), **tolerances.COMPOSED)
    assert float(changes(poses, poses)[0].abs().max()) == 0.0


def _cross(w: Tensor) -> Tensor:
    matrix = torch.zeros(len(w), 3, 3, dtype=torch.float64)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        matrix[:, k, j], matrix[:, j, k] = w[:, i], -w[:, i]
    return matrix


def test_ascent_stays_a_rotation_and_finds_the_poses_of_images_without_noise(
    volume: Tensor, generator: torch.Generator
) -> None:
    batch = simulated_batch(volume, GRID, 12, 0.0, generator)
    angles = torch.deg2rad(3.0 * torch.randn(12, 3, generator=generator, dtype=torch.float64))
    shifts = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    wrong = replace(batch, poses=_moved(batch.poses, angles, shifts))
    images = ReadyImages.of(wrong, white(GRID, 0.01 * float(batch.images.std())))
    found = refined(images, Template.of(volume, GRID, 0.5 / 1.75))
    products = found.poses.rotations @ found.poses.rotations.transpose(1, 2)
    torch.testing.assert_close(
        products, torch.eye(3).double().expand(12, 3, 3), **tolerances.COMPOSED
    )
    assert _degrees(found.poses, batch.poses).max() < tolerances.POSES_FOUND
    assert (found.poses.shifts - batch.poses.shifts).abs().max() < tolerances.SHIFTS_FOUND


def test_search_finds_poses_that_are_off_by_fifteen_degrees(
    volume: Tensor, generator: torch.Generator
) -> None:
    batch = simulated_batch(volume, GRID, 12, 0.0, generator)
    axis = torch.nn.functional.normalize(
        torch.randn(12, 3, generator=generator, dtype=torch.float64), dim=1
    )
    shifts = 4.0 * (2.0 * torch.rand(12, 2, generator=generator, dtype=torch.float64) - 1.0)
    wrong = replace(batch, poses=_moved(batch.poses, math.radians(15.0) * axis, shifts))
    images = ReadyImages.of(wrong, white(GRID, float(batch.images.std())))
    template = Template.of(volume, GRID, 0.5 / 1.75)
    found = searched(images, template.within(0.12), math.radians(17.0), reach=4.0)
    fine = refined(images, template, starts=found.poses)
    assert _degrees(fine.poses, batch.poses).max() < tolerances.POSES_FOUND
    assert (fine.poses.shifts - batch.poses.shifts).abs().max() < tolerances.SHIFTS_FOUND
    assert bool((fine.likelihood > evaluated(images, template).likelihood).all())


def test_turning_the_map_and_all_poses_turns_what_is_found(
    volume: Tensor, generator: torch.Generator
) -> None:
    batch = simulated_batch(volume, GRID, 8, 0.3, generator)
    angles = torch.deg2rad(2.0 * torch.randn(8, 3, generator=generator, dtype=torch.float64))
    poses = _moved(batch.poses, angles, torch.zeros(8, 2, dtype=torch.float64))
    noise = white(GRID, 0.3)
    here = _ascended(replace(batch, poses=poses), volume, noise)
    # a quarter turn about z: V'(x, y) = V(y, -x), voxel 0 of an even box having no partner
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    quarter = volume.transpose(1, 2).flip(2).roll(1, 2)
    there = _ascended(
        replace(batch, poses=Poses(poses.rotations @ turn.T, poses.shifts)), quarter, noise
    )
    back = Poses(there.poses.rotations @ turn, there.poses.shifts)
    assert _degrees(back, here.poses).max() < tolerances.POSES_IN_FRAME
    assert (back.shifts - here.poses.shifts).abs().max() < tolerances.POSES_IN_FRAME
    assert _degrees(here.poses, poses).median() > 1.0  # something was found


def _ascended(batch: Batch, volume: Tensor, noise: object) -> Found:
    images = ReadyImages.of(batch, noise)  # type: ignore[arg-type]
    return refined(images, Template.of(volume, GRID, LIMIT), Prior(0.1, 2.0))


def test_a_prior_without_width_keeps_every_pose(volume: Tensor, generator: torch.Generator) -> None:
    batch = simulated_batch(volume, GRID, 5, 1.0, generator)
    images = ReadyImages.of(batch, white(GRID))
    found = refined(images, Template.of(volume, GRID, LIMIT), Prior(0.0, 0.0))
    assert _degrees(found.poses, batch.poses).max() < 1e-6
    assert (found.poses.shifts - batch.poses.shifts).abs().max() < 1e-6


def test_a_grid_of_rotations_covers_its_ball() -> None:
    points = ball(0.3, 0.1)
    assert len(points) == 123 and bool((points[0] == 0.0).all())
    assert float(points.norm(dim=1).max()) <= 0.3 * (1.0 + 1e-9)


def test_a_template_refuses_a_map_of_another_box(volume: Tensor) -> None:
    with pytest.raises(SettingsError, match="Template: the map has shape"):
        Template.of(volume[:-1], GRID, LIMIT)
    with pytest.raises(SettingsError, match="a frequency above 0"):
        Template.of(volume, GRID, 0.0)

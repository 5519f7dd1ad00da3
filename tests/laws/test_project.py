"""Laws of projections of a mixture: mass, position, turning, central slices, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tolerances
import torch
from problems import blobs, no_optics, random_optics
from torch import Tensor

from cryosplat.formation import MixtureProjector, VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.optics import OpticsGroup
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import project, voxelize

SEED = 4


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b).norm() / b.norm())


STRAIGHT = torch.eye(3, dtype=torch.float64)[None]


def _cast(mixture: GaussianMixture, dtype: torch.dtype) -> GaussianMixture:
    parts = (mixture.means, mixture.scales, mixture.quaternions, mixture.amplitudes)
    return GaussianMixture(*(t.to(dtype) for t in parts))


def _unshifted(rotations: Tensor) -> Poses:
    return Poses(rotations, torch.zeros(len(rotations), 2, dtype=torch.float64))


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_image_holds_the_mass_of_the_gaussians(
    box: int, dtype: torch.dtype, generator: torch.Generator
) -> None:
    mixture = _cast(blobs(20, 8.0, generator, width=2.0), dtype)
    images = project(mixture, random_poses(5, generator), Grid(box, 2.0))
    assert images.dtype == dtype and images.shape == (5, box, box)
    expected = mixture.amplitudes.double().sum().expand(5)
    sums = images.double().sum((1, 2))
    torch.testing.assert_close(sums, expected, rtol=tolerances.MASS, atol=0.0)


def _one(x: float, y: float, z: float = 0.0) -> GaussianMixture:
    unturned = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    return GaussianMixture(
        torch.tensor([[x, y, z]]), torch.full((1, 3), 3.0), unturned, torch.ones(1)
    )


@pytest.mark.parametrize("box", [24, 25])
def test_the_rotation_centre_is_pixel_half_the_box(box: int, generator: torch.Generator) -> None:
    for image in project(_one(0.0, 0.0), random_poses(3, generator), Grid(box, 2.0)):
        assert int(image.argmax()) == box // 2 * box + box // 2
        middle = slice(1 - box % 2, None)  # an even box has one more pixel before the centre
        torch.testing.assert_close(
            image[middle, middle], image[middle, middle].flip(0, 1), **tolerances.EVEN_FLOAT32
        )


def test_half_a_pixel_lies_between_two_pixels() -> None:
    (image,) = project(_one(1.0, 0.0), _unshifted(STRAIGHT), Grid(24, 2.0))
    torch.testing.assert_close(image[12, 13], image[12, 12], **tolerances.EVEN_FLOAT32)


def test_images_are_y_x_and_z_is_gone() -> None:
    (image,) = project(_one(4.0, -6.0, 20.0), _unshifted(STRAIGHT), Grid(24, 2.0))
    assert int(image.argmax()) == (12 - 3) * 24 + 12 + 2


def test_turning_the_mixture_equals_turning_the_camera(generator: torch.Generator) -> None:
    mixture, grid = blobs(12, 12.0, generator), Grid(25, 2.0)
    turn = random_poses(1, generator).rotations[0]
    poses = random_poses(4, generator)
    a = project(mixture.rotated(turn), poses, grid)
    b = project(mixture, Poses(poses.rotations @ turn, poses.shifts), grid)
    torch.testing.assert_close(a, b, **tolerances.ROTATION_FLOAT64)


def test_a_quarter_turn_of_the_camera_turns_the_image(generator: torch.Generator) -> None:
    mixture = _cast(blobs(10, 9.0, generator), torch.float32)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)  # x to y
    poses = _unshifted(random_poses(1, generator).rotations)
    grid = Grid(25, 2.0)  # odd: the centre is the middle, and a turn about it keeps the grid
    turned = project(mixture, replace(poses, rotations=quarter @ poses.rotations), grid)
    expected = project(mixture, poses, grid).rot90(1, (2, 1))
    assert _relative(turned, expected.double()) < tolerances.SPLAT_FORWARD


@pytest.mark.parametrize("box", [24, 25])
def test_an_unturned_projection_is_the_sum_of_the_map_along_z(
    box: int, generator: torch.Generator
) -> None:
    mixture, grid = blobs(9, 9.0, generator), Grid(box, 2.0)
    (image,) = project(mixture, _unshifted(STRAIGHT), grid)
    assert _relative(image, voxelize(mixture, grid).sum(0)) < tolerances.MASS


@pytest.mark.parametrize("box", [24, 25])
def test_slices_of_a_mixture_are_slices_of_its_map(box: int, generator: torch.Generator) -> None:
    mixture, grid = blobs(12, 7.0, generator), Grid(box, 2.0)
    poses = random_poses(5, generator)
    slices = MixtureProjector(mixture).slices(poses, 2.0, box)
    expected = VolumeProjector(voxelize(mixture, grid).float(), grid).slices(poses, 2.0, box)
    assert slices.shape == expected.shape
    inside = expected != 0  # what lies beyond Nyquist is nobody's
    assert _norm_of_difference(slices, expected, inside) < tolerances.SLICE


def _norm_of_difference(a: Tensor, b: Tensor, inside: Tensor) -> float:
    a, b = a[inside].to(torch.complex128), b[inside].to(torch.complex128)
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("box", [24, 25])
def test_images_of_a_mixture_are_images_of_its_map(box: int, generator: torch.Generator) -> None:
    """With shifts, astigmatism, phase plates and B-factors."""
    mixture, grid = blobs(12, 7.0, generator), Grid(box, 2.0)
    poses = random_poses(5, generator, 4.0)
    optics = random_optics(5, (OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1),), generator)
    given = form_images(MixtureProjector(mixture), poses, optics, box)
    expected = form_images(
        VolumeProjector(voxelize(mixture, grid).float(), grid), poses, optics, box
    )
    assert given.dtype == torch.float64 and expected.dtype == torch.float32
    assert _relative(given, expected.double()) < tolerances.SLICE


@pytest.mark.parametrize("symmetric", [False, True], ids=["anisotropic", "equal scales, unturned"])
def test_the_gradient_of_a_projection_by_everything(
    symmetric: bool, generator: torch.Generator
) -> None:
    mixture, poses = blobs(2, 3.0, generator, width=2.0), random_poses(2, generator)
    scales, quaternions, rotations = mixture.scales, mixture.quaternions, poses.rotations
    if symmetric:
        scales = torch.full_like(scales, 2.0)
        quaternions = torch.tensor([[1.0, 0, 0, 0]] * 2, dtype=torch.float64)
        rotations = STRAIGHT.expand(2, 3, 3)
    parts = (mixture.means, scales, quaternions, mixture.amplitudes, rotations)
    inputs = [t.clone().requires_grad_() for t in parts]

    def value(*parts: Tensor) -> Tensor:
        return project(GaussianMixture(*parts[:4]), _unshifted(parts[4]), Grid(6, 1.5))

    assert torch.autograd.gradcheck(value, inputs)


@pytest.mark.parametrize("size", [0.0, 2.0], ids=["unshifted", "shifted"])
def test_the_gradient_of_an_image_by_its_pose(size: float, generator: torch.Generator) -> None:
    mixture, poses = blobs(3, 3.0, generator, width=2.0), random_poses(2, generator, size)
    optics = random_optics(2, (OpticsGroup("g", 1.5, 6, 300e3, 2.7e7, 0.1),), generator)
    inputs = [t.clone().requires_grad_() for t in (mixture.means, poses.rotations, poses.shifts)]

    def value(means: Tensor, rotations: Tensor, shifts: Tensor) -> Tensor:
        projector = MixtureProjector(replace(mixture, means=means))
        return form_images(projector, Poses(rotations, shifts), optics, 6)

    assert torch.autograd.gradcheck(value, inputs)


def test_single_precision_has_the_gradients_of_double(generator: torch.Generator) -> None:
    """Through projection, shift and CTF, by the mixture's parameters and by the poses."""
    mixture, poses = blobs(40, 25.0, generator), random_poses(3, generator, 4.0)
    box = 40
    optics = random_optics(3, (OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1),), generator)
    data = torch.randn(3, box, box, generator=generator)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        cast = _cast(mixture, dtype)
        parts = (cast.means, cast.scales, cast.quaternions, cast.amplitudes,
                 poses.rotations, poses.shifts)  # fmt: skip
        parts = [t.clone().requires_grad_() for t in parts]
        projector = MixtureProjector(GaussianMixture(*parts[:4]))
        images = form_images(projector, Poses(parts[4], parts[5]), optics, box)
        gradients.append(torch.autograd.grad((images * data).sum(), parts))
    for single, double in zip(*gradients, strict=True):
        assert _relative(single, double.double()) < tolerances.SPLAT_BACKWARD


def test_a_shift_is_a_phase(generator: torch.Generator) -> None:
    mixture, box = blobs(6, 8.0, generator), 24
    optics = no_optics(1, OpticsGroup("g", 2.0, box, 300e3, 2.7e7, 0.1))
    rotations = random_poses(1, generator).rotations
    still, moved = (
        form_images(MixtureProjector(mixture), Poses(rotations, shift), optics, box)[0]
        for shift in (torch.zeros(1, 2).double(), torch.tensor([[6.0, -2.0]]).double())
    )
    expected = still.roll((1, -3), (0, 1))  # pixels: -6 Angstrom along x, +2 along y
    assert _relative(moved, expected) < tolerances.ROUND_FLOAT64

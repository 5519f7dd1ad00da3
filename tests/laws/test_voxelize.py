"""Laws of voxelisation: mass, position, turning; the kernel equals the definition."""

from __future__ import annotations

import pytest
import tolerances
import torch
from problems import blobs
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture, quaternions_to_matrices
from cryosplat.poses import random_poses
from cryosplat.splatting import voxelize
from cryosplat.splatting._reference import voxelize_dense, voxelize_dense_adjoint

SEED = 3


def _in_voxels(
    scales: Tensor, spread: float, side: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Centres, precisions and weights of Gaussians with given scales (k, 3), in voxels, float64."""
    k = len(scales)
    centres = side / 2 + spread * (torch.rand(k, 3, generator=generator, dtype=torch.float64) - 0.5)
    quaternions = torch.randn(k, 4, generator=generator, dtype=torch.float64)
    half = quaternions_to_matrices(quaternions) / scales[:, None, :]
    precision = half @ half.transpose(1, 2)
    upper = torch.stack([precision[:, i, j] for i in range(3) for j in range(i, 3)], -1)
    weights = 0.2 + torch.rand(k, generator=generator, dtype=torch.float64)
    return centres, upper, weights


def _scales(kind: str, k: int, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(k, 3, generator=generator, dtype=torch.float64)

    if kind == "needles":  # 10 to 1
        return 0.5 * uniform(0.9, 1.1) * torch.tensor([1.0, 1.0, 10.0], dtype=torch.float64)
    if kind == "discs":
        return 0.5 * uniform(0.9, 1.1) * torch.tensor([1.0, 10.0, 10.0], dtype=torch.float64)
    low, high = {"narrow": (0.4, 0.8), "usual": (0.7, 2.0), "wide": (3.0, 6.0)}[kind]
    return uniform(low, high)


CASES = [
    pytest.param(kind, spread, side, id=f"{kind}, {where}, {side}")
    for kind in ("narrow", "usual", "wide", "needles", "discs")
    for where, spread, side in (("inside", 8.0, 24), ("partly outside", 34.0, 21))
]


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b).norm() / b.norm())


@pytest.mark.parametrize(("kind", "spread", "side"), CASES)
def test_the_kernel_is_the_definition(
    kind: str, spread: float, side: int, generator: torch.Generator
) -> None:
    exact = _in_voxels(_scales(kind, 12, generator), spread, side, generator)
    single = tuple(t.float().requires_grad_() for t in exact)
    gradient = torch.randn(side, side, side, generator=generator)
    volume = torch.ops.cryosplat.voxelize(*single, side)
    volume.backward(gradient)
    assert _relative(volume.detach(), voxelize_dense(*exact, side)) < tolerances.KERNEL_FORWARD
    expected = voxelize_dense_adjoint(*exact, gradient.double())
    for name, given, wanted in zip(
        ("centres", "precisions", "weights"), single, expected, strict=True
    ):
        assert given.grad is not None
        assert _relative(given.grad, wanted) < tolerances.KERNEL_BACKWARD, name


def test_each_gaussian_far_outside_leaves_the_map_and_gets_no_gradient() -> None:
    centres = torch.tensor([[-40.0, 8.0, 8.0], [8.0, 60.0, 8.0], [8.0, 8.0, -30.0]])
    precisions = torch.tensor([[1.0, 0, 0, 1.0, 0, 1.0]]).repeat(3, 1)
    inputs = [t.requires_grad_() for t in (centres, precisions, torch.ones(3))]
    volume = torch.ops.cryosplat.voxelize(*inputs, 16)
    volume.sum().backward()
    assert float(volume.detach().abs().max()) == 0.0
    for value in inputs:
        assert value.grad is not None and float(value.grad.abs().max()) == 0.0


def test_no_gaussians_make_an_empty_map() -> None:
    volume = torch.ops.cryosplat.voxelize(torch.zeros(0, 3), torch.zeros(0, 6), torch.zeros(0), 8)
    assert volume.shape == (8, 8, 8) and float(volume.abs().max()) == 0.0


def test_the_gradient_of_the_definition_is_its_derivative(generator: torch.Generator) -> None:
    inputs = _in_voxels(_scales("usual", 3, generator), 6.0, 6, generator)
    inputs = tuple(t.requires_grad_() for t in inputs)
    assert torch.autograd.gradcheck(lambda *t: torch.ops.cryosplat.voxelize(*t, 6), inputs)


@pytest.mark.parametrize("equal", [False, True], ids=["anisotropic", "equal scales, unturned"])
def test_the_gradient_by_the_mixtures_own_parameters(
    equal: bool, generator: torch.Generator
) -> None:
    mixture = blobs(2, 3.0, generator, width=2.0)
    scales, quaternions = mixture.scales, mixture.quaternions
    if equal:
        scales = torch.full_like(scales, 2.0)
        quaternions = torch.tensor([[1.0, 0, 0, 0]] * 2, dtype=torch.float64)
    inputs = [
        t.clone().requires_grad_() for t in (mixture.means, scales, quaternions, mixture.amplitudes)
    ]

    def value(*parts: Tensor) -> Tensor:
        return voxelize(GaussianMixture(*parts), Grid(6, 1.5))

    assert torch.autograd.gradcheck(value, inputs)


def test_turning_equal_scales_changes_nothing(generator: torch.Generator) -> None:
    mixture = blobs(3, 5.0, generator)
    quaternions = mixture.quaternions.clone().requires_grad_()
    scales = torch.full_like(mixture.scales, 3.0)
    volume = voxelize(
        GaussianMixture(mixture.means, scales, quaternions, mixture.amplitudes), Grid(12, 2.0)
    )
    (gradient,) = torch.autograd.grad(volume.square().sum(), quaternions)
    assert float(gradient.abs().max()) < tolerances.ZERO_FLOAT64 * float(
        volume.detach().square().sum()
    )


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_map_holds_the_mass_of_the_gaussians(
    box: int, dtype: torch.dtype, generator: torch.Generator
) -> None:
    double = blobs(20, 8.0, generator, width=2.0)
    mixture = GaussianMixture(
        *(t.to(dtype) for t in (double.means, double.scales, double.quaternions,
                                double.amplitudes))
    )  # fmt: skip
    volume = voxelize(mixture, Grid(box, 2.0))
    assert volume.dtype == dtype
    assert float(volume.double().sum()) == pytest.approx(
        float(double.amplitudes.sum()), rel=tolerances.MASS
    )


@pytest.mark.parametrize("box", [24, 25])
def test_the_rotation_centre_is_voxel_half_the_box(box: int) -> None:
    one = GaussianMixture(
        torch.zeros(1, 3), torch.full((1, 3), 3.0), torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1)
    )
    volume = voxelize(one, Grid(box, 2.0))
    assert int(volume.argmax()) == (box // 2 * box + box // 2) * box + box // 2


def test_means_are_x_y_z_and_the_map_is_z_y_x() -> None:
    one = GaussianMixture(
        torch.tensor([[2.0, 4.0, -6.0]]), torch.full((1, 3), 3.0),
        torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1),
    )  # fmt: skip
    volume = voxelize(one, Grid(24, 2.0))
    assert torch.equal(
        (volume == volume.max()).nonzero()[0], torch.tensor([12 - 3, 12 + 2, 12 + 1])
    )


def test_a_quarter_turn_of_the_mixture_permutes_the_map(generator: torch.Generator) -> None:
    mixture = blobs(10, 9.0, generator)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)  # x to y
    grid = Grid(25, 2.0)  # odd: the centre is the middle, and a turn about it keeps the grid
    turned = voxelize(mixture.rotated(quarter), grid)
    expected = voxelize(mixture, grid).rot90(1, (2, 1))
    torch.testing.assert_close(turned, expected, **tolerances.ROTATION_FLOAT64)


def test_turning_a_mixture_turns_its_covariances(generator: torch.Generator) -> None:
    mixture = blobs(10, 9.0, generator)
    turn = random_poses(1, generator).rotations[0]
    expected = turn @ mixture.covariances() @ turn.T
    assert _relative(mixture.rotated(turn).covariances(), expected) < tolerances.ZERO_FLOAT64

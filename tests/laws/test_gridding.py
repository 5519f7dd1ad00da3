"""Laws of gridding: kernels are the definition, spreading is slicing's adjoint, derivatives are true.

That a slice of a map is what a NUFFT says is a law of `test_formation`, that statistics are its sums
one of `test_statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import tolerances
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from problems import blobs, nufft_slices
from torch import Tensor

from cryosplat.formation import VolumeProjector
from cryosplat.grid import Grid
from cryosplat.gridding import Sums, band, padded_transform, slices, spread
from cryosplat.gridding._kernel import DEGREE, POLYNOMIALS, kernel
from cryosplat.gridding._operator import slopes_op
from cryosplat.gridding._reference import slices_dense, slopes_dense, spread_dense
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import voxelize

SEED = 4

IDENTITY = torch.eye(3, dtype=torch.float64)[None]


def _steps(n: int, box: int, period: int, generator: torch.Generator) -> Tensor:
    """Random rotations and the identity, as long as image and grid allow."""
    rotations = torch.cat([random_poses(n, generator).rotations, IDENTITY])
    return rotations[:, :2] * period / max(box, period // 2)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _error(given: Tensor, wanted: Tensor) -> float:
    return float((given - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize(("box", "period"), [(6, 12), (24, 48), (25, 50), (15, 20), (12, 60)])
def test_kernels_are_the_definition(box: int, period: int, generator: torch.Generator) -> None:
    steps = _steps(3, box, period, generator)
    radii = band(steps, box, period)
    grid = torch.fft.rfftn(_normal((period,) * 3, generator))
    values = torch.view_as_complex(_normal((4, box, box // 2 + 1, 2), generator))
    single, coarse = grid.to(torch.complex64), values.to(torch.complex64)
    for given, wanted in (
        (slices(single, steps, radii, box), slices_dense(grid, steps, radii, box)),
        (spread(coarse, steps, radii, period), spread_dense(values, steps, radii, period)),
        (slopes_op(single, coarse, steps, radii), slopes_dense(grid, values, steps, radii)),
    ):
        assert given.dtype in (torch.complex64, torch.float64)
        assert _error(given, wanted) < tolerances.GRIDDING


@pytest.mark.parametrize(("box", "period"), [(24, 48), (15, 20)])
def test_gradients_through_kernels_are_those_of_the_definition(
    box: int, period: int, generator: torch.Generator
) -> None:
    given = {
        "map": _normal((period,) * 3, generator),
        "image": _normal((4, box, box), generator),
        "steps": _steps(3, box, period, generator),
    }
    radii = band(given["steps"], box, period)
    gradients = []
    for real in (torch.float32, torch.float64):
        volume, images = (given[k].to(real).requires_grad_() for k in ("map", "image"))
        steps = given["steps"].clone().requires_grad_()
        cut = slices(torch.fft.rfftn(volume), steps, radii, box)
        summed = spread(torch.fft.rfft2(images), steps, radii, period)
        loss = cut.abs().square().sum() + summed.abs().square().sum()
        gradients.append(torch.autograd.grad(loss, (volume, images, steps)))
    for single, double in zip(*gradients, strict=True):
        assert _error(single, double) < tolerances.GRIDDING


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("box", [12, 13])
def test_spreading_is_the_adjoint_of_slicing(
    box: int, dtype: torch.dtype, generator: torch.Generator
) -> None:
    period = 2 * box
    steps = _steps(5, box, period, generator)
    radii = band(steps, box, period)
    volume = _normal((period,) * 3, generator).to(dtype)
    images = _normal((6, box, box), generator).to(dtype)
    projections = torch.fft.irfft2(
        slices(torch.fft.rfftn(volume), steps, radii, box), s=(box, box), norm="forward"
    )
    backprojection = torch.fft.irfftn(
        spread(torch.fft.rfft2(images), steps, radii, period), s=(period,) * 3, norm="forward"
    )
    products = [(a * b).double() for a, b in ((projections, images), (backprojection, volume))]
    scale = float(products[0].abs().sum())
    across = [float(p.sum()) for p in products]
    assert across[0] == pytest.approx(across[1], abs=tolerances.ADJOINT * scale)


def _transformed(
    operator: Callable[..., Tensor], axes: int, side: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """An operator as a function of a real array and of the steps, with real values."""

    def function(array: Tensor, steps: Tensor) -> Tensor:
        half = torch.fft.rfftn(array, dim=tuple(range(-axes, 0)))
        radii = torch.full((len(steps),), 2.0, dtype=torch.float64)
        return torch.view_as_real(operator(half, steps, radii, side))

    return function


@pytest.mark.parametrize("rotations", ["random", "identity"])
def test_derivatives_by_maps_images_and_rotations(
    rotations: str, generator: torch.Generator
) -> None:
    turn = IDENTITY if rotations == "identity" else random_poses(2, generator).rotations
    steps = (2.0 * turn[:, :2]).requires_grad_()
    volume = _normal((8, 8, 8), generator).requires_grad_()
    images = _normal((len(turn), 4, 4), generator).requires_grad_()
    assert torch.autograd.gradcheck(
        _transformed(slices, 3, 4), (volume, steps), fast_mode=True, atol=1e-4
    )
    assert torch.autograd.gradcheck(
        _transformed(spread, 2, 8), (images, steps), fast_mode=True, atol=1e-4
    )


@pytest.mark.parametrize("rotation", ["random", "identity"])
def test_projections_of_a_map_are_differentiable_by_map_and_rotations(
    rotation: str, generator: torch.Generator
) -> None:
    turn = IDENTITY if rotation == "identity" else random_poses(2, generator).rotations
    grid = Grid(6, 2.0)

    def projections(volume: Tensor, rotations: Tensor) -> Tensor:
        poses = Poses(rotations, torch.zeros(len(rotations), 2))
        cut = VolumeProjector(volume, grid).slices(poses, grid.pixel_size, grid.box_size)
        return torch.view_as_real(cut)

    volume = _normal((6, 6, 6), generator).requires_grad_()
    given = volume, turn.clone().requires_grad_()
    assert torch.autograd.gradcheck(projections, given, fast_mode=True, atol=1e-4)


def test_the_derivative_of_a_slice_is_a_slice_of_the_map_times_its_coordinates(
    generator: torch.Generator,
) -> None:
    grid = Grid(24, 2.0)
    volume = voxelize(blobs(12, 10.0, generator), grid)
    step = 2.0 * random_poses(1, generator).rotations[:, :2]
    k = torch.tensor([[5.0, -3.0]], dtype=torch.float64)
    points = (2 * np.pi / 48) * (k @ step[0]).numpy()
    axis = torch.arange(24, dtype=torch.float64) - 12
    expected = [
        nufft_slices(volume * axis.reshape(shape), points)[0] * (-2j * np.pi / 48)
        for shape in ((1, 1, -1), (1, -1, 1), (-1, 1, 1))
    ]
    values = torch.zeros(1, 24, 13, dtype=torch.complex64)
    radii = torch.full((1,), 12.0, dtype=torch.float64)
    transform = padded_transform(volume.float())
    found = []
    for unit in (1.0, 1j):
        values[0, -3, 5] = unit
        found.append(slopes_op(transform, values, step, radii)[0].numpy())
    by_kx = found[0][0] + 1j * found[1][0]
    np.testing.assert_allclose(found[0][1] * 5, found[0][0] * -3, rtol=tolerances.SUM_FLOAT64)
    error = np.linalg.norm(by_kx / 5 - expected) / np.linalg.norm(expected)
    assert error < tolerances.SLICE_SLOPE


def test_batches_add_up_to_what_is_spread_at_once(generator: torch.Generator) -> None:
    steps = _steps(6, 12, 24, generator)
    radii = band(steps, 12, 24)
    values = _normal((7, 12, 7, 3), generator).float()
    sums = Sums(24, torch.device("cpu"))
    for part in (slice(0, 3), slice(3, 7)):
        sums.add(values[part], steps[part], radii[part])
    value = torch.view_as_complex(values[..., :2].contiguous())
    weight = values[..., 2].to(torch.complex64)
    wanted = spread(value, steps, radii, 24), spread(weight, steps, radii, 24).real
    for given, whole in zip(sums.grids(), wanted, strict=True):
        assert _error(given, whole) < tolerances.SUM_FLOAT32


def test_the_band_ends_at_nyquist_of_image_and_grid(generator: torch.Generator) -> None:
    steps = _steps(3, 12, 24, generator)
    torch.testing.assert_close(band(steps, 12, 24), torch.full((4,), 6.0).double())
    stretched = torch.tensor([[1.5, 0.0], [0.0, 1.0]]).double() @ steps
    torch.testing.assert_close(band(stretched, 12, 24), torch.full((4,), 4.0).double())
    assert bool((band(0.5 * steps, 12, 24) == 6.0).all())


@pytest.mark.parametrize("order", [0, 1])
def test_the_kernel_and_its_derivative_are_continuous(order: int) -> None:
    taps = [np.polyder(tap, order) for tap in POLYNOMIALS.T]
    begin, end = (np.array([np.polyval(tap, t) for tap in taps]) for t in (-1.0, 1.0))
    # where a point enters the next cell, the cell of tap j becomes that of tap j - 1
    np.testing.assert_allclose(
        np.append(0.0, begin), np.append(end, 0.0), **tolerances.TWELVE_DIGITS
    )


def test_no_kernel_of_its_kind_aliases_less() -> None:
    """Least squares over the coefficients of both pieces, at positions within 0.29 of the period.

    What a position gets from its aliases, relative to itself, as the sum of their squares and, a
    hundredfold, as the square of their sum, which is what a point on a cell gets; positions near
    the rotation centre weigh more. The weights that make it relative are found by iteration. The
    pieces are Chebyshev series of t, one after the other.
    """
    nodes, weights = np.polynomial.legendre.leggauss(40)
    series = chebyshev.chebvander(nodes, DEGREE)
    positions = np.linspace(0.0, 0.29, 61)

    def transforms(at: NDArray) -> NDArray:
        phases = [np.cos(np.pi * np.multiply.outer(at, nodes + shift)) for shift in (1.0, 3.0)]
        return np.concatenate([p @ (weights[:, None] * series) for p in phases], 1)

    def ends(t: float, order: int) -> NDArray:
        return chebyshev.chebval(t, chebyshev.chebder(np.eye(DEGREE + 1), order))

    nothing = np.zeros(DEGREE + 1)
    rows = [[nothing, ends(1.0, 0)], [nothing, ends(1.0, 1)], [ends(-1.0, 1), nothing]]
    rows += [[ends(1.0, order), -ends(-1.0, order)] for order in (0, 1)]
    free = scipy.linalg.null_space(np.array([np.concatenate(row) for row in rows]))
    own = transforms(positions) @ free
    others = [transforms(positions + m) @ free for m in range(-14, 15) if m]
    terms = [*others, 10.0 * sum(others)]
    importance = np.exp(-0.5 * (positions / 0.12) ** 2) + 0.05
    weight = importance
    for _ in range(12):
        matrix = sum(a.T @ (weight[:, None] * a) for a in terms) + 1e-14 * np.eye(free.shape[1])
        solution = np.linalg.solve(matrix, own[0])
        weight = importance / (own @ solution / (own[0] @ solution)) ** 2
    pieces = (free @ solution).reshape(2, -1)
    t = np.linspace(-1.0, 1.0, 9)
    values = np.stack([chebyshev.chebval(t, piece) for piece in pieces])
    expected = kernel((t + np.array([[1.0], [3.0]])) / 2)
    np.testing.assert_allclose(values / values[0, 0], expected, **tolerances.LEAST_SQUARES)
    aliased = sum((a @ solution) ** 2 for a in others) / (own @ solution) ** 2
    assert math.sqrt(np.average(aliased, weights=importance)) < tolerances.ALIASES

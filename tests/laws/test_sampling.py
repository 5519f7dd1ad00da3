"""What sampling does to Gaussians: transforms of images and maps are the exact ones plus aliases."""

from __future__ import annotations

import math
from itertools import product

import pytest
import tolerances
import torch
from problems import blobs
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import project, voxelize

SEED = 5

NARROW = 0.45  # pixels: aliases are a tenth of the signal at half the Nyquist frequency
REACH = range(-3, 4)  # copies of the spectrum along each axis, beyond which nothing is left


def _spectrum(mixture: GaussianMixture, q: Tensor) -> Tensor:
    """``sum_g A_g exp(-2 pi i q.mu_g - 2 pi^2 q^T Sigma_g q)`` at frequencies (..., 3) in 1/Å."""
    turns = torch.einsum("...i,gi->...g", q, mixture.means)
    form = torch.einsum("...i,gij,...j->...g", q, mixture.covariances(), q)
    waves = torch.polar(torch.exp(-2.0 * math.pi**2 * form), -2.0 * math.pi * turns)
    return waves @ mixture.amplitudes.to(waves)


def _lattice(grid: Grid, ndim: int) -> Tensor:
    """Frequencies (d, ..., ndim) of a full transform in 1/Å, the last axis as (x, y) or (x, y, z)."""
    axis = torch.fft.fftfreq(grid.box_size, grid.pixel_size, dtype=torch.float64)
    return torch.stack(torch.meshgrid(*[axis] * ndim, indexing="ij")[::-1], -1)


def _error(array: Tensor, expected: Tensor) -> float:
    axes = tuple(range(-expected.ndim, 0))
    given = torch.fft.fftn(torch.fft.ifftshift(array, axes), dim=axes)
    return float((given - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("box", [24, 25])
def test_an_image_is_its_slice_and_the_aliases_of_the_plane(
    box: int, generator: torch.Generator
) -> None:
    grid = Grid(box, 2.0)
    mixture = blobs(6, 4.0, generator, width=NARROW * 2.0)
    poses = Poses(random_poses(1, generator).rotations, torch.zeros(1, 2, dtype=torch.float64))
    k = _lattice(grid, 2)
    copies = torch.tensor(list(product(REACH, repeat=2)), dtype=torch.float64) / grid.pixel_size
    expected = sum(_spectrum(mixture, (k + m) @ poses.rotations[0, :2]) for m in copies)
    assert _error(project(mixture, poses, grid)[0], expected) < tolerances.ROUND_FLOAT64


@pytest.mark.parametrize("box", [12, 13])
def test_a_map_is_its_transform_and_the_aliases_of_the_lattice(
    box: int, generator: torch.Generator
) -> None:
    grid = Grid(box, 2.0)
    mixture = blobs(6, 1.0, generator, width=NARROW * 2.0)
    q = _lattice(grid, 3)
    copies = torch.tensor(list(product(REACH, repeat=3)), dtype=torch.float64) / grid.pixel_size
    expected = sum(_spectrum(mixture, q + m) for m in copies)
    assert _error(voxelize(mixture, grid), expected) < tolerances.ROUND_FLOAT64


@pytest.mark.parametrize(("width", "share"), [(0.6, 0.75), (0.7, 0.5), (0.7, 0.75), (1.0, 0.25)])
def test_an_alias_falls_with_the_width_squared(width: float, share: float) -> None:
    """Of the signal at a ``share`` of Nyquist: ``exp(-2 pi^2 (width / pixel)^2 (1 - share))``."""
    grid, unturned = Grid(64, 1.0), torch.eye(3, dtype=torch.float64)[None]
    one = GaussianMixture(
        torch.zeros(1, 3, dtype=torch.float64), torch.full((1, 3), width, dtype=torch.float64),
        torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64), torch.ones(1, dtype=torch.float64),
    )  # fmt: skip
    image = project(one, Poses(unturned, torch.zeros(1, 2, dtype=torch.float64)), grid)[0]
    k = round(share * 32)
    given = torch.fft.rfft(torch.fft.ifftshift(image.sum(0)))[k].real
    exact = _spectrum(one, torch.tensor([k / 64.0, 0.0, 0.0], dtype=torch.float64)).real
    nearest = math.exp(-2.0 * math.pi**2 * width**2 * (1.0 - share))
    assert float(given / exact) - 1.0 == pytest.approx(nearest, rel=0.05)

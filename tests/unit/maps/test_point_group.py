"""Point groups are found, with their axes, in half-maps that were turned and shifted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from cryosplat import GaussianMixture, Grid, fourier, voxelize
from cryosplat.abinitio import poses_in_axes
from cryosplat.formation import VolumeProjector
from cryosplat.maps._turned import Proof, Turned
from cryosplat.maps.point_group import (
    find_point_group,
    hinted_group,
    is_nearly_round,
    symmetrised,
)
from cryosplat.poses import Poses, random_poses
from cryosplat.symmetry import order_of, rotations_of

GRID = Grid(32, 4.0)
TURN = torch.from_numpy(Rotation.random(random_state=3).as_matrix()).float()
SHIFT = torch.tensor([6.0, -5.0, 3.0])


def molecule(symmetry: str) -> GaussianMixture:
    """A dozen Gaussians of an asymmetric unit and their copies, turned and shifted."""
    g = torch.Generator().manual_seed(1)
    k = max(4, 24 // order_of(symmetry))
    means = 14.0 * torch.randn(k, 3, generator=g) + torch.tensor([20.0, 0.0, 0.0])
    means = means * (26.0 / means.norm(dim=1, keepdim=True)).clamp_max(1.0)
    unit = GaussianMixture(
        means, torch.full((k, 3), 5.0), torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(k, 1),
        0.5 + torch.rand(k, generator=g), symmetry,
    )  # fmt: skip
    return placed(unit)


def placed(upright: GaussianMixture) -> GaussianMixture:
    """The same, turned and shifted."""
    turned = upright.rotated(TURN)
    return replace(turned, means=turned.means + SHIFT)


def balls(means: Tensor, amplitudes: Tensor, width: float) -> GaussianMixture:
    k = len(means)
    upright = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(k, 1)
    return GaussianMixture(means, torch.full((k, 3), width), upright, amplitudes)


def ring(third: float) -> GaussianMixture:
    """Twelve equal pairs of balls in a ring, but every third pair weighs ``third`` of the others."""
    turns = torch.from_numpy(rotations_of("C12").copy()).float()
    pair = torch.tensor([[26.0, 0.0, 6.0], [20.0, 4.0, -8.0]])
    angles = torch.atan2(turns[:, 1, 0], turns[:, 0, 0]).argsort()
    amplitudes = torch.tensor([1.0, 0.6]).repeat(12, 1)
    amplitudes[::3] *= third
    means = torch.einsum("tij,kj->tki", turns[angles], pair).reshape(-1, 3)
    return placed(balls(means, amplitudes.flatten(), 4.0))


def shell(lumps: float) -> GaussianMixture:
    """A round shell and, of its mass, ``lumps`` in 24 balls of octahedral symmetry."""
    k = 300
    z = (2.0 * torch.arange(k) + 1.0) / k - 1.0
    angle, r = torch.arange(k) * math.pi * (3.0 - math.sqrt(5.0)), (1.0 - z * z).sqrt()
    around = 24.0 * torch.stack([r * angle.cos(), r * angle.sin(), z], 1)
    turns = torch.from_numpy(rotations_of("O").copy()).float()
    means = torch.cat([around, turns @ torch.tensor([22.0, 9.0, 4.0])])
    masses = torch.cat([torch.full((k,), 1.0 / k), torch.full((24,), lumps / 24.0)])
    return placed(balls(means, masses, 5.0))


def halves(of: GaussianMixture, noise: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """The map, and two with noise of their own."""
    g = torch.Generator().manual_seed(2)
    volume = voxelize(of, GRID)
    noises = noise * volume.std() * torch.randn(2, *volume.shape, generator=g)
    return volume, volume + noises[0], volume + noises[1]


@pytest.mark.parametrize("symmetry", ["C1", "D3", "T"])
def test_groups_are_found_with_their_axes(symmetry: str) -> None:
    volume, half1, half2 = halves(molecule(symmetry))
    found = find_point_group(half1, half2)
    assert found.name == symmetry, found.tried
    if symmetry == "C1":
        return
    # in the axes that were found every rotation of the group leaves the map as it is
    turned = symmetrised(volume, found).double().numpy()
    again = find_point_group(*(torch.from_numpy(turned).float(),) * 2, name=symmetry)
    assert again.agreement > 0.97
    wanted = found.rotation @ TURN.double().numpy()
    own = rotations_of(symmetry)
    for operator in own:  # Q R takes the group of the standard axes to itself
        back = wanted @ operator @ wanted.T
        assert np.abs(own - back).max((1, 2)).min() < 0.06


def proof(of: GaussianMixture, fold: int, noise: float = 0.3) -> Proof:
    """Of a turn about the axis that the molecules above are built about."""
    _, half1, half2 = halves(of, noise)
    turn = Rotation.from_rotvec([0.0, 0.0, 2.0 * math.pi / fold]).as_matrix()
    frame = TURN.double().numpy()
    centre = SHIFT.double().numpy() / GRID.pixel_size
    return Turned.of(half1, half2).proof(frame @ turn @ frame.T, centre)


def test_a_ring_of_twelve_of_which_every_third_differs_is_a_ring_of_four() -> None:
    assert proof(ring(1.0), 12).holds and proof(ring(0.8), 4).holds
    nearly = proof(ring(0.8), 12)
    assert not nearly.holds and nearly.share > 0.8
    found = find_point_group(*halves(ring(0.8))[1:])
    assert found.name == "C4", found.tried


def test_what_is_round_proves_no_symmetry() -> None:
    """Nor does noise make up for it: where half-maps cannot tell, nothing is claimed."""
    for fold in (2, 3, 4, 7, 12):
        assert not proof(shell(0.0), fold).holds
        assert not proof(shell(0.1), fold, noise=1.0).holds
    assert not proof(ring(0.8), 12, noise=1.5).holds


def test_a_smooth_shell_is_no_more_than_octahedral() -> None:
    found = find_point_group(*halves(shell(0.2))[1:])
    assert found.name == "O", found.tried


def test_what_a_nearly_round_map_hints_at_is_no_proof() -> None:
    _, half1, half2 = halves(shell(0.2), noise=1.0)
    assert is_nearly_round(half1, half2)
    hint = hinted_group(half1, half2)
    assert hint is not None and hint.name == "O" and hint.agreement < 0.5
    assert not is_nearly_round(*halves(ring(0.8))[1:])


def test_poses_follow_the_map() -> None:
    """Images of the map at the old poses are those of the turned map at the new ones."""
    volume = voxelize(molecule("C3"), GRID)
    found = find_point_group(volume, volume, name="C3")
    poses = random_poses(4, torch.Generator().manual_seed(0))
    centres = torch.zeros(4, 2, dtype=torch.float64)
    rotations, moved = poses_in_axes(poses.rotations, centres, found, GRID)
    turned = VolumeProjector(symmetrised(volume, found), GRID)
    old = VolumeProjector(volume, GRID).slices(poses, GRID.pixel_size, 32)
    new = turned.slices(Poses(rotations, moved), GRID.pixel_size, 32)
    k = fourier.frequencies((32, 32)) * 32
    phase = torch.exp(-2j * np.pi * torch.einsum("yxc,nc->nyx", k, moved))
    low = fourier.squared_radii((32, 32)) < 36
    difference = ((new * phase - old) * low).abs().square().sum() / (old * low).abs().square().sum()
    assert float(difference) < 0.02

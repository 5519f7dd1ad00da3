"""Point groups are found, with their axes, in half-maps that were turned and shifted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from cryosplat import GaussianMixture, Grid, fourier, voxelize
from cryosplat.abinitio import poses_in_axes
from cryosplat.formation import VolumeProjector
from cryosplat.maps.point_group import find_point_group, symmetrised
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
    turned = unit.rotated(TURN)
    return GaussianMixture(
        turned.means + SHIFT, turned.scales, turned.quaternions, turned.amplitudes
    )


def halves(symmetry: str) -> tuple[Tensor, Tensor, Tensor]:
    """The map, and two with noise of their own."""
    g = torch.Generator().manual_seed(2)
    volume = voxelize(molecule(symmetry), GRID)
    noise = 0.3 * volume.std() * torch.randn(2, *volume.shape, generator=g)
    return volume, volume + noise[0], volume + noise[1]


@pytest.mark.parametrize("symmetry", ["C1", "D3", "T"])
def test_groups_are_found_with_their_axes(symmetry: str) -> None:
    volume, half1, half2 = halves(symmetry)
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

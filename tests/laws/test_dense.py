"""The definitions of splatting and voxelisation need little memory, however many the Gaussians."""

from __future__ import annotations

import pytest
import tolerances
import torch
from problems import blobs

from cryosplat.grid import Grid
from cryosplat.poses import random_poses
from cryosplat.splatting import _reference, project, voxelize


@pytest.mark.parametrize("number", [0, 1, 7, 1000])
def test_parts_cover_all_and_are_small(number: int) -> None:
    like = torch.zeros(1, dtype=torch.float64)
    found = list(_reference.parts(number, 64**3, like))
    assert [i for part in found for i in range(number)[part]] == list(range(number))
    assert all((p.stop - p.start) * 64**3 * 8 <= _reference.PART_BYTES for p in found)
    assert [p.stop - p.start for p in _reference.parts(2, 2**40, like)] == [1, 1]


def test_double_precision_in_parts_is_double_precision_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(6)
    mixture, grid = blobs(11, 8.0, generator), Grid(12, 2.0)
    poses = random_poses(3, generator)
    assert mixture.means.dtype == torch.float64
    found = []
    for size in (2**27, 4 * 8 * 12**3):
        monkeypatch.setattr(_reference, "PART_BYTES", size)
        means = mixture.means.clone().requires_grad_()
        moved = type(mixture)(means, mixture.scales, mixture.quaternions, mixture.amplitudes)
        images, volume = project(moved, poses, grid), voxelize(moved, grid)
        (images.square().sum() + volume.square().sum()).backward()
        found.append((images.detach(), volume.detach(), means.grad))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=tolerances.SUM_FLOAT64, atol=0.0)

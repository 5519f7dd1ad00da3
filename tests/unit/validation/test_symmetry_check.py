"""What particles say of a symmetry: right, wrong, too large, and where there is no signal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import blobs, simulated_batch, white

from cryosplat.batch import Batch
from cryosplat.grid import Grid
from cryosplat.poses import Poses
from cryosplat.splatting import voxelize
from cryosplat.symmetry import equivalent
from cryosplat.validation.findings import WRONG_SYMMETRY
from cryosplat.validation.symmetry_check import Rival, SymmetryCheck, check_symmetry

GRID = Grid(24, 3.0)
N = 240


def _particles(symmetry: str, deviations: float) -> tuple[Batch, float]:
    """Particles of a molecule of ``symmetry`` with poses in all asymmetric units; their noise, in
    standard ``deviations`` of the images."""
    generator = torch.Generator().manual_seed(3)
    mixture = replace(blobs(12, 18.0, generator, 2.5), symmetry=symmetry)
    volume = voxelize(mixture, GRID).float()
    clean = simulated_batch(volume, GRID, N, 0.0, torch.Generator().manual_seed(4))
    noise = deviations * float(clean.images.std())
    batch = simulated_batch(volume, GRID, N, noise, torch.Generator().manual_seed(4))
    random = np.random.default_rng(2)
    spread = torch.from_numpy(equivalent(batch.poses.rotations.numpy(), symmetry, random))
    return replace(batch, poses=Poses(spread, batch.poses.shifts)), noise


def _asked(batch: Batch, noise: float, symmetry: str) -> SymmetryCheck:
    half_sets = 1 + torch.arange(N) % 2
    return check_symmetry([batch], half_sets, symmetry, GRID, white(GRID, noise))


@pytest.mark.parametrize(("asked", "there"), [("C2", True), ("D2", True), ("C3", False)])
def test_a_symmetry_is_preferred_where_it_is_there_and_only_there(asked: str, there: bool) -> None:
    found = _asked(*_particles("D2", 3.0), asked)
    assert found.n == N and all(len(rival.advantages) == N for rival in found.rivals)
    deviations = found.strongest.deviations
    assert deviations < -WRONG_SYMMETRY if there else deviations > WRONG_SYMMETRY


def test_a_group_that_is_too_large_loses_to_its_part_that_is_there() -> None:
    """Also where noise is such that it beats no symmetry at all."""
    found = _asked(*_particles("C2", 3.0), "D2")
    assert [rival.symmetry for rival in found.rivals] == ["C1", "C2", "D1"]
    assert found.strongest.symmetry == "C2"
    assert found.strongest.deviations > WRONG_SYMMETRY


def test_noise_says_nothing_against_a_symmetry() -> None:
    batch, noise = _particles("C1", 3.0)
    generator = torch.Generator().manual_seed(9)
    images = noise * torch.randn(batch.images.shape, generator=generator)
    for symmetry in ("C2", "D3", "O"):
        found = _asked(replace(batch, images=images), noise, symmetry)
        assert found.strongest.deviations < 2.0


def test_the_error_is_that_of_a_sum() -> None:
    rival = Rival("C1", 20, torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert rival.nats == 4.0 and rival.error == pytest.approx(2.0)
    assert rival.deviations == pytest.approx(2.0)
    assert Rival("C1", 20, torch.zeros(0)).deviations == 0.0
    weak = Rival("C2", 20, torch.tensor([-1.0, -3.0], dtype=torch.float64))
    assert SymmetryCheck("D2", 2, (weak, rival)).summary()["strongest_rival"] == "C1"

"""Laws of symmetric mixtures: what the stored Gaussians stand for, in maps, images and statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tolerances
import torch
from problems import GROUP, blobs, noise_model, random_batch
from torch import Tensor

from cryosplat.batch import Batch
from cryosplat.errors import SettingsError
from cryosplat.formation import MixtureProjector, form_images
from cryosplat.grid import Grid
from cryosplat.mixture import TENSORS, GaussianMixture, concatenate, mean_of
from cryosplat.poses import Poses, random_poses
from cryosplat.simulation import band_limited_map
from cryosplat.splatting import project, voxelize
from cryosplat.statistics import Accumulator, QuadraticForm, Statistics
from cryosplat.symmetry import equivalent, order_of, rotations_of

SEED = 11

GRID = Grid(24, 2.0)
GROUPS = ("C2", "C3", "D2", "D7", "T", "O", "I1", "I3")


def _mixture(symmetry: str, generator: torch.Generator, k: int = 3) -> GaussianMixture:
    return replace(blobs(k, 12.0, generator), symmetry=symmetry)


def _spread(poses: Poses, symmetry: str) -> Poses:
    random = np.random.default_rng(5)
    return replace(
        poses, rotations=torch.from_numpy(equivalent(poses.rotations.numpy(), symmetry, random))
    )


def _statistics(batch: Batch, symmetry: str) -> Statistics:
    accumulator = Accumulator(GRID, noise_model((GROUP,)), symmetry)
    accumulator.add(batch)
    return accumulator.result()


def _near(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return float((a - b).abs().max()) < tolerance * float(b.abs().max())


@pytest.mark.parametrize("symmetry", GROUPS)
def test_the_whole_is_the_sum_of_the_turned_units(
    symmetry: str, generator: torch.Generator
) -> None:
    mixture = _mixture(symmetry, generator)
    unit = replace(mixture, symmetry="C1")
    turned = [unit.rotated(torch.tensor(rotation)) for rotation in rotations_of(symmetry)]
    expected = sum(voxelize(one, GRID) for one in turned)
    assert isinstance(expected, Tensor)
    assert len(mixture) == 3 and len(mixture.whole()) == 3 * order_of(symmetry)
    for volume in (voxelize(mixture, GRID), voxelize(mixture.whole(), GRID)):
        assert _near(volume, expected, tolerances.ZERO_FLOAT64)
    for name in TENSORS:  # the stored unit comes first
        torch.testing.assert_close(getattr(mixture.whole(), name)[:3], getattr(mixture, name))


@pytest.mark.parametrize("symmetry", GROUPS)
def test_equivalent_poses_give_one_image(symmetry: str, generator: torch.Generator) -> None:
    mixture, poses = _mixture(symmetry, generator), random_poses(4, generator, 3.0)
    image = project(mixture, poses, GRID)
    assert _near(
        project(mixture, _spread(poses, symmetry), GRID), image, tolerances.EQUIVALENT_FLOAT64
    )
    assert _near(project(mixture.whole(), poses, GRID), image, tolerances.EQUIVALENT_FLOAT64)
    batch = random_batch(4, (GROUP,), generator)
    formed = [
        form_images(MixtureProjector(m), p, batch.optics, GROUP.box_size)
        for m, p in ((mixture, poses), (mixture.whole(), _spread(poses, symmetry)))
    ]
    assert _near(formed[1], formed[0], tolerances.EQUIVALENT_FLOAT64)


def test_half_and_quarter_turns_leave_the_map_as_it_is(generator: torch.Generator) -> None:
    volume = voxelize(_mixture("O", generator), GRID).float()[1:, 1:, 1:]
    turns = volume.flip(1, 2), volume.flip(0, 1), volume.rot90(1, (1, 2)), volume.permute(2, 0, 1)
    for turned in turns:
        assert _near(turned, volume, tolerances.SYMMETRIC_MAP)


def test_gradients_reach_the_stored_gaussians(generator: torch.Generator) -> None:
    """Those of all copies, turned back: checked by differences, at no special point."""
    mixture = _mixture("D3", generator, 2)
    poses = random_poses(2, generator)
    weights = torch.randn(2, 24, 24, generator=generator, dtype=torch.float64)

    def seen(*tensors: Tensor) -> Tensor:
        return (project(GaussianMixture(*tensors, symmetry="D3"), poses, GRID) * weights).sum()

    tensors = [getattr(mixture, name).clone().requires_grad_() for name in TENSORS]
    assert torch.autograd.gradcheck(seen, tensors)


def test_mass_counts_every_copy(generator: torch.Generator) -> None:
    mixture = replace(blobs(4, 6.0, generator), symmetry="D2")
    mass = 4.0 * float(mixture.amplitudes.sum())
    assert float(voxelize(mixture, GRID).sum()) == pytest.approx(mass, rel=tolerances.MASS)
    assert float(band_limited_map(mixture, GRID).sum()) == pytest.approx(mass, rel=tolerances.MASS)


def test_a_turned_mixture_is_whole(generator: torch.Generator) -> None:
    mixture, turn = _mixture("C3", generator), random_poses(1, generator).rotations[0]
    turned = mixture.rotated(turn)
    assert turned.symmetry == "C1" and len(turned) == 9
    view = random_poses(1, generator)
    ahead = replace(view, rotations=view.rotations @ turn)
    assert _near(
        project(turned, view, GRID), project(mixture, ahead, GRID), tolerances.ROUND_FLOAT64
    )


def test_only_mixtures_of_one_symmetry_go_together(generator: torch.Generator) -> None:
    first, second = _mixture("C3", generator), _mixture("C3", generator)
    merged = mean_of([first, second])
    assert merged.symmetry == "C3" and len(merged) == 6
    assert merged.select(torch.tensor([4])).symmetry == "C3"
    mean = (voxelize(first, GRID) + voxelize(second, GRID)) / 2
    assert _near(voxelize(merged, GRID), mean, tolerances.ZERO_FLOAT64)
    with pytest.raises(SettingsError, match="the symmetries C1 and C3, expected one"):
        concatenate([first, second.whole()])
    with pytest.raises(SettingsError, match="symmetry is 'C3v', expected C1 to C99"):
        replace(first, symmetry="C3v")


@pytest.mark.parametrize("symmetry", GROUPS)
def test_statistics_are_the_mean_over_equivalent_poses(
    symmetry: str, generator: torch.Generator
) -> None:
    """Whether they were spread or permuted, and wherever the poses were."""
    batch = random_batch(12, (GROUP,), generator)
    found = _statistics(batch, symmetry)
    expected = Statistics.zero(GRID)
    for rotation in rotations_of(symmetry):
        turned = replace(batch.poses, rotations=batch.poses.rotations @ torch.tensor(rotation))
        expected = expected + _statistics(replace(batch, poses=turned), "C1")
    n, limit = order_of(symmetry), tolerances.EQUIVALENT_STATISTICS
    assert _near(found.backprojection, expected.backprojection / n, limit)
    assert _near(found.transfer, expected.transfer / n, limit)
    elsewhere = _statistics(replace(batch, poses=_spread(batch.poses, symmetry)), symmetry)
    assert _near(elsewhere.backprojection, found.backprojection, limit)
    assert _near(elsewhere.transfer, found.transfer, limit)
    assert found.energy == _statistics(batch, "C1").energy and found.n_images == 12


@pytest.mark.parametrize("symmetry", ["C3", "D2", "T"])
def test_likelihood_of_a_symmetric_map_is_unchanged(
    symmetry: str, generator: torch.Generator
) -> None:
    batch = random_batch(12, (GROUP,), generator)
    volume = voxelize(_mixture(symmetry, generator), GRID).float()
    forms = [QuadraticForm(_statistics(batch, name), 24) for name in ("C1", symmetry)]
    size = 0.5 * float((volume * forms[0].convolve(volume)).sum())
    assert abs(float(forms[1](volume) - forms[0](volume))) < tolerances.SYMMETRIC_ENERGY * size


def test_backprojection_has_the_symmetry_to_rounding(generator: torch.Generator) -> None:
    b = _statistics(random_batch(12, (GROUP,), generator), "D4").backprojection[1:, 1:, 1:]
    for turned in (b.flip(1, 2), b.flip(0, 1), b.rot90(1, (1, 2))):
        assert _near(turned, b, tolerances.SUM_FLOAT32)

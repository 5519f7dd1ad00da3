"""Uncertainty of Gaussians from two half-maps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import tolerances
import torch
from problems import blobs
from torch import Tensor

from cryosplat.errors import InputError
from cryosplat.grid import Grid
from cryosplat.maps.uncertainty import Uncertainty, mixture_uncertainty
from cryosplat.mixture import TENSORS, GaussianMixture, mean_of
from cryosplat.splatting import voxelize

SEED = 4

GRID = Grid(48, 2.0)


@pytest.fixture
def lone(generator: torch.Generator) -> GaussianMixture:
    """Twenty-seven anisotropic Gaussians of one shape and mass, too far apart to touch."""
    axis = torch.tensor([-24.0, 0.0, 24.0])
    means = torch.cartesian_prod(axis, axis, axis)
    quaternions = torch.nn.functional.normalize(torch.randn(27, 4, generator=generator), dim=1)
    scales = torch.tensor([[1.8, 2.2, 2.8]]).repeat(27, 1)
    return GaussianMixture(means, scales, quaternions, torch.ones(27))


def _moved(mixture: GaussianMixture, by: Tensor) -> GaussianMixture:
    return replace(mixture, means=mixture.means + by)


def _found(full: GaussianMixture, *halves: GaussianMixture) -> Uncertainty:
    return mixture_uncertainty(full, *(voxelize(h, GRID) for h in halves), GRID)


def test_a_lone_gaussian_that_moves_is_seen_to_move(lone: GaussianMixture) -> None:
    """Halves at +-d: the mean of both has deviation |2 d| / 2, over sqrt(3) along each axis."""
    shift = torch.tensor([0.10, -0.15, 0.20])
    found = _found(lone, _moved(lone, shift), _moved(lone, -shift))
    expected = torch.full((27,), float(shift.norm()) / math.sqrt(3.0))
    torch.testing.assert_close(found.position, expected, **tolerances.SEEN_MOVING)
    assert bool(found.matched.all())


def test_a_lone_gaussian_that_changes_is_seen_to_change(lone: GaussianMixture) -> None:
    halves = [replace(lone, amplitudes=lone.amplitudes * s) for s in (1.1, 0.9)]
    found = _found(lone, *halves)
    torch.testing.assert_close(found.amplitude, torch.full((27,), 0.1), **tolerances.SEEN_MOVING)
    assert float(found.position.max()) < 1e-3


def test_how_a_half_is_composed_does_not_matter(
    lone: GaussianMixture, generator: torch.Generator
) -> None:
    """Another number of Gaussians in another order is the same density: no uncertainty."""
    order = torch.randperm(27, generator=generator)
    found = _found(lone, mean_of([lone, lone, lone]), lone.select(order))
    assert float(found.position.max()) < 1e-4
    assert float(found.amplitude.max()) < 1e-5


def test_prediction_equals_the_error_of_the_mean(generator: torch.Generator) -> None:
    """Halves with independent noise: the rms over all Gaussians is that of the mean map's error."""
    drawn = blobs(300, 30.0, generator, width=2.5)
    mixture = GaussianMixture(*(getattr(drawn, name).float() for name in TENSORS))
    clean = voxelize(mixture, GRID)
    noise = [0.1 * float(clean.max()) * torch.randn(clean.shape, generator=generator) for _ in "12"]
    found = mixture_uncertainty(mixture, clean + noise[0], clean + noise[1], GRID)
    full = clean + 0.5 * (noise[0] + noise[1])
    # the same two functionals of the mean map and the truth, whose difference is the whole error
    error = mixture_uncertainty(mixture, full, clean, GRID)
    for predicted, half_of_true in (
        (found.position, error.position), (found.amplitude, error.amplitude)
    ):  # fmt: skip
        ratio = 2.0 * float(half_of_true.square().mean().sqrt() / predicted.square().mean().sqrt())
        assert ratio == pytest.approx(1.0, rel=tolerances.PREDICTED_ERROR)


def test_weak_gaussians_are_less_certain(generator: torch.Generator, lone: GaussianMixture) -> None:
    """Under noise that is the same everywhere, a tenth of the density is ten times as uncertain."""
    weak = torch.arange(27) % 2 == 0
    same = replace(lone, scales=torch.full((27, 3), 3.0), amplitudes=torch.where(weak, 1.0, 10.0))
    clean = voxelize(same, GRID)
    noise = 0.01 * float(clean.max())
    halves = [clean + noise * torch.randn(clean.shape, generator=generator) for _ in "12"]
    found = mixture_uncertainty(same, *halves, GRID)
    ratio = float(found.amplitude[weak].median() / found.amplitude[~weak].median())
    assert ratio == pytest.approx(10.0, rel=0.3)


def test_what_one_half_lacks_is_unmatched_and_finite(lone: GaussianMixture) -> None:
    without = lone.select(torch.arange(1, 27))
    found = _found(lone, lone, without)
    assert found.matched.tolist() == [False] + [True] * 26
    assert found.summary()["matched"] == pytest.approx(26 / 27)
    nothing = torch.zeros((48,) * 3)
    for empty in (nothing, -voxelize(lone, GRID)):
        found = mixture_uncertainty(lone, empty, empty, GRID)
        assert not bool(found.matched.any())
        assert bool(torch.isfinite(found.position).all() & torch.isfinite(found.amplitude).all())
    widths = lone.scales.prod(-1).pow(1 / 3)
    assert bool((found.position <= widths + 1e-6).all())


def test_no_gaussians_and_wrong_boxes(lone: GaussianMixture) -> None:
    volume = torch.zeros((48,) * 3)
    none = mixture_uncertainty(lone.select(torch.zeros(0, dtype=torch.int64)), volume, volume, GRID)
    assert none.summary() == {"matched": 0.0, "median_position": None, "median_amplitude": None}
    with pytest.raises(InputError, match=r"second half-map has shape \(40, 48, 48\)"):
        mixture_uncertainty(lone, volume, volume[:40], GRID)

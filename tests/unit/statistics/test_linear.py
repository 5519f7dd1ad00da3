"""Regularised voxel maps: the normal equations, their penalty, and the Wiener rule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import tolerances
import torch
from problems import (
    blobs,
    no_optics,
    noise_model,
    random_batch,
    simulated_batch,
    statistics_of,
    white,
)
from torch import Tensor

from cryosplat import fourier
from cryosplat.batch import Batch
from cryosplat.grid import Grid
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.optics import OpticsGroup
from cryosplat.poses import random_poses
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics, penalty_from_fsc, shell_means, solve
from cryosplat.statistics._linear import LEAST_PENALTY

SEED = 5

GRID = Grid(24, 2.0)
GROUPS = (OpticsGroup("g", 2.0, 24, 300e3, 2.7e7, 0.1),)


@pytest.fixture
def form(generator: torch.Generator) -> QuadraticForm:
    batch = random_batch(60, GROUPS, generator)
    return QuadraticForm(statistics_of([batch], GRID, noise_model(GROUPS)), 24)


def _filtered(volume: Tensor, penalty: np.ndarray, form: QuadraticForm) -> Tensor:
    shells = fourier.shells((form.grid.box_size,) * 3).clamp_max(len(penalty) - 1)
    weights = torch.from_numpy(penalty + LEAST_PENALTY * shell_means(form).max())[shells]
    return torch.fft.irfftn(torch.fft.rfftn(volume.double()) * weights, s=volume.shape)


def test_the_solution_solves_the_regularised_normal_equations(form: QuadraticForm) -> None:
    penalty = 1.0 * shell_means(form)
    solution = solve(form, penalty, 60)
    left = form.convolve(solution).double() + _filtered(solution, penalty, form)
    assert float((left - form.linear).norm() / form.linear.norm()) < tolerances.CONJUGATE_GRADIENTS


def test_more_steps_never_make_the_penalised_likelihood_worse(form: QuadraticForm) -> None:
    penalty = 0.2 * shell_means(form)
    values = []
    for steps in (0, 1, 2, 4, 8):
        v = solve(form, penalty, steps)
        values.append(float(form(v)) + 0.5 * float((v * _filtered(v, penalty, form)).sum()))
    assert values[0] == 0.0
    assert all(b < a for a, b in pairwise(values))


def test_what_few_images_say_wrongly_about_the_corners_does_not_grow(form: QuadraticForm) -> None:
    """In the corners of the box K is gridded roughly; with little damping it is not positive."""
    norms = [float(solve(form, 0.2 * shell_means(form), steps).norm()) for steps in (10, 40)]
    assert norms[1] < 1.2 * norms[0]


def test_shell_means_are_the_information_on_a_coefficient(generator: torch.Generator) -> None:
    n, d = 400, 24
    batch = Batch(
        torch.arange(n), torch.zeros(n, d, d), random_poses(n, generator), no_optics(n, GROUPS[0])
    )
    means = shell_means(QuadraticForm(statistics_of([batch], GRID, white(GRID)), d))
    # n rings of 2 pi s coefficients in a shell of 4 pi s^2; a coefficient is d^3 / d^2 sums long
    ky, kx = np.meshgrid(*(np.arange(-12, 12),) * 2, indexing="ij")
    rings = np.bincount(np.floor(np.hypot(kx, ky) + 0.5).astype(int).ravel())[:11]
    counts = fourier.friedel_counts(d).expand(d, d, -1)
    half = fourier.shell_sums(counts)[:11].numpy()
    # every coefficient of an image, of weight 1 / d^2, adds a sum over d^3 voxels; the images' own
    # lattice of frequencies, sampled at that of the box, makes the sum uneven
    np.testing.assert_allclose((means[:11] * half).sum(), n * rings.sum() * d, rtol=0.3)


def test_data_without_noise_give_the_map_back(generator: torch.Generator) -> None:
    truth = voxelize(blobs(12, 12.0, generator), GRID).float()
    batch = simulated_batch(truth, GRID, 300, 0.0, generator)
    form = QuadraticForm(statistics_of([batch], GRID, white(GRID, 0.01)), 24)
    solution = solve(form, 1e-4 * shell_means(form), 30)
    assert float(fourier_shell_correlation(solution, truth)[1:7].min()) > 0.98


def test_the_wiener_penalty_is_the_noise_over_the_signal(form: QuadraticForm) -> None:
    means = shell_means(form)
    fsc = torch.linspace(1.0, 0.2, 13, dtype=torch.float64)
    penalty = penalty_from_fsc(form, fsc)
    half = fsc.clamp(max=0.9999).numpy()
    full = 2 * half / (1 + half)
    np.testing.assert_allclose(penalty, means * (1 - full) / full)


def test_shells_without_signal_are_damped_as_those_with_least(form: QuadraticForm) -> None:
    none = penalty_from_fsc(form, torch.zeros(13, dtype=torch.float64))
    assert np.isfinite(none).all()
    negative = penalty_from_fsc(form, torch.full((13,), -0.5, dtype=torch.float64))
    np.testing.assert_array_equal(none, negative)


def test_a_form_without_images_has_an_empty_solution() -> None:
    empty = QuadraticForm(Statistics.zero(GRID), 24)
    solution = solve(empty, np.zeros(13), 5)
    assert not bool(torch.isnan(solution).any()) and float(solution.abs().max()) == 0.0

"""Laws of what images say of their optics: defocus, and the beam tilt and magnification of groups."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import tolerances
import torch
from problems import ABERRATIONS, blobs, noise_model, random_batch, simulated_batch, white
from torch import Tensor

from cryosplat.alignment import ReadyImages, Template, evaluated
from cryosplat.alignment.contrast import OpenImages
from cryosplat.alignment.defocus import (
    DefocusSums,
    estimated_width,
    log_evidence_of,
    offsets,
    posterior_of,
)
from cryosplat.alignment.lenses import LensSlopes, with_lenses
from cryosplat.batch import Batch
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.optics import OpticsGroup
from cryosplat.poses import Poses
from cryosplat.splatting import voxelize

SEED = 12

GRID = Grid(32, 1.75)
GROUPS = (
    OpticsGroup("plain", 2.0, 24, 300e3, 2.7e7, 0.1),
    OpticsGroup("aberrant", 2.0, 24, 300e3, 2.7e7, 0.1, **ABERRATIONS),
)
LIMIT = 0.2  # 1/Angstrom
STEPS = (1e-2, 1e-2, 5.0, 1e-5, 1e-5, 5e-4)
"""Of shift and defocus (Angstrom), beam tilt (radian) and logarithm of magnification."""


@pytest.fixture
def volume(generator: torch.Generator) -> Tensor:
    return voxelize(blobs(30, 14.0, generator, 1.6), GRID).float()


def _changed(batch: Batch, unknown: int, step: float) -> Batch:
    """A batch with a little more of one unknown."""
    poses, optics = batch.poses, batch.optics
    if unknown < 2:
        move = torch.zeros(2, dtype=torch.float64)
        move[unknown] = step
        return replace(batch, poses=Poses(poses.rotations, poses.shifts + move))
    if unknown == 2:
        return replace(batch, optics=replace(
            optics, defocus_u=optics.defocus_u + step, defocus_v=optics.defocus_v + step
        ))  # fmt: skip
    change = torch.zeros(len(optics.groups), 3, dtype=torch.float64)
    change[:, unknown - 3] = step
    return replace(batch, optics=with_lenses(optics, change))


@pytest.mark.parametrize("group", [0, 1])
def test_gradient_is_that_of_finite_differences(
    volume: Tensor, generator: torch.Generator, group: int
) -> None:
    """At the symmetric point too: a group without aberrations and with magnification 1."""
    batch = random_batch(4, GROUPS, generator, group)
    template, noise = Template.of(volume, GRID, LIMIT), noise_model(GROUPS)
    gradient = LensSlopes.of(OpenImages.of(batch, noise), template).gradient
    for unknown, step in enumerate(STEPS):
        if unknown == 5 and group == 1:
            continue  # what magnification does to aberrations is left out
        sides = [
            LensSlopes.of(OpenImages.of(_changed(batch, unknown, s * step), noise), template)
            for s in (1.0, -1.0)
        ]
        numerical = (sides[0].likelihood - sides[1].likelihood) / (2.0 * step)
        error = (gradient[:, unknown] - numerical).abs().max() / numerical.abs().max()
        assert error < 0.02, unknown


def test_curvature_is_that_of_images_without_a_residual(
    volume: Tensor, generator: torch.Generator
) -> None:
    """There the matrix of Gauss and Newton is minus the second derivative."""
    batch = simulated_batch(volume, GRID, 4, 0.0, generator)
    template, noise = Template.of(volume, GRID, LIMIT), white(GRID)
    found = LensSlopes.of(OpenImages.of(batch, noise), template)
    scale = found.curvature.diagonal(dim1=1, dim2=2).sqrt()
    for unknown, step in enumerate(STEPS):
        wide = 2.0 * step
        sides = [
            LensSlopes.of(OpenImages.of(_changed(batch, unknown, s * wide), noise), template)
            for s in (1.0, -1.0)
        ]
        numerical = (sides[1].gradient - sides[0].gradient) / (2.0 * wide)
        error = (found.curvature[:, unknown] - numerical).abs()
        assert bool((error < 0.03 * scale[:, unknown, None] * scale).all()), unknown


def test_likelihood_is_that_of_poses(volume: Tensor, generator: torch.Generator) -> None:
    batch = random_batch(6, GROUPS, generator, 1)
    template, noise = Template.of(volume, GRID, LIMIT), noise_model(GROUPS)
    expected = evaluated(ReadyImages.of(batch, noise), template).likelihood
    images = OpenImages.of(batch, noise)
    sums = DefocusSums.of(images, template)
    for value in (LensSlopes.of(images, template).likelihood, sums.at(torch.zeros(6).double())):
        error = (value - expected).abs().max() / expected.abs().max()
        assert error < tolerances.LIKELIHOOD_KERNEL


def test_a_change_of_defocus_is_exact(volume: Tensor, generator: torch.Generator) -> None:
    """Sums over an image know its likelihood at any defocus."""
    batch = random_batch(6, GROUPS, generator, 1)
    template, noise = Template.of(volume, GRID, LIMIT), noise_model(GROUPS)
    sums = DefocusSums.of(OpenImages.of(batch, noise), template)
    for change in (-800.0, 300.0):
        moved = OpenImages.of(_changed(batch, 2, change), noise)
        expected = DefocusSums.of(moved, template).at(torch.zeros(6).double())
        found = sums.at(torch.full((6,), change).double())
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    at = int((offsets() == 300.0).nonzero())
    torch.testing.assert_close(sums.profile()[:, at], found)


def test_errors_of_defocus_are_found_and_exact_ones_stay(
    volume: Tensor, generator: torch.Generator
) -> None:
    exact = simulated_batch(volume, GRID, 150, 0.0, generator)
    noise = 1.5 * float(exact.images.std())
    exact = replace(
        exact, images=exact.images + noise * torch.randn(exact.images.shape, generator=generator)
    )
    errors = 400.0 * torch.randn(150, generator=generator, dtype=torch.float64)
    optics = exact.optics
    wrong = replace(exact, optics=replace(
        optics, defocus_u=optics.defocus_u + errors, defocus_v=optics.defocus_v + errors
    ))  # fmt: skip
    template = Template.of(volume, GRID, 0.28)
    widths, left = [], []
    for batch in (exact, wrong):
        profile = DefocusSums.of(OpenImages.of(batch, white(GRID, noise)), template).profile()
        widths.append(estimated_width(profile))
        found, deviation = posterior_of(profile, widths[-1])
        left.append(found)
        gain = log_evidence_of(profile, widths[-1]) - profile[:, len(offsets()) // 2]
        assert float(gain.sum()) >= 0.0
    assert widths[0] < 100.0 and widths[1] == pytest.approx(400.0, rel=0.25)
    assert float(left[0].abs().median()) < 30.0
    remaining = (left[1] + errors).abs()
    assert float(remaining.median()) < 150.0 and float(remaining.mean()) < float(
        errors.abs().mean()
    )
    assert float(remaining.square().mean().sqrt()) == pytest.approx(
        float(deviation.square().mean().sqrt()), rel=0.3
    )  # the posterior knows how sure it is


def test_a_wrong_magnification_and_a_beam_tilt_are_found(
    volume: Tensor, generator: torch.Generator
) -> None:
    exact = simulated_batch(volume, GRID, 60, 0.0, generator)
    group = exact.optics.groups[0]
    true = torch.tensor([[1e-3, -1e-3, math.log(1.01)]], dtype=torch.float64)
    optics = with_lenses(exact.optics, true)
    images = form_images(VolumeProjector(volume, GRID), exact.poses, optics, group.box_size)
    noise = float(images.std())
    images = images + noise * torch.randn(images.shape, generator=generator)
    given = replace(exact, images=images)
    template = Template.of(volume, GRID, 0.28)
    found = torch.zeros(1, 3, dtype=torch.float64)
    evidences = []
    for _ in range(3):
        batch = replace(given, optics=with_lenses(given.optics, found))
        slopes = LensSlopes.of(OpenImages.of(batch, white(GRID, noise)), template)
        evidences.append(slopes.log_evidence((0.5, 0.0)))
        step, errors = slopes.equations(1, (0.5, 0.0)).step()
        found = found + step
    assert bool(((found - true).abs() < 4.0 * errors).all())
    assert bool((true.abs() > 5.0 * errors).all())
    assert float((evidences[-1] - evidences[0]).sum()) > 10.0

"""Laws of the solvent: one factor of the map, wherever it is applied."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from image_problems import GRID, NOISE, images, reading, some_blobs
from problems import GROUP, blobs, random_optics, simulated_batch, statistics_of, white

from cryosplat import fourier
from cryosplat.errors import SettingsError
from cryosplat.fitting.images.data import observe
from cryosplat.fitting.images.term import ImageLikelihood
from cryosplat.formation import MixtureProjector, SolvatedProjector, VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.poses import random_poses
from cryosplat.solvent import VACUUM, Solvent, image_frequencies
from cryosplat.splatting import project, voxelize
from cryosplat.statistics import QuadraticForm

SEED = 3

WATER = Solvent(0.9, 900.0)
BOX = Grid(48, 2.0)


def test_a_gaussian_has_a_wider_companion_of_the_opposite_sign(generator: torch.Generator) -> None:
    mixture = blobs(8, 10.0, generator)
    mixture = replace(mixture, scales=mixture.scales[:, :1].expand(-1, 3).clone())
    wider = (mixture.scales.square() + WATER.b_factor / (8.0 * math.pi**2)).sqrt()
    companion = voxelize(replace(mixture, scales=wider), BOX)
    expected = voxelize(mixture, BOX) - WATER.contrast * companion
    shown = WATER.shown(voxelize(mixture, BOX), BOX)
    torch.testing.assert_close(shown, expected, rtol=0.0, atol=2e-6 * float(expected.max()))


def test_vacuum_changes_nothing(generator: torch.Generator) -> None:
    volume = torch.randn(8, 8, 8, generator=generator)
    assert VACUUM.shown(volume, Grid(8, 2.0)) is volume
    assert float(VACUUM(torch.tensor(0.1))) == 1.0
    assert not VACUUM
    assert WATER


@pytest.mark.parametrize("wrong", [(-0.1, 1.0), (1.1, 1.0), (0.5, -1.0), (math.nan, 1.0)])
def test_a_solvent_has_a_contrast_and_a_width(wrong: tuple[float, float]) -> None:
    with pytest.raises(SettingsError, match="expected 0 to 1"):
        Solvent(*wrong)


def test_statistics_seen_through_are_those_of_the_map_before(generator: torch.Generator) -> None:
    molecule = voxelize(blobs(12, 12.0, generator), BOX).float()
    shown = WATER.shown(molecule, BOX)
    statistics = statistics_of([simulated_batch(shown, BOX, 30, 0.0, generator)], BOX, white(BOX))
    before, after = (
        QuadraticForm(s, BOX.box_size) for s in (statistics, statistics.seen_through(WATER))
    )
    other = voxelize(blobs(5, 10.0, generator), BOX).float()
    for volume in (molecule, other):
        found, expected = float(after(volume)), float(before(WATER.shown(volume, BOX)))
        assert found == pytest.approx(expected, rel=2e-4)
    # images without noise leave nothing unexplained, and vacuum does
    assert statistics.energy + float(after(molecule)) == pytest.approx(
        0.0, abs=2e-3 * statistics.energy
    )
    best = before.line_search(molecule) * molecule
    assert statistics.energy + float(before(best)) > 0.1 * statistics.energy


def test_images_in_water_are_those_of_the_map_in_water(generator: torch.Generator) -> None:
    mixture = blobs(6, 10.0, generator)
    poses, optics = random_poses(5, generator, 3.0), random_optics(5, (GROUP,), generator)
    wet = SolvatedProjector(MixtureProjector(mixture), WATER)
    found = form_images(wet, poses, optics, BOX.box_size)
    shown = VolumeProjector(WATER.shown(voxelize(mixture, BOX), BOX), BOX)
    expected = form_images(shown, poses, optics, BOX.box_size)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=5e-3 * float(expected.abs().max()))


def test_the_image_term_filters_what_is_rendered_and_its_gradient() -> None:
    batch = images(4)
    data = replace(reading(batch), solvent=WATER)
    observed = observe(batch, data)
    poses = observed.poses
    rendered = project(some_blobs(10, 1), poses, GRID).detach().requires_grad_()
    likelihood = ImageLikelihood(GRID, white(GRID, NOISE).precision, WATER)
    value = likelihood(rendered, observed)
    (gradient,) = torch.autograd.grad(value, rendered)
    plain = ImageLikelihood(GRID, white(GRID, NOISE).precision)
    gain = WATER(image_frequencies(GRID))
    expected = plain(fourier.filter(rendered, gain, 2), observed)
    (slope,) = torch.autograd.grad(expected, rendered)
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(gradient, slope, rtol=0.0, atol=1e-4 * float(slope.abs().max()))

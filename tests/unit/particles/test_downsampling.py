"""Larger pixels: the same molecule in the same box, the same noise, and clear limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from data_sets import make_data_set
from mixed_sets import write_set
from noting import only, states
from problems import blobs
from tolerances import DOWNSAMPLED

from cryosplat import fourier
from cryosplat.errors import SettingsError
from cryosplat.grid import Grid
from cryosplat.noise import estimate_noise
from cryosplat.particles import downsampled, read_particles
from cryosplat.poses import random_poses
from cryosplat.simulation import SimulationSettings, simulate_particles
from cryosplat.splatting import project


@pytest.mark.parametrize(("stored", "box"), [(48, 24), (48, 32), (45, 30), (46, 23)])
def test_a_cropped_image_is_the_projection_with_larger_pixels(stored: int, box: int) -> None:
    generator = torch.Generator().manual_seed(0)
    mixture = blobs(20, 12.0, generator, width=6.5)
    poses = random_poses(3, generator)
    fine = project(mixture, poses, Grid(stored, 96.0 / stored))
    coarse = project(mixture, poses, Grid(box, 96.0 / box)) * (box / stored)
    cropped = fourier.resample(fine.float(), box, 2) * (box / stored)
    assert float((cropped - coarse).norm() / coarse.norm()) < DOWNSAMPLED


def test_white_noise_keeps_its_power_below_nyquist(tmp_path: Path) -> None:
    """And with it its deviation: pixels lose only what was at the Nyquist frequency."""
    noise = make_data_set(tmp_path, 40, 64)
    (tmp_path / "noise.star").write_text(noise.star_rows())
    particles = downsampled(read_particles(tmp_path / "noise.star"), 32)
    images = torch.cat([batch.images for batch in particles.batches()])
    power = torch.fft.rfft2(images).abs().square().mean(0) / 32**2
    kept = fourier.below_nyquist((32, 32))
    assert float(power[kept].mean()) == pytest.approx(1.0, abs=0.02)
    assert float(power[~kept].max()) < 1e-10
    assert float(images.std()) == pytest.approx(31 / 32, abs=0.01)
    variance = estimate_noise(particles.batches()).variance[0]
    # the first shells carry the error of each image's plane
    torch.testing.assert_close(variance[2:] / 32**2, torch.ones(15).double(), rtol=0.15, atol=0.0)


def test_a_box_that_cannot_be_is_refused(star: Callable[..., Path]) -> None:
    with pytest.raises(SettingsError, match="--downsample 6: expected an even number of pixels"):
        downsampled(read_particles(star()), 6)


def test_pixel_size_and_box_change_together(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    settings = SimulationSettings(30, snr=0.5)
    mixture = blobs(20, 12.0, generator, width=4.0)
    star = simulate_particles(mixture, Grid(32, 2.0), settings, tmp_path / "set", generator)
    smaller = downsampled(read_particles(star), 20)
    assert (smaller.box_size, smaller.pixel_size) == (20, pytest.approx(3.2))
    batch = next(iter(smaller[torch.tensor([4, 9])].batches()))
    assert batch.images.shape == (2, 20, 20)
    assert states(only(smaller.notes, "downsampled"), 32, 20)


def test_other_boxes_get_the_same_pixels_and_none_larger(tmp_path: Path) -> None:
    grids = Grid(32, 3.0), Grid(28, 3.6), Grid(40, 2.0), Grid(20, 4.5)
    particles = read_particles(write_set(tmp_path, grids, 40))
    first = (particles.optics.group == 0).nonzero().squeeze(1)
    most_of_the_first = torch.cat([torch.arange(40), first, first])
    smaller = downsampled(particles[most_of_the_first], 24)
    boxes = {g.name: (g.box_size, round(g.pixel_size, 3)) for g in smaller.optics.groups}
    assert boxes == {
        "group0": (24, 4.0), "group1": (26, 3.877), "group2": (20, 4.0), "group3": (20, 4.5)
    }  # fmt: skip
    for batch in smaller.batches():
        group = smaller.optics.groups[int(batch.optics.group[0])]
        assert batch.box_size == group.box_size


def test_downsampling_twice_is_downsampling_once(tmp_path: Path) -> None:
    particles = read_particles(write_set(tmp_path, (Grid(32, 3.0), Grid(28, 3.6)), 20))
    once, twice = downsampled(particles, 20), downsampled(downsampled(particles, 26), 20)
    assert twice.optics.groups[0].box_size == 20
    for a, b in zip(once.batches(), twice.batches(), strict=True):
        boxes = {twice.optics.groups[g].box_size for g in b.optics.group.tolist()}
        assert boxes == {b.box_size}
        if a.box_size == b.box_size:
            torch.testing.assert_close(a.images, b.images)

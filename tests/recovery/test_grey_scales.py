"""Images of two pixel sizes whose grey scales differ by a factor that no table tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mixed_sets import write_set

from cryosplat.grid import Grid
from cryosplat.noise import estimate_noise
from cryosplat.particles import Particles, read_particles
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction._grey_scales import matched
from cryosplat.statistics import accumulate
from cryosplat.validation.baseline import voxel_maps
from cryosplat.validation.noise_substitution import already_normalised

MAIN, COARSE = Grid(32, 3.0), Grid(24, 4.0)


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    folder = tmp_path_factory.mktemp("scales")
    return read_particles(write_set(folder, (MAIN, COARSE), 900, noise=0.7))


def _told(particles: Particles, factor: float) -> Particles:
    """The particles with the scales of all coarse images wrong by ``factor``."""
    coarse = particles.optics.of_group("pixel_size") == COARSE.pixel_size
    scale = torch.where(coarse, particles.optics.scale * factor, particles.optics.scale)
    return replace(particles, optics=replace(particles.optics, scale=scale))


def _matched(particles: Particles) -> Particles | None:
    grid = Grid(particles.box_size, particles.pixel_size)
    # as they are: so strong a signal reaches the backgrounds, and those of larger pixels more
    noise = already_normalised(estimate_noise(particles.batches()))
    halves = accumulate(particles.batches(), particles.half_sets.long() - 1, 2, grid, noise)
    maps = voxel_maps((halves[0], halves[1]))
    return matched(particles, (maps[1], maps[2]), grid, noise, SilentProgress())


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_the_factor_is_found(particles: Particles, factor: float) -> None:
    found = _matched(_told(particles, factor))
    assert found is not None
    ratio = found.optics.scale / particles.optics.scale
    coarse = particles.optics.of_group("pixel_size") == COARSE.pixel_size
    main = particles.pixel_size
    reference = ratio[~coarse] if main == MAIN.pixel_size else ratio[coarse]
    other = ratio[coarse] if main == MAIN.pixel_size else ratio[~coarse]
    assert float(other[0] / reference[0]) == pytest.approx(1.0, abs=0.05)


def test_scales_that_agree_stay(particles: Particles) -> None:
    assert _matched(particles) is None


def test_one_pixel_size_has_nothing_to_match(tmp_path: Path) -> None:
    assert _matched(read_particles(write_set(tmp_path, (MAIN,), 60, noise=0.7))) is None

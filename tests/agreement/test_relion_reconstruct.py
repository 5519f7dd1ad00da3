"""Our voxel baseline against the map that RELION's own program makes of the same star file."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tolerances
import torch
from dialects import write_mrc
from mixed_sets import molecule, write_set
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.maps.mask import spherical_mask
from cryosplat.noise import NoiseModel, estimate_noise
from cryosplat.particles import Particles, read_particles
from cryosplat.statistics import QuadraticForm, Statistics, accumulate, shell_means, solve
from cryosplat.validation.baseline import voxel_maps

N = 2000
GRID, COARSE = Grid(48, 2.0), Grid(36, 2.8)
TWO_THIRDS = 16  # of 24 shells: 6 Angstrom; the Nyquist frequency of the coarse pixels is 5.6
PENALTY = 1e-3  # of the shell means: as RELION's radially averaged weights
Relion = Callable[..., Tensor]


@pytest.fixture
def relion() -> Relion:
    """Runs ``relion_reconstruct --ctf`` on a star file."""
    program = shutil.which("relion_reconstruct")
    if program is None:
        pytest.skip("relion_reconstruct is not installed")

    def run(star: Path, *options: str) -> Tensor:
        command = [program, "--i", star.name, "--o", "relion.mrc", "--ctf", *options]
        subprocess.run(command, cwd=star.parent, capture_output=True, check=True)
        return torch.from_numpy(read_map(star.parent / "relion.mrc").data)

    return run


def _equal_weights(particles: Particles) -> NoiseModel:
    """White noise of deviation 1 in all images, whose transforms RELION divides by the box."""
    sides = [group.box_size for group in particles.optics.groups]
    ones = [torch.full((side // 2 + 1,), float(side) ** 2).double() for side in sides]
    return NoiseModel(tuple(ones), normalise=False)


def _halves(particles: Particles, noise: NoiseModel) -> list[Statistics]:
    return accumulate(particles.batches(), particles.half_sets.long() - 1, 2, GRID, noise)


def _lightly_regularised(statistics: Statistics) -> Tensor:
    form = QuadraticForm(statistics, GRID.box_size)
    return solve(form, PENALTY * shell_means(form), 20)


def _for_relion(star: Path, grids: tuple[Grid, ...]) -> Path:
    """The set with images of other boxes than the first multiplied by the ratio of the areas.

    RELION divides the transform of an image by the area of its own box.
    """
    folder = star.parent / "relion"
    for number, grid in enumerate(grids):
        images = mrcfile.read(star.parent / f"stack{number}.mrcs")
        ratio = np.float32((grid.box_size / grids[0].box_size) ** 2)
        write_mrc(folder / f"stack{number}.mrcs", images * ratio, grid.pixel_size)
    shutil.copy(star, folder)
    return folder / star.name


@pytest.mark.parametrize(
    ("grids", "subset"),
    [((GRID,), None), ((GRID,), 1), ((GRID, COARSE), None)],
    ids=["one box", "one box, half 1", "two boxes"],
)
def test_maps_of_images_without_noise_are_relions(
    relion: Relion, tmp_path: Path, grids: tuple[Grid, ...], subset: int | None
) -> None:
    star = write_set(tmp_path, grids, N)
    particles = read_particles(star)
    halves = _halves(particles, _equal_weights(particles))
    ours = _lightly_regularised(halves[0] if subset == 1 else halves[0] + halves[1])
    options = () if subset is None else ("--subset", str(subset))
    theirs = relion(_for_relion(star, grids), "--angpix", str(GRID.pixel_size), *options)
    fsc = fourier_shell_correlation(ours, theirs)
    assert float(fsc[1 : TWO_THIRDS + 1].min()) > tolerances.FSC_RELION
    slope = float((ours * theirs).sum() / theirs.square().sum())
    assert slope == pytest.approx(1.0, abs=tolerances.SCALE_RELION)


def test_the_baseline_of_noisy_images_is_as_good_as_relions(relion: Relion, tmp_path: Path) -> None:
    """As a run makes it: measured noise and a Wiener penalty; both maps in the same sphere."""
    star = write_set(tmp_path, (GRID,), N, noise=1.0)
    particles = read_particles(star)
    half1, half2 = _halves(particles, estimate_noise(particles.batches()))
    sphere = spherical_mask(GRID, 0.5 * GRID.side - 6 * GRID.pixel_size, 6 * GRID.pixel_size)
    ours, theirs, truth = (
        volume * sphere for volume in (voxel_maps((half1, half2))[0], relion(star), molecule(GRID))
    )
    against_truth = fourier_shell_correlation(ours, truth), fourier_shell_correlation(theirs, truth)
    behind = against_truth[1] - against_truth[0]
    assert float(behind[1 : TWO_THIRDS + 1].max()) < tolerances.BEHIND_RELION

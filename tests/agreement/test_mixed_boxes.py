"""Particles with several boxes and pixel sizes in one run, none of them resampled."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import tolerances
import torch
from mixed_sets import molecule, write_set
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.noise import NoiseModel
from cryosplat.particles import Particles, downsampled, read_particles
from cryosplat.reconstruction import reconstruct
from cryosplat.settings import ImageSchedule, ReconstructionSettings
from cryosplat.statistics import QuadraticForm, accumulate, shell_means, solve

Solver = Literal["statistics", "images"]
MAIN, COARSE, WIDE = Grid(48, 2.0), Grid(40, 2.4), Grid(36, 3.0)
COARSE_NYQUIST = 19  # the last shell of `MAIN` below that of `COARSE`


def _map(star: Path) -> Tensor:
    """All particles of images without noise on `MAIN`, each frequency of an image weighing 1."""
    particles = read_particles(star)
    sides = [group.box_size for group in particles.optics.groups]
    white = NoiseModel(
        tuple(torch.full((d // 2 + 1,), float(d) ** 2).double() for d in sides), normalise=False
    )
    sets = torch.zeros(len(particles), dtype=torch.int64)
    whole = accumulate(particles.batches(), sets, 1, MAIN, white)[0]
    form = QuadraticForm(whole, MAIN.box_size)
    return solve(form, 1e-3 * shell_means(form), 20)


@pytest.mark.parametrize("other", [COARSE, WIDE], ids=["same side", "other side"])
def test_two_pixel_sizes_give_the_map_of_one(tmp_path: Path, other: Grid) -> None:
    one = _map(write_set(tmp_path / "one", (MAIN,), 600))
    two = _map(write_set(tmp_path / "two", (MAIN, other), 600))
    fsc = fourier_shell_correlation(one, two)
    last = min(COARSE_NYQUIST, int(MAIN.side / (2 * other.pixel_size)) - 1)
    assert float(fsc[: last + 1].min()) > tolerances.FSC_MIXED
    low = slice(0, last + 1)
    truth = fourier_shell_correlation(two, molecule(MAIN))
    assert float(truth[low].min()) > tolerances.FSC_MIXED


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    """Particles in a box of 32 pixels, and in one of fewer and larger pixels that covers more."""
    folder = tmp_path_factory.mktemp("noisy")
    return read_particles(write_set(folder, (Grid(32, 3.0), Grid(28, 3.6)), 300, noise=2.0))


@pytest.mark.parametrize(
    ("solver", "downsample", "boxes"),
    [("statistics", None, (32, 28)), ("statistics", 24, (24, 26)), ("images", 28, (28, 28))],
)
def test_a_run_takes_boxes_as_they_are(
    noisy: Particles, tmp_path: Path, solver: Solver, downsample: int | None,
    boxes: tuple[int, int],
) -> None:  # fmt: skip
    """Both solvers, with all controls: the map is that of the truth, and nothing is said against it."""
    particles = noisy if downsample is None else downsampled(noisy, downsample)
    assert tuple(g.box_size for g in particles.optics.groups) == boxes
    settings = ReconstructionSettings(
        gaussians=400, steps=40 if solver == "statistics" else None, solver=solver,
        images=ImageSchedule(epochs=8),
    )  # fmt: skip
    result = reconstruct(particles, settings)
    assert result.grid.box_size == boxes[0]
    assert result.controls.agreement.gain == pytest.approx(1.0, abs=0.1)
    grid = Grid(particles.box_size, particles.pixel_size)
    fsc = fourier_shell_correlation(result.maps.full, molecule(grid))
    assert float(fsc[: round(grid.side / 10.0)].min()) > tolerances.FSC_MIXED_RUN


def test_coarse_images_do_not_spoil_fine_ones(tmp_path: Path) -> None:
    """Gaussians as narrow as fine pixels allow would alias on coarse ones."""
    grids = Grid(40, 2.4), Grid(20, 4.8)
    both = read_particles(write_set(tmp_path / "set", grids, 400, noise=2.0))
    fine = both[both.optics.group == 0]
    settings = ReconstructionSettings(
        gaussians=400, solver="images", quick=True, images=ImageSchedule(epochs=8)
    )
    found = []
    for particles in (fine, both):
        volume = reconstruct(particles, settings).maps.full
        found.append(fourier_shell_correlation(volume, molecule(grids[0])))
    behind = (found[0] - found[1])[1:-1]
    assert float(behind.max()) < tolerances.COARSE_BEHIND

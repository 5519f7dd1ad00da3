"""Images on pixels larger than the map's hold what small pixels hold, and nothing folded over."""

from __future__ import annotations

import pytest
import tolerances
import torch
from problems import blobs

from cryosplat import fourier
from cryosplat.fitting.images._rendering import without_aliases
from cryosplat.grid import Grid
from cryosplat.poses import random_poses
from cryosplat.splatting import project


@pytest.mark.parametrize(("fine", "coarse"), [(48, 24), (50, 32), (48, 31), (45, 30)])
def test_wide_gaussians_look_the_same(fine: int, coarse: int) -> None:
    """Even and odd boxes: the rotation centre stays the rotation centre."""
    generator = torch.Generator().manual_seed(0)
    mixture, poses = blobs(20, 12.0, generator, width=7.0), random_poses(3, generator)
    small = fourier.resample(project(mixture, poses, Grid(fine, 96.0 / fine)), coarse, 2)
    large = project(mixture, poses, Grid(coarse, 96.0 / coarse))
    assert float((small - large).norm() / large.norm()) < tolerances.DOWNSAMPLED


def test_narrow_gaussians_do_not_fold_over() -> None:
    """Below the coarse Nyquist frequency their transform is that on small pixels, to the last one."""
    generator = torch.Generator().manual_seed(1)
    mixture, poses = blobs(20, 20.0, generator, width=1.0), random_poses(3, generator)
    small, large = Grid(96, 1.0), Grid(24, 4.0)
    expected = torch.fft.rfft2(torch.fft.ifftshift(project(mixture, poses, small), (1, 2)))
    rows = torch.fft.fftfreq(24, 1 / 24).long()
    expected = expected[:, rows, :12]

    def error(images: torch.Tensor) -> float:
        found = torch.fft.rfft2(torch.fft.ifftshift(images, (1, 2)))[:, :, :12]
        difference = (found - expected)[:, rows.abs() < 12]
        return float(difference.norm() / expected.norm())

    render = without_aliases(project, small.pixel_size)
    assert error(render(mixture, poses, large)) < tolerances.ROUND_FLOAT64
    assert error(project(mixture, poses, large)) > 0.1


def test_pixels_of_the_map_are_rendered_as_they_are() -> None:
    generator = torch.Generator().manual_seed(2)
    mixture, poses = blobs(5, 12.0, generator), random_poses(2, generator)
    render = without_aliases(project, 2.0)
    for grid in (Grid(32, 2.0), Grid(32, 1.5), Grid(30, 2.08)):
        assert torch.equal(render(mixture, poses, grid), project(mixture, poses, grid))

"""The exact map of a mixture on a grid, however narrow its Gaussians are."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .. import fourier
from ..arrays import members
from ..errors import SettingsError
from ..grid import Grid
from ..mixture import GaussianMixture

OVERSAMPLING = 2
"""Voxels of the working grid per voxel of the map, along each axis."""
NARROWEST = 1.1
"""Least standard deviation on the working grid, in its voxels: aliasing stays below 1e-5."""
REACH = 5.4
"""Standard deviations after which a Gaussian is cut."""
POINTS_AT_ONCE = 1 << 19
"""Grid points evaluated in one block."""


def band_limited_map(mixture: GaussianMixture, grid: Grid) -> Tensor:
    """The mixture's Fourier transform up to Nyquist, as a map: float32 [z, y, x].

    Each Fourier voxel ``k`` (1/Angstrom) of the map is
    ``sum_g A_g exp(-2 pi^2 k^T Sigma_g k - 2 pi i k.mu_g)`` to 1e-4 of the transform's local rms,
    also where Gaussians are much narrower than a voxel, and ``sum(map) == sum(amplitudes)``.
    Sampling such Gaussians at voxels would alias. The common isotropic part of all covariances is
    exchanged for one that a grid of half the voxel size carries without aliasing; after the
    Fourier transform the exchange is undone, exactly, by one multiplication.

    Raises
    ------
    SettingsError
        A centre lies outside the box, where it would come back in on the other side.
    """
    mixture = mixture.whole()
    means = mixture.means.double()
    _check_extent(means, grid)
    fine = Grid(OVERSAMPLING * grid.box_size, grid.pixel_size / OVERSAMPLING)
    covariances = mixture.covariances().double() / fine.pixel_size**2
    common = float(torch.linalg.eigvalsh(covariances)[:, 0].min()) - NARROWEST**2
    covariances = covariances - common * torch.eye(3, dtype=torch.float64)
    density = torch.zeros(fine.box_size**3)
    centres = means / fine.pixel_size  # the map's centre at index 0: indices are periodic
    for index, values in _blocks(centres, covariances, mixture.amplitudes.double(), fine.box_size):
        density.index_add_(0, index, values)
    density = density.reshape((fine.box_size,) * 3)
    spectrum = fourier.low_frequencies(density, grid.box_size, 3)
    # in cycles per voxel of the fine grid
    squared = fourier.squared_radii((grid.box_size,) * 3) / fine.box_size**2
    spectrum *= torch.exp(-2.0 * math.pi**2 * common * squared).float()
    return torch.fft.fftshift(fourier.inverse(spectrum, grid.box_size, 3))


def _check_extent(means: Tensor, grid: Grid) -> None:
    reach = float(means.abs().max()) if len(means) else 0.0
    if reach > 0.5 * grid.side - grid.pixel_size:
        needed = 2 * math.ceil(1.2 * reach / grid.pixel_size)
        raise SettingsError(
            f"the molecule reaches {reach:.1f} Angstrom from its centre along an axis, but a box "
            f"of {grid.box_size} pixels of {grid.pixel_size:g} Angstrom ends at "
            f"{0.5 * grid.side:.1f}. Remedy: --box {needed}, or larger pixels."
        )


def _blocks(
    centres: Tensor, covariances: Tensor, amplitudes: Tensor, box_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Flat indices and values of all grid points within reach, block by block, periodically.

    Gaussians of like width come together, so that a block has one window size.
    """
    widest = covariances.diagonal(dim1=1, dim2=2).amax(1).sqrt()
    half_widths = torch.ceil(REACH * widest).long()
    for half, alike in members(half_widths):
        offsets = torch.arange(-half, half + 1)
        for chunk in alike.split(max(1, POINTS_AT_ONCE // len(offsets) ** 3)):
            yield _block(centres[chunk], covariances[chunk], amplitudes[chunk], offsets, box_size)


def _block(
    centres: Tensor, covariances: Tensor, amplitudes: Tensor, offsets: Tensor, box_size: int
) -> tuple[Tensor, Tensor]:
    nearest = centres.round().long()
    points = nearest[:, :, None] + offsets  # (k, 3, w), one axis after the other
    x, y, z = ((points - centres[:, :, None]).float()).unbind(1)
    precisions = torch.linalg.inv(covariances)
    p = precisions.float()[:, :, :, None, None]
    norm = (amplitudes / ((2.0 * math.pi) ** 3 * torch.linalg.det(covariances)).sqrt()).float()
    plane = p[:, 0, 0] * x[:, None, :] ** 2 + p[:, 1, 1] * y[:, :, None] ** 2
    plane = plane + 2.0 * p[:, 0, 1] * x[:, None, :] * y[:, :, None]
    slope = 2.0 * (p[:, 0, 2] * x[:, None, :] + p[:, 1, 2] * y[:, :, None])
    z = z[:, :, None, None]
    exponent = plane[:, None] + z * (slope[:, None] + p[:, 2, 2][:, None] * z)
    values = norm[:, None, None, None] * torch.exp(-0.5 * exponent)
    i, j, k = (points % box_size).unbind(1)
    index = (k[:, :, None, None] * box_size + j[:, None, :, None]) * box_size + i[:, None, None, :]
    return index.flatten(), values.flatten()

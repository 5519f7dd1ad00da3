"""Soft masks: a sphere, and three of different reach that find the molecule by themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from .. import fourier
from ..errors import InputError
from ..grid import Grid
from ._interpolation import trilinear

LOW_PASS = 15.0
"""Resolution at which the molecule is looked for, in Angstrom."""
COARSEST_LOW_PASS = 45.0
"""Resolution, in Angstrom, down to which a noisy map is smoothed before giving up."""
FRACTION_OF_MAXIMUM = 0.12
"""Threshold as a fraction of the robust maximum of the low-passed map."""
NOISE_DEVIATIONS = 4.0
"""Threshold in standard deviations of the low-passed map outside the particle's sphere."""
LARGEST_THRESHOLD = 0.3
"""A threshold above this fraction of the maximum would cut the molecule: smooth further first."""
MINOR_COMPONENT = 0.05
"""Separate pieces with less than this share of the largest piece's mass are dropped as noise."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a mask extends beyond the thresholded region, and the width of its cosine edge.

    Both in Angstrom, or in pixels where those are more.
    """

    grow: float
    edge: float
    least_grow: float
    least_edge: float

    def on(self, grid: Grid) -> tuple[float, float]:
        """``grow`` and ``edge`` on ``grid``, in Angstrom."""
        pixel = grid.pixel_size
        return max(self.grow, self.least_grow * pixel), max(self.edge, self.least_edge * pixel)


REACHES = {
    "loose": Reach(grow=25.0, edge=15.0, least_grow=5.0, least_edge=5.0),
    "auto": Reach(grow=5.0, edge=8.0, least_grow=2.0, least_edge=5.0),
    "tight": Reach(grow=0.0, edge=6.0, least_grow=0.0, least_edge=4.0),
}
"""Loose as cryoSPARC's (25 and 40 Angstrom from the region); tight ends where auto still grows."""


def spherical_mask(grid: Grid, radius: float, edge: float) -> Tensor:
    """1 within ``radius`` of the rotation centre, a cosine edge of width ``edge``, then 0.

    ``radius`` and ``edge`` in Angstrom; float32 [z, y, x].
    """
    distance = fourier.distances((grid.box_size,) * 3) * grid.pixel_size
    return fourier.raised_cosine(distance - radius, edge).float()


def soft_mask(volume: Tensor, grid: Grid) -> Tensor:
    """A mask around the molecule in ``volume`` (d, d, d), float32 in [0, 1], found automatically.

    The map is low-passed (15 Angstrom, and further while noise hides the molecule), thresholded at
    the larger of 12 % of its robust maximum and 4 standard deviations of what lies outside the
    inscribed sphere, cleared of small pieces, its enclosed cavities filled, grown and given a
    cosine edge. It falls to 0 before the inscribed sphere ends, so the box never cuts it. A map in
    which nothing stands out gets that sphere itself: a mask that assumes nothing.

    Raises
    ------
    InputError
        ``volume`` is not a cube of the grid's box size, or holds NaN or infinite values.
    """
    return _masks_of_reach(volume, grid, ("auto",))["auto"]


def named_masks(volume: Tensor, grid: Grid, user: Tensor | None = None) -> dict[str, Tensor]:
    """The masks ``loose``, ``auto`` and ``tight``, and ``user`` where one is given.

    The first three are `soft_mask` with the reaches of `REACHES`; all are float32 (d, d, d).
    Raises as `soft_mask`.
    """
    masks = _masks_of_reach(volume, grid, tuple(REACHES))
    return masks if user is None else masks | {"user": user.float()}


def _masks_of_reach(volume: Tensor, grid: Grid, names: tuple[str, ...]) -> dict[str, Tensor]:
    _check_map(volume, grid)
    edge = REACHES["auto"].on(grid)[1]
    envelope = spherical_mask(grid, 0.5 * grid.side - edge, edge)
    found = find_molecule(volume, grid)
    if found is None:
        return dict.fromkeys(names, envelope)
    distance = ndimage.distance_transform_edt(~found.region, sampling=found.grid.pixel_size)
    distance = _interpolate(torch.from_numpy(np.asarray(distance)), found.grid, grid)
    masks = {}
    for name in names:
        grow, edge = REACHES[name].on(grid)
        masks[name] = (fourier.raised_cosine(distance - grow, edge) * envelope).float()
    return masks


def _check_map(volume: Tensor, grid: Grid) -> None:
    if volume.shape != (grid.box_size,) * 3:
        raise InputError(
            f"soft_mask: the map has shape {tuple(volume.shape)}, expected a cube of "
            f"{grid.box_size} voxels."
        )
    if not bool(torch.isfinite(volume).all()):
        raise InputError("soft_mask: the map holds NaN or infinite values, expected numbers.")


@dataclass(frozen=True, slots=True)
class Molecule:
    """Where the molecule is: ``region`` of a coarser ``grid``, and its low-passed ``density``."""

    grid: Grid
    region: NDArray[np.bool_]
    density: NDArray[np.float64]

    def share_outside(self, mask: Tensor, grid: Grid) -> float:
        """Share of the molecule's density where ``mask`` (on ``grid``) is below one half."""
        there = _interpolate(mask.double(), grid, self.grid).numpy()
        weights = np.where(self.region, self.density, 0.0)
        return float(weights[there < 0.5].sum() / weights.sum())


def find_molecule(volume: Tensor, grid: Grid) -> Molecule | None:
    """The molecule in ``volume`` as `soft_mask` sees it; None where nothing stands out.

    On a coarser grid, which suffices at these resolutions.
    """
    resolution = max(LOW_PASS, 4.0 * grid.pixel_size)
    coarse_box = min(grid.box_size, 2 * math.ceil(2.0 * grid.side / resolution))
    coarse_grid = Grid(coarse_box, grid.side / coarse_box)
    coarse = fourier.resample(volume.detach().double(), coarse_box, 3)
    radius = fourier.distances((coarse_box,) * 3).numpy()
    outside = radius > 0.5 * coarse_box
    inside = radius < 0.5 * coarse_box - 1.0
    while resolution <= max(COARSEST_LOW_PASS, LOW_PASS):
        smooth = _low_pass(coarse, coarse_grid, resolution)
        smooth = smooth - np.median(smooth[outside])
        noise = 1.4826 * np.median(np.abs(smooth[outside]))
        maximum = np.quantile(smooth, 0.999)
        threshold = max(FRACTION_OF_MAXIMUM * maximum, NOISE_DEVIATIONS * noise)
        if threshold < LARGEST_THRESHOLD * maximum:
            region = _large_pieces(smooth, (smooth > threshold) & inside)
            return Molecule(coarse_grid, region, smooth)
        resolution *= 1.25
    return None


def _large_pieces(density: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces of ``region`` with enough mass, without their enclosed cavities."""
    labels = np.empty(region.shape, np.int32)
    ndimage.label(region, structure=np.ones((3, 3, 3)), output=labels)
    masses = np.bincount(labels.ravel(), density.ravel())
    masses[0] = 0.0  # outside
    large = np.flatnonzero(masses >= MINOR_COMPONENT * masses.max())
    return np.asarray(ndimage.binary_fill_holes(np.isin(labels, large)), bool)


def _low_pass(volume: Tensor, grid: Grid, resolution: float) -> NDArray[np.float64]:
    """Gaussian low-pass whose transfer function is 1/e at 1/``resolution``."""
    squared = fourier.squared_radii(tuple(volume.shape)) / grid.side**2
    filtered = fourier.transform(volume, 3) * torch.exp(-squared * resolution**2)
    return fourier.inverse(filtered, grid.box_size, 3).numpy()


def _interpolate(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Trilinear interpolation of ``values`` from one grid to another with the same centre."""
    positions = target.coordinates() / source.pixel_size + source.centre
    return trilinear(values, positions.clamp(0, source.box_size - 1))

"""Soft masks: a sphere, and automatic masks of three extents around the molecule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from .. import fourier
from ..grid import Grid
from ._interpolation import trilinear

LOW_PASS = 15.0
"""Resolution of the low-passed map in which the molecule is located, in Angstrom."""
COARSEST_LOW_PASS = 45.0
"""Lowest resolution, in Angstrom, to which a noisy map is smoothed before giving up."""
FRACTION_OF_MAXIMUM = 0.12
"""Threshold as a fraction of the robust maximum of the low-passed map."""
NOISE_DEVIATIONS = 4.0
"""Threshold in standard deviations of the low-passed map outside the particle's sphere."""
LARGEST_THRESHOLD = 0.3
"""A threshold above this fraction of the maximum would cut the molecule; the map is smoothed more."""
WIDEST_EDGE = 0.25
"""Of the box's side."""
MINOR_COMPONENT = 0.05
"""Separate pieces with less than this share of the largest piece's mass are dropped as noise."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a mask extends beyond the thresholded region, and the width of its cosine edge.

    Both in Angstrom, or in pixels where those are more; in a box of few pixels the edge takes at most
    `WIDEST_EDGE` of its side, so that the mask reaches 1.
    """

    grow: float
    edge: float
    least_grow: float
    least_edge: float

    def on(self, grid: Grid) -> tuple[float, float]:
        """``grow`` and ``edge`` on ``grid``, in Angstrom."""
        pixel = grid.pixel_size
        edge = min(max(self.edge, self.least_edge * pixel), WIDEST_EDGE * grid.side)
        return max(self.grow, self.least_grow * pixel), edge


REACHES = {
    "loose": Reach(grow=25.0, edge=15.0, least_grow=5.0, least_edge=5.0),
    "auto": Reach(grow=5.0, edge=8.0, least_grow=2.0, least_edge=5.0),
    "tight": Reach(grow=0.0, edge=6.0, least_grow=0.0, least_edge=4.0),
}
"""``loose`` reaches 25 and ends 40 Angstrom from the region, as in cryoSPARC; ``tight`` adds only an
edge."""


def spherical_mask(grid: Grid, radius: float, edge: float) -> Tensor:
    """1 within ``radius`` of the rotation centre, a cosine edge of width ``edge``, then 0.

    ``radius`` and ``edge`` in Angstrom; float32 [z, y, x].
    """
    distance = fourier.distances((grid.box_size,) * 3) * grid.pixel_size
    return fourier.raised_cosine(distance - radius, edge).float()


def soft_mask(volume: Tensor, grid: Grid) -> Tensor:
    """An automatic mask around the molecule in ``volume`` (d, d, d), float32 in [0, 1].

    The map is low-passed to 15 Angstrom, or further while noise hides the molecule. The threshold is
    the larger of 12 % of the map's robust maximum and 4 standard deviations outside the inscribed
    sphere. Small pieces are dropped, enclosed cavities filled, and the region is grown and given a
    cosine edge. The mask falls to 0 inside the inscribed sphere, so the box never cuts it. Where
    nothing rises above the noise, the mask is that sphere.

    Raises
    ------
    InputError
        ``volume`` is not a cube of the grid's box size, or holds NaN or infinite values.
    """
    return _automatic_masks(volume, grid, ("auto",))["auto"]


def named_masks(volume: Tensor, grid: Grid, user: Tensor | None = None) -> dict[str, Tensor]:
    """The masks ``loose``, ``auto`` and ``tight``, and the ``user``'s if there is one.

    The first three are made as by `soft_mask`, with the extents in `REACHES`; all are float32
    (d, d, d). Raises as `soft_mask`.
    """
    masks = _automatic_masks(volume, grid, tuple(REACHES))
    return masks if user is None else masks | {"user": user.float()}


def _automatic_masks(volume: Tensor, grid: Grid, names: tuple[str, ...]) -> dict[str, Tensor]:
    grid.check_cube(volume, "soft_mask: the map")
    edge = REACHES["auto"].on(grid)[1]
    envelope = spherical_mask(grid, 0.5 * grid.side - edge, edge)
    molecule = find_molecule(volume, grid)
    if molecule is None:
        return dict.fromkeys(names, envelope)
    distance = ndimage.distance_transform_edt(~molecule.region, sampling=molecule.grid.pixel_size)
    distance = _interpolate(torch.from_numpy(np.asarray(distance)), molecule.grid, grid)
    masks = {}
    for name in names:
        grow, edge = REACHES[name].on(grid)
        masks[name] = (fourier.raised_cosine(distance - grow, edge) * envelope).float()
    return masks


@dataclass(frozen=True, slots=True)
class Molecule:
    """The molecule's ``region`` on a coarser ``grid``, and the low-passed ``density`` there."""

    grid: Grid
    region: NDArray[np.bool_]
    density: NDArray[np.float64]

    def share_outside(self, mask: Tensor, grid: Grid) -> float:
        """Share of the molecule's density where ``mask`` (on ``grid``) is below one half."""
        coarse_mask = _interpolate(mask.double(), grid, self.grid).numpy()
        weights = np.where(self.region, self.density, 0.0)
        return float(weights[coarse_mask < 0.5].sum() / weights.sum())


def find_molecule(volume: Tensor, grid: Grid) -> Molecule | None:
    """Locate the molecule in ``volume`` as `soft_mask` does; None if nothing exceeds the noise."""
    resolution = max(LOW_PASS, 4.0 * grid.pixel_size)
    coarse_box = min(grid.box_size, max(4, 2 * math.ceil(2.0 * grid.side / resolution)))
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
    """The pieces of ``region`` with enough mass, their enclosed cavities filled."""
    labels = np.empty(region.shape, np.int32)
    ndimage.label(region, structure=np.ones((3, 3, 3)), output=labels)
    masses = np.bincount(labels.ravel(), density.ravel())
    masses[0] = 0.0  # outside
    large = np.flatnonzero(masses >= MINOR_COMPONENT * masses.max())
    return np.asarray(ndimage.binary_fill_holes(np.isin(labels, large)), bool)


def _low_pass(volume: Tensor, grid: Grid, resolution: float) -> NDArray[np.float64]:
    """Gaussian low-pass whose transfer function is 1/e at 1/``resolution``."""
    squared = fourier.squared_radii(tuple(volume.shape)) / grid.side**2
    return fourier.filter(volume, torch.exp(-squared * resolution**2), 3).numpy()


def _interpolate(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Trilinear interpolation of ``values`` from one grid to another with the same centre."""
    positions = target.coordinates() / source.pixel_size + source.centre
    return trilinear(values, positions.clamp(0, source.box_size - 1))

"""Local resolution of two half-maps.

Both half-maps are split into overlapping frequency bands. In each band they are correlated in a
soft window around every voxel,

    C(r) = W*(m f1 f2) / sqrt(W*(m f1^2) W*(m f2^2)),

with ``f1`` and ``f2`` the band-passed half-maps, ``m`` the mask and ``W*`` the convolution with a
Gaussian. By Parseval's theorem this is the FSC of the windowed maps (Cardone, Heymann & Steven 2013,
J. Struct. Biol. 184) for all voxels at once. The mask weights products and never multiplies a map
before its transform, so that, unlike in a masked FSC, its edge adds no correlation.

Noise: a band of width 1/D in a window of diameter D holds about 7 (D s)^2 independent coefficients
at frequency s. The window is at least 2.5 wavelengths wide at every frequency. Where so few
coefficients are left that noise alone would exceed the threshold in more than one voxel in a
thousand, the threshold is raised to that level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import fourier
from ..errors import SettingsError
from ..grid import Grid
from ._interpolation import trilinear
from .fsc import fourier_shell_correlation, resolution

THRESHOLD = 0.5
"""Customary for windowed FSC; 0.143 is meant for whole maps, whose FSC is less noisy."""
WAVELENGTHS_OF_RESOLUTION = 6.0
"""Diameter of the window in units of the global resolution."""
LEAST_WINDOW, LARGEST_WINDOW = 12.0, 60.0  # Angstrom
LEAST_WAVELENGTHS = 2.5  # per window, in any band
COARSEST = 60.0  # Angstrom
NOISE_DEVIATIONS = 3.1  # exceeded once in a thousand
HIGHEST_THRESHOLD = 0.8  # at the mask's edge, where a window holds few coefficients
SIGMA_OF_DIAMETER = (1.0 / 6.0 * math.pi) ** (1 / 3) / math.sqrt(4.0 * math.pi)
"""Deviation of the Gaussian with the effective volume of a ball of diameter 1."""
BAND_WIDTH = 36.0 / 35.0
"""Effective width, ``(int h^2)^2 / int h^4``, of a raised cosine of half-width 1."""


@dataclass(frozen=True, slots=True)
class LocalResolution:
    """Resolution at every voxel.

    ``map`` float32 (d, d, d) [z, y, x] in Angstrom: the resolution where the mask is above 0, 0
    elsewhere. Voxels without agreement have ``coarsest``, the lowest resolution measured.
    ``inside``: the voxels (mask at least 0.5) that the summary counts. ``window``: diameter in
    Angstrom of the ball with the window's effective volume.
    """

    map: Tensor
    inside: Tensor
    window: float
    threshold: float
    coarsest: float

    def quantile(self, share: float) -> float:
        """The resolution in Angstrom that ``share`` of the voxels inside the mask reach."""
        values = self.map[self.inside].numpy()
        return float(np.quantile(values, share)) if len(values) else self.coarsest

    def summary(self) -> dict[str, Any]:
        """Median, 5 % and 95 % quantiles (Angstrom), window, threshold, unresolved share."""
        unresolved = (self.map[self.inside] >= self.coarsest * (1 - 1e-6)).float()
        return {
            "median": self.quantile(0.5),
            "q05": self.quantile(0.05),
            "q95": self.quantile(0.95),
            "window_angstrom": self.window,
            "threshold": self.threshold,
            "coarsest": self.coarsest,
            "unresolved": float(unresolved.mean()) if len(unresolved) else 1.0,
        }


@dataclass(frozen=True, slots=True)
class _Band:
    """A raised cosine around ``centre`` of ``half_width`` (1/A), correlated in a ``window`` (A)."""

    centre: float
    half_width: float
    window: float

    @property
    def n_independent(self) -> float:
        """Independent coefficients of the band in a whole window."""
        volume = math.pi / 6.0 * self.window**3
        return volume * 4.0 * math.pi * self.centre**2 * BAND_WIDTH * self.half_width

    @property
    def deviation(self) -> float:
        """Standard deviation of the Gaussian window in Angstrom."""
        return SIGMA_OF_DIAMETER * self.window


def local_resolution(
    half1: Tensor,
    half2: Tensor,
    mask: Tensor,
    grid: Grid,
    window: float | None = None,
    threshold: float = THRESHOLD,
) -> LocalResolution:
    """Resolution around each voxel at which the local correlation first falls below ``threshold``.

    ``half1``, ``half2`` and the soft ``mask`` in [0, 1]: (d, d, d). ``window``: diameter in
    Angstrom; default six times the resolution of the masked FSC at 0.143.

    Raises
    ------
    InputError
        The maps or the mask are not cubes of the grid's box size, or not finite.
    SettingsError
        ``window`` or ``threshold`` is outside its range.
    """
    for name, volume in (("first half-map", half1), ("second half-map", half2), ("mask", mask)):
        grid.check_cube(volume, f"local_resolution: the {name}")
    if window is None:
        window = _default_window(half1, half2, mask, grid)
    if not (4.0 * grid.pixel_size <= window <= grid.side and 0.0 < threshold < 1.0):
        raise SettingsError(
            f"local_resolution: window is {window:g} Angstrom and threshold {threshold:g}, "
            f"expected {4.0 * grid.pixel_size:g} to {grid.side:g} Angstrom (4 pixels to the whole "
            f"box) and a number between 0 and 1."
        )
    bands = _bands(window, grid)
    spectra = [fourier.transform(v.detach().float(), 3) for v in (half1, half2, mask)]
    side = min(fourier.fast_box_size(max(8.0, 6.0 * grid.side / window)), grid.box_size)
    frequency = torch.full((side,) * 3, bands[0].centre)
    alive = torch.ones_like(frequency, dtype=torch.bool)
    before, last = torch.zeros_like(frequency), bands[0].centre
    for band in bands:
        correlation, share = _correlation(spectra, band, side, grid)
        noise = NOISE_DEVIATIONS / (band.n_independent * share.clamp_min(1e-3)).sqrt()
        margin = correlation - noise.clamp_max(HIGHEST_THRESHOLD).clamp_min(threshold)
        passed = margin >= 0
        if band is not bands[0]:
            step = torch.where(passed, 1.0, before / (before - margin).clamp_min(1e-9))
            frequency = torch.where(alive, last + step * (band.centre - last), frequency)
        alive &= passed
        before, last = margin, band.centre
    resolutions = 1.0 / _interpolate(frequency, grid.box_size)
    return LocalResolution(
        map=resolutions.masked_fill(mask <= 0, 0.0),
        inside=mask >= 0.5,
        window=float(window),
        threshold=threshold,
        coarsest=1.0 / bands[0].centre,
    )


def _default_window(half1: Tensor, half2: Tensor, mask: Tensor, grid: Grid) -> float:
    fsc = fourier_shell_correlation(half1 * mask, half2 * mask)
    diameter = WAVELENGTHS_OF_RESOLUTION * resolution(fsc, grid, 0.143).angstrom
    least = max(LEAST_WINDOW, 6.0 * grid.pixel_size)
    half_a_box = max(0.5 * grid.side, 4.0 * grid.pixel_size)
    return min(max(diameter, least), max(LARGEST_WINDOW, least), half_a_box)


def _bands(window: float, grid: Grid) -> list[_Band]:
    """Bands from coarse to fine, each half a width after the other, up to Nyquist."""
    centre = max(LEAST_WAVELENGTHS / grid.side, 1.0 / COARSEST)
    bands = []
    while centre <= grid.nyquist:
        wide = max(window, LEAST_WAVELENGTHS / centre)
        bands.append(_Band(centre, 1.0 / wide, wide))
        centre += 0.5 / wide
    if bands and grid.nyquist - bands[-1].centre < 0.2 / window:
        del bands[-1]
    return [*bands, _Band(grid.nyquist, 1.0 / window, window)]


def _correlation(
    spectra: list[Tensor], band: _Band, side: int, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Local correlation in a band, and the share of the window inside the mask, (side,) * 3.

    Computed on the coarsest sufficient grids. The band's grid has twice its highest frequency: its
    products alias, but only to frequencies that the window removes. Convolved with the window they
    fit on a grid of ``side``.
    """
    highest = band.centre + band.half_width
    fine = fourier.fast_box_size(max(8.0, (2.0 * highest + 2.0 / band.window) * grid.side))
    fine = min(fine, grid.box_size)
    gain = _band_gain(fine, grid.side, band)
    first, second, mask = (fourier.crop(s, fine, 3) for s in spectra)
    first, second = (fourier.inverse(s * gain, fine, 3) for s in (first, second))
    weight = fourier.inverse(mask, fine, 3).clamp_min(0.0) * (fine / grid.box_size) ** 3
    small = min(side, fine)
    squared = fourier.squared_radii((small,) * 3) / grid.side**2
    window = torch.exp(-2.0 * (math.pi * band.deviation) ** 2 * squared).float()
    window *= (small / fine) ** 3

    def window_mean(values: Tensor) -> Tensor:
        spectrum = fourier.crop(fourier.transform(values, 3), small, 3)
        return fourier.inverse(spectrum * window, small, 3)

    cross = window_mean(weight * first * second)
    power = [window_mean(weight * values.square()).clamp_min(0.0) for values in (first, second)]
    share = window_mean(weight)
    norm = (power[0] * power[1]).sqrt()
    floor = 1e-5 * float(norm.max())
    correlation = torch.where(norm > floor, cross / norm.clamp_min(floor or 1.0), 0.0)
    return _interpolate(correlation, side), _interpolate(share, side)


def _band_gain(box_size: int, side: float, band: _Band) -> Tensor:
    """Gain of a band on the half transform of a box of ``side`` Angstrom: a raised cosine."""
    radii = fourier.squared_radii((box_size,) * 3).sqrt() / side
    return fourier.raised_cosine((radii - band.centre).abs(), band.half_width).float()


def _interpolate(values: Tensor, box_size: int) -> Tensor:
    """A periodic cube on ``box_size`` voxels; voxel 0 stays voxel 0."""
    size = values.shape[0]
    if size == box_size:
        return values
    return trilinear(values, torch.arange(box_size, dtype=torch.float64) * (size / box_size))

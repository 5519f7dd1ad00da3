"""Sharpening: Guinier plot and B-factor, FSC weighting, and sharpening of a mixture.

B-factors have RELION's sign: ``exp(-b_factor s^2 / 4)`` multiplies the map's transform, so a
negative B-factor sharpens. (Rosenthal & Henderson 2003, J. Mol. Biol. 333, 721-745.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import fourier
from ..errors import SettingsError
from ..grid import Grid
from ..mixture import GaussianMixture
from .fsc import resolution, truth_from_halves

GUINIER_FROM = 10.0
"""Lowest resolution, in Angstrom, of the line's fit (RELION's default)."""
FEWEST_SHELLS = 4
"""No line is fitted to fewer shells."""


@dataclass(frozen=True, slots=True)
class Guinier:
    """Logarithm of the amplitudes of a map against squared frequency, and the line through it.

    ``log_amplitude`` (n_shells,) is the natural logarithm of the mean amplitude of each shell, the
    transform divided by the number of voxels; ``log_amplitude_weighted`` that of the map weighted
    by ``C_ref``, minus infinity where that is 0. The line ``slope * s^2 + intercept`` is fitted to
    the latter within ``fit_range`` (Angstrom, low to high resolution), and ``b_factor`` (square
    Angstrom) is four times its slope. If ``fit_range`` holds fewer than four shells, ``b_factor``,
    ``slope``, ``intercept`` and ``correlation`` are NaN.
    """

    b_factor: float
    fit_range: tuple[float, float]
    frequencies_squared: Tensor
    log_amplitude: Tensor
    log_amplitude_weighted: Tensor
    slope: float
    intercept: float
    correlation: float

    @property
    def fitted(self) -> bool:
        """Whether a line was fitted."""
        return not math.isnan(self.slope)

    def summary(self) -> dict[str, Any]:
        """As plain values, for run.json."""
        return {
            "b_factor": self.b_factor,
            "fit_range_angstrom": list(self.fit_range),
            "frequencies_squared": self.frequencies_squared.tolist(),
            "log_amplitude": self.log_amplitude.tolist(),
            "log_amplitude_weighted": self.log_amplitude_weighted.tolist(),
            "line": [self.slope, self.intercept] if self.fitted else None,
            "correlation": self.correlation,
        }


@dataclass(frozen=True, slots=True)
class Postprocessed:
    """A sharpened ``map`` (d, d, d) float32, its ``guinier`` plot, and what was done to it.

    ``b_factor`` (square Angstrom) was applied; ``low_pass`` in Angstrom, infinite if nothing is
    resolved: then only the mean is left.
    """

    map: Tensor
    guinier: Guinier
    b_factor: float
    low_pass: float

    def summary(self) -> dict[str, Any]:
        """The Guinier plot, "b_factor_applied" and the filter as plain values, for run.json."""
        applied = {"b_factor_applied": self.b_factor, "low_pass_angstrom": self.low_pass}
        return self.guinier.summary() | applied


def guinier_plot(volume: Tensor, fsc: Tensor, grid: Grid, high: float | None = None) -> Guinier:
    """The Guinier plot of ``volume`` (d, d, d) with half-map FSC ``fsc`` (n_shells,).

    The line is fitted by unweighted least squares from 10 Angstrom to ``high`` (Angstrom; default:
    where ``fsc`` falls below 0.143).
    """
    amplitudes = fourier.transform(volume.detach().double(), 3).abs() / volume.numel()
    amplitude = fourier.shell_means(amplitudes).log()
    weighted = amplitude + truth_from_halves(fsc).log()
    squared = grid.shell_frequencies().square()
    high = resolution(fsc, grid).angstrom if high is None else high
    used = (squared >= (1.0 - 1e-9) / GUINIER_FROM**2) & torch.isfinite(weighted)
    used &= squared <= (1.0 + 1e-9) / high**2
    slope, intercept, correlation = _line(squared[used], weighted[used])
    return Guinier(
        4.0 * slope, (GUINIER_FROM, high), squared, amplitude, weighted, slope, intercept,
        correlation,
    )  # fmt: skip


def sharpen(
    volume: Tensor, fsc: Tensor, grid: Grid, b_factor: float | None = None,
    low_pass: float | None = None,
) -> Postprocessed:  # fmt: skip
    """``volume`` weighted by its FSC, sharpened, and low-passed at its resolution.

    The transform is multiplied, shell by shell, by ``C_ref = sqrt(2 F / (1 + F))`` with F the
    half-map FSC ``fsc`` (n_shells,), by ``exp(-b_factor s^2 / 4)``, and by a cosine edge two
    shells wide around ``low_pass``; what lies beyond the last shell becomes 0.

    Parameters
    ----------
    b_factor
        Square Angstrom, negative to sharpen; default: that of the Guinier plot if it is negative,
        else 0, as amplitudes that rise are noise.
    low_pass
        Angstrom; default: where ``fsc`` falls below 0.143, or Nyquist if it never does.

    Raises
    ------
    SettingsError
        ``fsc`` does not have one value per shell.
    """
    end = resolution(fsc, grid).angstrom if low_pass is None else low_pass
    plot = guinier_plot(volume, fsc, grid, end)
    if b_factor is None:
        b_factor = min(plot.b_factor, 0.0) if plot.fitted else 0.0
    size = tuple(volume.shape)
    squared = fourier.squared_radii(size)
    weight = torch.zeros(grid.n_shells + 1, dtype=torch.float64)  # 0 beyond the last shell
    weight[: grid.n_shells] = truth_from_halves(fsc.double().nan_to_num(0.0))
    shells = fourier.shells(size).clamp_max(grid.n_shells)
    gain = weight[shells] * torch.exp(-0.25 * b_factor * squared / grid.side**2)
    edge = max(1.0, grid.side / end) - 1.0
    gain = gain * fourier.raised_cosine(squared.sqrt() - edge, 2.0)
    sharp = fourier.filter(volume.detach().double(), gain, 3).float()
    return Postprocessed(sharp, plot, b_factor, end)


def sharpen_mixture(mixture: GaussianMixture, b_factor: float, floor: float) -> GaussianMixture:
    """``mixture`` sharpened (or blurred) by ``b_factor`` without a grid: only its scales change.

    ``exp(-b_factor s^2 / 4)`` times the transform of a Gaussian is that of a Gaussian with variance
    ``scale^2 + b_factor / (8 pi^2)`` along each axis; amplitudes, which are integrals, stay. There
    is no ringing and no wrap-around. An axis that would become narrower than ``floor`` (standard
    deviation, Angstrom) gets ``floor``, or keeps its own scale if that is smaller already.

    Raises
    ------
    SettingsError
        ``floor`` is not positive.
    """
    if not floor > 0.0:
        raise SettingsError(f"sharpen_mixture: floor is {floor} Angstrom, expected above 0.")
    squared = mixture.scales.square()
    least = squared.clamp_max(floor**2)
    variances = (squared + b_factor / (8.0 * math.pi**2)).maximum(least)
    return replace(mixture, scales=variances.sqrt())


def share_at_floor(before: GaussianMixture, after: GaussianMixture, b_factor: float) -> float:
    """Share of all axes that `sharpen_mixture` could not sharpen in full because of its floor."""
    full = before.scales.square() + b_factor / (8.0 * math.pi**2)
    return float((after.scales.square() > full + 1e-6).double().mean())


def _line(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Slope, intercept and correlation of the least-squares line; NaN through too few points."""
    if len(x) < FEWEST_SHELLS:
        return math.nan, math.nan, math.nan
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx * dy).sum() / dx.square().sum())
    spread = float((dx.square().sum() * dy.square().sum()).sqrt())
    correlation = float((dx * dy).sum()) / spread if spread > 0 else 0.0
    return slope, float(y.mean()) - slope * float(x.mean()), correlation

"""The FSC of a model with the truth, shell by shell, from data that the model has never seen.

Let A1, A2 be the models of two half-sets, B1, B2 their linear (voxel) maps, and count in units of
the voxels' own power. Per shell two numbers are measured:

- ``cross``, the FSC of A1 with B2 (and of A2 with B1): its mean is ``rho sqrt(F)``,
- ``voxels``, the FSC of B1 with B2: its mean is ``F``, the share of signal in the power of B,

where ``rho`` is the FSC of A with the truth. Both are linear in B, whose noise is independent of the
other half-set, so no prior of the model can inflate them. ``cross / sqrt(voxels)`` is rho; where
the voxels' signal sinks into noise, F is small, and one shell alone says nothing. Shells are
therefore estimated together, in two unknowns that change slowly from shell to shell:

- ``y = log F / (1 - F)``, the signal-to-noise ratio of the voxels,
- ``g = log (rho^2 / (1 - rho^2)) - y``: how many times more particles voxels would need to be as good
  as the model. Measured on five models it lies between 1 and 4 and has next to no curvature.

The estimate maximises the likelihood of both numbers, with the covariance below, times three priors on
second differences from shell to shell: of g, of the signal's power (a Wilson plot bends slowly), and
of the model's regression on the truth. Signal power fluctuates by ``1 / sqrt(m)`` in a shell with m
independent Fourier coefficients, and the priors are weaker by as much.

With ``nu = (1 - F) / F`` the (co)variances of ``cross`` and ``voxels`` are ``nu F / (4 m)``,
``(2 nu + nu^2) F^2 / (2 m)`` and ``rho nu F^1.5 / (2 m)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..errors import InputError
from ..grid import Grid
from ..maps.fsc import shell_products, truth_from_halves

GAIN_BEND = 0.1  # second difference of g from shell to shell, standard deviation
REGRESSION_BEND = 0.05  # of the logarithm of the model's regression on the truth
POWER_BEND = 0.07  # of the logarithm of the signal's power
FREE = 1.0  # how little the priors hold, in units of F, where the voxels are clear by themselves
GAIN, GAIN_SPREAD = 1.0, 3.0  # of g itself
RATIO_SPREAD = 20.0  # of y itself
LEAST_SHARE, MOST_SHARE = 1e-3, 0.9999  # of F in the covariance
ROUNDING = 1e-7  # variance below which nothing is known better
REWEIGHTINGS, STEPS = 6, 60

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the cross-FSC says about a model, each (n_shells,) float64.

    ``with_truth``: estimated FSC of one half's model with the truth, in [0, 1]; ``deviation`` its
    standard deviation; ``voxel_signal``: share of signal in the power of one half's voxels.
    """

    with_truth: Tensor
    deviation: Tensor
    voxel_signal: Tensor

    def of_full_map(self) -> Tensor:
        """FSC with the truth of the model of all particles: ``sqrt(2 F / (1 + F))``, F = rho^2.

        Exact where twice as many particles are worth a doubled signal-to-noise ratio, with the
        same settings of the fit.
        """
        return truth_from_halves(self.with_truth.square())


def calibrate(
    models: tuple[Tensor, Tensor], voxels: tuple[Tensor, Tensor], mask: Tensor, grid: Grid
) -> Calibration:
    """Estimate the FSC with the truth of two half-sets' models (d, d, d) from their voxel maps.

    Raises
    ------
    InputError
        The maps differ in shape from the grid, or a map is empty.
    """
    for volume in (*models, *voxels, mask):
        grid.check_cube(volume, "calibrate: a map")
    a1, a2, b1, b2 = (
        fourier.transform(v.detach().double() * mask.double(), 3) for v in (*models, *voxels)
    )
    independent = independent_coefficients(mask)
    power_a = [shell_products(a, a) for a in (a1, a2)]
    power_b = (shell_products(b1, b1) * shell_products(b2, b2)).sqrt()
    if not all(bool((p[1:] > 0).all()) for p in (*power_a, power_b)):
        raise InputError("calibrate: a map has shells without any power, expected maps of data.")
    cross = 0.5 * (
        shell_products(a1, b2) / (power_a[0] * shell_products(b2, b2)).sqrt()
        + shell_products(a2, b1) / (power_a[1] * shell_products(b1, b1)).sqrt()
    )
    measured = _Measured(
        cross[1:].numpy(), (shell_products(b1, b2) / power_b)[1:].numpy(),
        independent[1:].numpy(), power_b[1:].log().numpy(),
        (0.5 * (power_a[0] + power_a[1]))[1:].log().numpy(),
    )  # fmt: skip
    rho, share, deviation = _estimate(measured)
    return Calibration(
        _with_origin(rho, 1.0), _with_origin(deviation, 0.0), _with_origin(share, 1.0)
    )


def difference_variance(cross: Tensor, voxels: Tensor, independent: Tensor) -> Tensor:
    """Variance of ``cross - voxels`` by chance, (n_shells,), to first order.

    Unlike the covariances above with the fluctuations of the maps' own power, which both curves are
    divided by. Of signal times noise (variance ``nu / m``, both halves), noise times noise
    (``nu^2 / (2 m)``), noise power (``2 nu^2 / m``) and the model's error times noise.
    ``independent`` (n_shells,): independent coefficients of each shell.
    """
    f = voxels.clamp(LEAST_SHARE, MOST_SHARE)
    rho, nu = (cross / f.sqrt()).clamp(0.0, 1.0), (1.0 - f) / f
    signal = ((1.0 - f) * (f - 0.5 * f.sqrt())).square() * nu
    noise = 0.5 * (f * nu).square()
    power = 2.0 * ((0.5 * f.square() - 0.25 * f**1.5) * nu).square()
    model = 0.25 * (1.0 - rho.square()) * f * nu
    return (signal + noise + power + model) / independent.clamp_min(1.0)


def independent_coefficients(mask: Tensor) -> Tensor:
    """How many Fourier coefficients of a map in the soft ``mask`` are independent, (n_shells,)."""
    d = len(mask)
    squared = mask.double().square()
    share = float(squared.sum() ** 2 / squared.square().sum().clamp_min(1e-30)) / mask.numel()
    return share * fourier.shell_sums(torch.ones(d, d, d // 2 + 1))


def _with_origin(values: Array, first: float) -> Tensor:
    return torch.from_numpy(np.concatenate([[first], values]))


@dataclass(frozen=True, slots=True)
class _Measured:
    """Per shell: both FSC curves, independent coefficients, log power of voxels and of models."""

    cross: Array
    voxels: Array
    independent: Array
    log_power: Array
    log_model: Array


@dataclass(frozen=True, slots=True)
class _Weights:
    """Square root of the inverse covariance of (cross, voxels), and the F it was made with."""

    first: Array
    mixed: Array
    second: Array
    share: Array


@dataclass(frozen=True, slots=True)
class _Point:
    """Residuals and their Jacobian at (y, g), and what they stand for."""

    residuals: Array
    jacobian: Array
    rho: Array
    share: Array

    @property
    def cost(self) -> float:
        return float(self.residuals @ self.residuals)


def _estimate(measured: _Measured) -> tuple[Array, Array, Array]:
    """rho, F and the standard deviation of rho by Levenberg-Marquardt, reweighted."""
    k = len(measured.cross)
    share = np.clip(measured.voxels, LEAST_SHARE, 0.999)
    rho = np.clip(measured.cross / np.sqrt(np.maximum(share, 0.02)), 0.02, 0.995)
    first = np.clip(share, 0.01, None)
    smooth = np.convolve(np.pad(np.log(first / (1 - first)), 2, mode="edge"), np.full(5, 0.2))
    unknown = np.concatenate([smooth[4:-4], np.full(k, GAIN)])
    point = None
    for _ in range(REWEIGHTINGS):
        weights = _weights(rho, share, measured.independent)
        unknown, point = _descend(measured, unknown, weights)
        rho, share = point.rho, point.share
    assert point is not None
    covariance = np.linalg.inv(point.jacobian.T @ point.jacobian)
    slope = np.tile(np.diag(0.5 * rho * (1 - rho**2)), 2)
    variance = np.diag(slope @ covariance @ slope.T)
    return rho, share, np.sqrt(np.maximum(variance, 0.0))


def _descend(measured: _Measured, unknown: Array, weights: _Weights) -> tuple[Array, _Point]:
    point, damping = _evaluate(measured, unknown, weights), 1e-2
    for _ in range(STEPS):
        normal = point.jacobian.T @ point.jacobian
        gradient = point.jacobian.T @ point.residuals
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), gradient)
        trial = _evaluate(measured, unknown - step, weights)
        if trial.cost < point.cost:
            settled = point.cost - trial.cost < 1e-7 * point.cost
            unknown, point, damping = unknown - step, trial, max(damping / 5, 1e-9)
            if settled:
                break
        elif damping > 1e8:
            break
        else:
            damping *= 5
    return unknown, point


def _evaluate(measured: _Measured, unknown: Array, weights: _Weights) -> _Point:
    k = len(measured.cross)
    y, g = unknown[:k], unknown[k:]
    log_rho, log_share = 0.5 * _log_sigmoid(y + g), _log_sigmoid(y)
    rho, share = np.exp(log_rho), np.exp(log_share)
    cross = np.exp(log_rho + 0.5 * log_share)
    log_signal = log_share + measured.log_power
    # derivatives by (y, g) of log rho, log F, log cross
    by_rho = 0.5 * (1 - rho**2)
    by_share = 1 - share
    by_cross = by_rho + 0.5 * by_share
    first, mixed, second = weights.first, weights.mixed, weights.second
    errors = measured.cross - cross, measured.voxels - share
    slopes = -cross * by_cross, -cross * by_rho, -share * by_share

    bend = np.diff(np.eye(k), 2, axis=0)
    m = measured.independent[1:-1]
    clear = (FREE * weights.share[1:-1]) ** 2
    of_gain = bend / np.sqrt(GAIN_BEND**2 + 2 / m + 0.1 * clear)[:, None]
    of_regression = bend / np.sqrt(REGRESSION_BEND**2 + 1 / m + 0.25 * clear)[:, None]
    of_power = bend / np.sqrt(POWER_BEND**2 + 6 / m + clear)[:, None]
    one, none, empty = np.eye(k), np.zeros((k, k)), np.zeros_like(bend)
    residuals = [
        first * errors[0] + mixed * errors[1],
        second * errors[1],
        of_gain @ g,
        of_regression @ (log_rho + 0.5 * (log_signal - measured.log_model)),
        of_power @ log_signal,
        (g - GAIN) / GAIN_SPREAD,
        y / RATIO_SPREAD,
    ]
    rows = [
        [np.diag(first * slopes[0] + mixed * slopes[2]), np.diag(first * slopes[1])],
        [np.diag(second * slopes[2]), none],
        [empty, of_gain],
        [of_regression * by_cross, of_regression * by_rho],
        [of_power * by_share, empty],
        [none, one / GAIN_SPREAD],
        [one / RATIO_SPREAD, none],
    ]
    return _Point(np.concatenate(residuals), np.block(rows), rho, share)


def _weights(rho: Array, share: Array, independent: Array) -> _Weights:
    """Upper triangular square root of the inverse covariance of (cross, voxels)."""
    f, r = np.clip(share, LEAST_SHARE, MOST_SHARE), np.clip(rho, 0.01, MOST_SHARE)
    nu = (1 - f) / f
    of_cross = nu * f / (4 * independent) + ROUNDING
    of_voxels = (2 * nu + nu**2) * f**2 / (2 * independent) + ROUNDING
    both = r * nu * f**1.5 / (2 * independent)
    determinant = np.maximum(of_cross * of_voxels - both**2, 1e-3 * of_cross * of_voxels)
    first = np.sqrt(of_voxels / determinant)
    mixed = -both / determinant / first
    second = np.sqrt(np.maximum(of_cross / determinant - mixed**2, 1e-12))
    return _Weights(first, mixed, second, f)


def _log_sigmoid(x: Array) -> Array:
    return -np.logaddexp(0.0, -x)

"""Voxel maps from the same statistics: regularised least squares by conjugate gradients.

The baseline that every mixture is compared with, and where mixtures get their first positions.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ._energy import QuadraticForm, dot

LEAST_PENALTY = 1e-4  # of the largest shell mean: frequencies that no image holds stay finite
LEAST_FSC = 0.1  # stronger damping would let a mask leak low frequencies over the high ones


def shell_means(form: QuadraticForm) -> NDArray[np.float64]:
    """Mean of the transfer function in every shell of the cube, (side // 2 + 1,) float64.

    The information about a Fourier coefficient of the map in this shell, summed over images.
    """
    return fourier.shell_means(form.transfer[::2, ::2, ::2]).clamp_min(0.0).cpu().numpy()


def solve(form: QuadraticForm, penalty: NDArray[np.float64], steps: int) -> Tensor:
    """Minimise ``L(V) + 1/2 sum_k penalty(|k|) |V(k)|^2 / n``: ``(K + penalty) V = b``.

    ``penalty`` (side // 2 + 1,) per shell, in the units of `shell_means`; the last shell's value
    holds in the corners. Conjugate gradients, preconditioned by the shell means.
    """
    side, device = form.grid.box_size, form.linear.device
    shells = fourier.shells((side,) * 3, device).clamp_max(side // 2)
    means = shell_means(form)
    solution = torch.zeros_like(form.linear)
    if not means.any():
        return solution
    penalty = penalty + LEAST_PENALTY * means.max()
    damping, preconditioner = (
        torch.from_numpy(of_shell).to(form.linear)[shells]
        for of_shell in (penalty, 1 / (means + penalty))
    )

    def filtered(volume: Tensor, weights: Tensor) -> Tensor:
        return fourier.inverse_(fourier.transform(volume, 3).mul_(weights), side, 3)

    def product(a: Tensor, b: Tensor) -> float:
        return float(dot(a, b))

    residual = form.linear.clone()
    direction = filtered(residual, preconditioner)
    power = product(residual, direction)
    for _ in range(steps):
        image = filtered(direction, damping)
        damped = product(direction, image)
        image += form.convolve(direction)
        curvature = product(direction, image)
        if curvature <= 0.0 or curvature < damped:
            break  # K is positive, up to the gridding's errors: this direction is one of them
        solution.add_(direction, alpha=power / curvature)
        residual.sub_(image, alpha=power / curvature)
        conditioned = filtered(residual, preconditioner)
        previous, power = power, product(residual, conditioned)
        if power <= 1e-10 * previous:
            break
        direction.mul_(power / previous).add_(conditioned)
    return solution


def penalty_from_fsc(form: QuadraticForm, fsc: Tensor) -> NDArray[np.float64]:
    """The Wiener penalty per shell from the FSC of two half-maps (Scheres 2012, eq. 6 and after).

    ``(1 - F) / F`` times the shell's information, with ``F = 2 fsc / (1 + fsc)`` of the full set.
    """
    means = shell_means(form)
    n = len(means)
    half = np.clip(fsc.cpu().numpy()[:n], LEAST_FSC, 0.9999)
    half = np.pad(half, (0, n - len(half)), mode="edge")
    full = 2 * half / (1 + half)
    return means * (1 - full) / full

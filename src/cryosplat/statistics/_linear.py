"""Voxel maps from the same statistics: regularised least squares by conjugate gradients.

The baseline that every mixture is compared with, and where mixtures get their first positions.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ._energy import QuadraticForm

LEAST_PENALTY = 1e-4  # of the largest shell mean: frequencies that no image holds stay finite
LEAST_FSC = 0.1  # stronger damping would let a mask leak low frequencies over the high ones


def shell_means(form: QuadraticForm) -> NDArray[np.float64]:
    """Mean of the transfer function in every shell of the cube, (side // 2 + 1,) float64.

    The information about a Fourier coefficient of the map in this shell, summed over images.
    """
    return fourier.shell_means(form.transfer[::2, ::2, ::2]).clamp_min(0.0).numpy()


def solve(form: QuadraticForm, penalty: NDArray[np.float64], steps: int) -> Tensor:
    """Minimise ``L(V) + 1/2 sum_k penalty(|k|) |V(k)|^2 / n``: ``(K + penalty) V = b``.

    ``penalty`` (side // 2 + 1,) per shell, in the units of `shell_means`; the last shell's value
    holds in the corners. Conjugate gradients, preconditioned by the shell means.
    """
    side = form.grid.box_size
    shells = fourier.shells((side,) * 3).clamp_max(side // 2).numpy()
    means = shell_means(form)
    if not means.any():
        return torch.zeros((side,) * 3)
    penalty = penalty + LEAST_PENALTY * means.max()
    damping = penalty.astype(np.float32)[shells]
    preconditioner = (1.0 / (means + penalty)).astype(np.float32)[shells]

    def filtered(volume: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        transform = scipy.fft.rfftn(volume, workers=fourier.workers())
        transform *= weights
        back = scipy.fft.irfftn(transform, s=(side,) * 3, workers=fourier.workers())
        return np.asarray(back, np.float32)

    solution = np.zeros((side,) * 3, np.float32)
    residual = form.linear.numpy().copy()
    direction = conditioned = filtered(residual, preconditioner)
    power = _dot(residual, conditioned)
    for _ in range(steps):
        damped = filtered(direction, damping)
        image = form.convolve(torch.from_numpy(direction)).numpy() + damped
        curvature = _dot(direction, image)
        if curvature <= 0.0 or curvature < _dot(direction, damped):
            break  # K is positive, up to the gridding's errors: this direction is one of them
        length = np.float32(power / curvature)
        solution += length * direction
        residual -= length * image
        conditioned = filtered(residual, preconditioner)
        previous, power = power, _dot(residual, conditioned)
        if power <= 1e-10 * previous:
            break
        direction *= np.float32(power / previous)
        direction += conditioned
    return torch.from_numpy(solution)


def _dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.sum(np.multiply(a, b, dtype=np.float64)))


def penalty_from_fsc(form: QuadraticForm, fsc: Tensor) -> NDArray[np.float64]:
    """The Wiener penalty per shell from the FSC of two half-maps (Scheres 2012, eq. 6 and after).

    ``(1 - F) / F`` times the shell's information, with ``F = 2 fsc / (1 + fsc)`` of the full set.
    """
    means = shell_means(form)
    n = len(means)
    half = np.clip(fsc.numpy()[:n], LEAST_FSC, 0.9999)
    half = np.pad(half, (0, n - len(half)), mode="edge")
    full = 2 * half / (1 + half)
    return means * (1 - full) / full

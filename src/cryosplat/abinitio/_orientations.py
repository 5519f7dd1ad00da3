"""Sets of orientations that cover all of them evenly."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

PHI, PSI = math.sqrt(2.0), 1.533751168755204288118041
"""Constants of super-Fibonacci spirals (Alexa 2022, "Super-Fibonacci spirals")."""


def evenly(n: int) -> Tensor:
    """``n`` rotations that cover SO(3) evenly, (n, 3, 3) float64 (Alexa 2022, equation 7)."""
    s = np.arange(n) + 0.5
    r, big = np.sqrt(s / n), np.sqrt(1.0 - s / n)
    alpha, beta = 2.0 * np.pi * s / PHI, 2.0 * np.pi * s / PSI
    xyzw = np.stack(
        [r * np.sin(alpha), r * np.cos(alpha), big * np.sin(beta), big * np.cos(beta)], 1
    )
    return torch.from_numpy(Rotation.from_quat(xyzw).as_matrix())


def count_at(spacing: float) -> int:
    """How many orientations have about this ``spacing`` (radian): ``8 pi^2 / spacing^3``."""
    return max(1, round(8.0 * math.pi**2 / spacing**3))


def at_random(n: int, generator: torch.Generator) -> Tensor:
    """``n`` rotations, uniformly distributed, (n, 3, 3) float64."""
    quaternions = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return torch.from_numpy(Rotation.from_quat(quaternions.numpy()).as_matrix())

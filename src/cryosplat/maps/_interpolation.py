"""Trilinear interpolation of cubes."""

from __future__ import annotations

import torch
from torch import Tensor


def trilinear(values: Tensor, positions: Tensor) -> Tensor:
    """A periodic cube (d, d, d) at ``positions`` (m,) along every axis, in voxels: (m, m, m)."""
    size = values.shape[0]
    nodes = torch.arange(size, dtype=torch.float64)
    apart = (positions.double()[:, None] - nodes + 0.5 * size).remainder(size) - 0.5 * size
    weights = (1.0 - apart.abs()).clamp_min(0.0).to(values.dtype)
    for _ in range(3):
        values = values.permute(1, 2, 0) @ weights.T  # three times: every axis, the order restored
    return values

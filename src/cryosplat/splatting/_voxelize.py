"""A mixture on a voxel grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..grid import Grid
from ..mixture import GaussianMixture, quaternions_to_matrices
from ._operator import voxelize_op


def voxelize(mixture: GaussianMixture, grid: Grid) -> Tensor:
    """The map of a mixture on ``grid``: voxel value = density times voxel volume.

    Returns (d, d, d), ``[z, y, x]``, with ``sum(map) == sum(amplitudes)`` of the whole map for
    Gaussians inside the box and wider than about 0.4 pixels (narrower ones alias). Differentiable
    by all parameters.
    """
    mixture = mixture.whole()
    centres = mixture.means / grid.pixel_size + grid.centre
    scales = mixture.scales / grid.pixel_size
    axes = quaternions_to_matrices(mixture.quaternions)
    half = axes / scales[:, None, :]
    precision = half @ half.transpose(1, 2)
    upper = torch.stack([precision[:, i, j] for i in range(3) for j in range(i, 3)], -1)
    weights = mixture.amplitudes / ((2 * math.pi) ** 1.5 * scales.prod(-1))
    return voxelize_op(centres, upper, weights, grid.box_size)

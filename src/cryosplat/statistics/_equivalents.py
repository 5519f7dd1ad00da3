"""The equivalent poses of a symmetric map: which of them are spread, and which come by permutation.

Rotations that map the Fourier grid onto itself (quarter and half turns about its axes, third turns
about its diagonals) need no second pass over the images: the sums are permuted instead, exactly.
With H these rotations and ``G = union of r H``, the points ``S^T q`` of an image for all S in G are
those of ``r^T q`` for the representatives r, turned by all of H.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..symmetry import rotations_of


def representatives(symmetry: str) -> NDArray[np.float64]:
    """One rotation of each coset ``r H`` of a group, (m, 3, 3), the identity first."""
    exact = grid_rotations(symmetry)
    found: list[NDArray[np.float64]] = []
    for rotation in rotations_of(symmetry):
        known = (np.abs(rotation - r @ h).max() < 1e-6 for r in found for h in exact)
        if not any(known):
            found.append(rotation)
    return np.stack(found)


def grid_rotations(symmetry: str) -> NDArray[np.float64]:
    """The rotations H of a group that map a cubic grid onto itself, (h, 3, 3)."""
    rotations = rotations_of(symmetry)
    return rotations[np.abs(rotations - np.round(rotations)).max((1, 2)) < 1e-9]


def averaged(volume: Tensor, symmetry: str) -> Tensor:
    """The mean of a periodic cubic array over H: ``sum_h V(h r) / |H|``.

    The rotation centre is element 0 of each axis.
    """
    exact = grid_rotations(symmetry)
    if len(exact) == 1:
        return volume
    total = torch.zeros_like(volume)
    for rotation in exact:
        total += _turned(volume, rotation)
    return total.div_(len(exact))


def _turned(volume: Tensor, rotation: NDArray[np.float64]) -> Tensor:
    """``V(h r)`` for a rotation h of the grid: axes exchanged and reversed."""
    axes = np.round(rotation)[::-1, ::-1]  # of (z, y, x), as the array's
    reversed_order = -torch.arange(len(volume), device=volume.device) % len(volume)
    for axis in range(3):
        if axes[axis].sum() < 0:
            volume = volume.index_select(axis, reversed_order)
    return volume.permute(*np.abs(axes).argmax(0).tolist())


def gridding_passes(symmetry: str) -> int:
    """How often each image is gridded for a map of this symmetry."""
    return len(representatives(symmetry))

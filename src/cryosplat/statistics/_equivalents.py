"""The equivalent poses of a symmetric map: which of them are spread, and which come by permutation.

Rotations that map the Fourier grid onto itself (quarter and half turns about its axes, third turns
about its diagonals) need no second pass over the images: the sums are permuted instead, exactly.
With H these rotations and ``G = union of r H``, the points ``S^T q`` of an image for all S in G are
those of ``r^T q`` for the representatives r, turned by all of H.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def averaged(volume: NDArray[np.float32], symmetry: str) -> NDArray[np.float32]:
    """The mean of a periodic cubic array over H: ``sum_h V(h r) / |H|``.

    The rotation centre is element 0 of each axis.
    """
    exact = grid_rotations(symmetry)
    if len(exact) == 1:
        return volume
    total = np.zeros_like(volume)
    for rotation in exact:
        total += _turned(volume, rotation)
    total /= np.float32(len(exact))
    return total


def _turned(volume: NDArray[np.float32], rotation: NDArray[np.float64]) -> NDArray[np.float32]:
    """``V(h r)`` for a rotation h of the grid: axes exchanged and reversed."""
    axes = np.round(rotation)[::-1, ::-1]  # of (z, y, x), as the array's
    for axis in range(3):
        if axes[axis].sum() < 0:
            volume = np.roll(np.flip(volume, axis), 1, axis)
    return volume.transpose(np.abs(axes).argmax(0))

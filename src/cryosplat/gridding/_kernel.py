"""The interpolation kernel of the gridding: piecewise polynomials on four cells.

It is the separable kernel of least aliasing at positions within 0.29 of the period, for twofold
padding, among the even functions that are polynomials of degree 7 within each cell and have a
continuous derivative (docs/decisions/0011). The derivative is what makes slices differentiable by
rotations everywhere, at the identity too, where points fall onto cells. Aliasing near the rotation
centre, where the molecule is, weighs more (a normal weight of width 0.12 of the period, above 0.05),
and so does that of points on cells (a hundredfold): there aliases add instead of cancelling, and the
origin, which every image holds, lies on a cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

TAPS = 4
LOW = TAPS // 2 - 1  # cells that the taps of a point begin below its own
# of t = 2 x - 1 for distances x in [0, 1], and of t = 2 x - 3 in [1, 2], highest power first
_INNER = (-0.0148970029898, -0.000976304625945, 0.0163567029531, 0.00527863206781,
          0.0768563829344, -0.108055156712, -0.408927255549, 0.773141656619)  # fmt: skip
_OUTER = (0.0100430850264, 0.0024639671671, -0.0120227284177, -0.00820734601302,
          -0.0218161910239, 0.109449596979, -0.145592992933, 0.0656826092152)  # fmt: skip
DEGREE = len(_INNER) - 1
_MIRROR = (-1.0) ** np.arange(DEGREE, -1, -1)

POLYNOMIALS = np.stack([_OUTER, _INNER, _MIRROR * _INNER, _MIRROR * _OUTER], -1)
"""Coefficients (DEGREE + 1, TAPS), highest power first, of each tap in t = 2 offset - 1, where
``offset`` in [0, 1) is how far a point lies above its cell and tap j is the weight of cell j - LOW."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)  # exact to rounding on a cell


def kernel(distance: ArrayLike) -> NDArray[np.float64]:
    """The kernel at ``distance`` cells; zero at and beyond two."""
    x = np.abs(np.asarray(distance, float))
    t = 2.0 * (x % 1.0) - 1.0
    pieces = [np.polyval(_INNER, t), np.polyval(_OUTER, t)]
    return np.select([x < 1.0, x < 2.0], pieces, 0.0).astype(float)


def kernel_transform(positions: ArrayLike, period: int) -> NDArray[np.float64]:
    """Fourier transform of the kernel at ``positions`` (voxels of a box of ``period`` voxels)."""
    distances = np.concatenate([0.5 * _NODES + 0.5, 0.5 * _NODES + 1.5])
    phases = np.cos(2.0 * np.pi / period * np.multiply.outer(np.asarray(positions), distances))
    return phases @ (np.tile(_WEIGHTS, 2) * kernel(distances))

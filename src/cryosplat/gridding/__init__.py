"""Central slices of transforms, and the sums of many of them: an adjoint pair of operators.

A point between the cells of a padded Fourier grid is read from, and spread to, the 4 x 4 x 4 cells
about it, by one kernel whose transform is divided out in real space.
"""

from ._kernel import LOW, POLYNOMIALS, TAPS
from ._operator import slices_op as slices
from ._operator import spread_op as spread
from ._sums import Sums, sums_bytes
from ._volume import band, correction, padded_transform

__all__ = [
    "LOW", "POLYNOMIALS", "TAPS", "Sums", "band", "correction", "padded_transform", "slices", "spread",
    "sums_bytes",
]  # fmt: skip

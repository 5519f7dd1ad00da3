"""Exact sufficient statistics of particles, and the quadratic data term made of them."""

from ._accumulate import Accumulator, accumulate
from ._energy import QuadraticForm
from ._linear import penalty_from_fsc, shell_means, solve
from ._values import Statistics, fourier_cropped

__all__ = [
    "Accumulator",
    "QuadraticForm",
    "Statistics",
    "accumulate",
    "fourier_cropped",
    "penalty_from_fsc",
    "shell_means",
    "solve",
]

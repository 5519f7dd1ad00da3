"""Exact sufficient statistics of particles, and the quadratic data term made of them."""

from ._accumulate import Accumulator, accumulate
from ._assignments import Assignments
from ._energy import QuadraticForm
from ._equivalents import averaged, gridding_passes
from ._identity import Identity
from ._linear import penalty_from_fsc, shell_means, solve
from ._values import Statistics
from ._weighted import WeightedImages, weighted_images

__all__ = [
    "Accumulator",
    "Assignments",
    "Identity",
    "QuadraticForm",
    "Statistics",
    "WeightedImages",
    "accumulate",
    "averaged",
    "gridding_passes",
    "penalty_from_fsc",
    "shell_means",
    "solve",
    "weighted_images",
]

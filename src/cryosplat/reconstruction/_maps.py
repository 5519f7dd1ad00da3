"""Maps of all particles and of each half-set."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Maps(NamedTuple):
    """Maps (d, d, d) of all particles and of each half-set."""

    full: Tensor
    half1: Tensor
    half2: Tensor

"""Sums of half planes that come batch after batch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels import triton_module
from . import _cpu, _tiles


class Sums:
    """What `spread` makes of many batches: of complex values, and of real weights at the same points.

    ``period`` P is that of the half grids (P, P, P // 2 + 1), even. In single precision, on ``device``.
    """

    def __init__(self, period: int, device: torch.device) -> None:
        if device.type == "cpu":
            self._held = _cpu.Tiles(period)
        else:
            self._held = triton_module(f"{__package__}._cuda").Grids(period, device)

    def add(self, values: Tensor, steps: Tensor, radii: Tensor) -> None:
        """Spread n half planes ``values`` (n, d, d // 2 + 1, 3): real part, imaginary part, weight.

        ``steps`` (n, 2, 3) and ``radii`` (n,) as in `spread`.
        """
        self._held.add(values, steps, radii)

    def grids(self) -> tuple[Tensor, Tensor]:
        """The half grids of values, complex, and of weights, real, as they are so far."""
        return self._held.grids()


def sums_bytes(period: int) -> float:
    """Memory of `Sums` on the CPU."""
    return len(_tiles.corners(period)) * _tiles.EDGE**3 * 16.0

"""Sums of half planes that come batch after batch."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _cpu, _tiles
from ._operator import spread_op


class Sums:
    """What `spread` makes of many batches: of complex values, and of real weights at the same points.

    ``period`` P is that of the half grids (P, P, P // 2 + 1), even. In single precision, on ``device``.
    """

    def __init__(self, period: int, device: torch.device) -> None:
        self._held = _cpu.Tiles(period) if device.type == "cpu" else _Grids(period, device)

    def add(self, values: Tensor, steps: Tensor, radii: Tensor) -> None:
        """Spread n half planes ``values`` (n, d, d // 2 + 1, 3): real part, imaginary part, weight.

        ``steps`` (n, 2, 3) and ``radii`` (n,) as in `spread`.
        """
        self._held.add(values, steps, radii)

    def grids(self) -> tuple[Tensor, Tensor]:
        """The half grids of values, complex, and of weights, real, as they are so far."""
        return self._held.grids()


class _Grids:
    """Half grids that batches are added to."""

    def __init__(self, period: int, device: torch.device) -> None:
        shape = (period, period, period // 2 + 1)
        self.values = torch.zeros(shape, dtype=torch.complex64, device=device)
        self.weights = torch.zeros(shape, device=device)

    def add(self, values: Tensor, steps: Tensor, radii: Tensor) -> None:
        period = len(self.values)
        value = torch.view_as_complex(values[..., :2].contiguous())
        self.values += spread_op(value, steps, radii, period)
        self.weights += spread_op(values[..., 2].to(value), steps, radii, period).real

    def grids(self) -> tuple[Tensor, Tensor]:
        return self.values.clone(), self.weights.clone()


def sums_bytes(period: int) -> float:
    """Memory of `Sums` on the CPU."""
    return len(_tiles.corners(period)) * _tiles.EDGE**3 * 16.0

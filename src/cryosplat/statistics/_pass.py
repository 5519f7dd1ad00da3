"""Weighted images that wait until they are worth a pass over the Fourier grid."""

from __future__ import annotations

import torch
from numba import njit, prange
from torch import Tensor

PASS_BYTES = 2**26  # of images


def room_for(box_size: int) -> int:
    """How many images make a pass."""
    return max(1, PASS_BYTES // (4 * box_size**2))


class Pass:
    """Room for the images of one pass, in memory that is kept from pass to pass."""

    def __init__(self, box_size: int, device: torch.device) -> None:
        self.box_size = box_size
        room = room_for(box_size) if box_size else 0
        self._values = torch.empty(room, box_size, box_size // 2 + 1, 3, device=device)
        self._steps = torch.empty(room, 2, 3, dtype=torch.float64, device=device)
        self._radii = torch.empty(room, dtype=torch.float64, device=device)
        self._filled = 0

    @property
    def full(self) -> bool:
        """Whether there is no more room."""
        return self._filled == len(self._radii)

    def take(
        self, values: Tensor, view: Tensor, weights: Tensor, steps: Tensor, radii: Tensor
    ) -> int:
        """Keep ``weights[j] values[view[j]]`` for the first j, as many as there is room for."""
        n = min(len(view), len(self._radii) - self._filled)
        free = slice(self._filled, self._filled + n)
        rows, factors = view[:n].to(values.device), weights[:n].to(values)
        if values.device.type == "cpu":
            source, out = values.flatten(1), self._values[free].flatten(1)
            _weigh_rows(source.numpy(), rows.numpy(), factors.numpy(), out.numpy())
        else:
            self._values[free] = values[rows] * factors[:, None, None, None]
        self._steps[free], self._radii[free] = steps[:n], radii[:n]
        self._filled += n
        return n

    def empty(self) -> tuple[Tensor, Tensor, Tensor]:
        """Values, steps and radii of what is kept; their memory is used again."""
        kept = slice(0, self._filled)
        self._filled = 0
        return self._values[kept], self._steps[kept], self._radii[kept]


@njit(parallel=True, cache=True)
def _weigh_rows(values, view, weights, out):
    for j in prange(out.shape[0]):
        row, weight = view[j], weights[j]
        for k in range(out.shape[1]):
            out[j, k] = weight * values[row, k]

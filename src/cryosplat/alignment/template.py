"""What images are held against: a map's transform on its padded grid, up to a frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier, gridding
from ..errors import SettingsError
from ..grid import Grid


@dataclass(frozen=True, slots=True)
class Template:
    """The transform of a map on ``grid``, of frequencies below ``limit`` in 1/Angstrom.

    ``transform``: the padded half grid, on the device of the map; ``cells``: what the kernels of the
    CPU read of it, empty elsewhere; ``shape``: (rows, columns, lead) of that cube.
    """

    grid: Grid
    limit: float
    cells: NDArray[np.float32]
    shape: tuple[int, int, int]
    transform: Tensor

    @staticmethod
    def of(volume: Tensor, grid: Grid, limit: float, gains: Tensor | None = None) -> Template:
        """That of a map (d, d, d) whose sum is that of its images.

        ``gains`` (d // 2 + 1,): what each shell is multiplied by, 1 where left out. Raises
        `SettingsError` for a map of another box than the grid's and a ``limit`` that is not positive.
        """
        d = grid.box_size
        if tuple(volume.shape) != (d, d, d) or not limit > 0.0:
            raise SettingsError(
                f"Template: the map has shape {tuple(volume.shape)} and the limit is {limit}, "
                f"expected {(d, d, d)} and a frequency above 0."
            )
        if gains is not None:
            radii = fourier.squared_radii((d,) * 3).sqrt()
            volume = fourier.filter(volume, fourier.at_radii(gains, radii).to(volume.device), 3)
        limit = min(limit, 0.5 / grid.pixel_size)
        transform = gridding.padded_transform(volume.float())
        reach = math.ceil(2.0 * limit * grid.side)
        if transform.device.type != "cpu":
            return Template(grid, limit, np.empty(0, np.float32), (0, 0, 0), transform)
        cells, shape = _cube(transform.numpy(), reach)
        return Template(grid, limit, cells, shape, transform)

    def within(self, limit: float) -> Template:
        """The same below a lower limit."""
        return Template(self.grid, min(limit, self.limit), self.cells, self.shape, self.transform)


def _cube(
    half: NDArray[np.complex64], reach: int
) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """The cells that points within ``reach`` cells of the origin, x from 0 on, are read from."""
    period = half.shape[0]
    lead = reach + gridding.LOW
    after = gridding.TAPS - gridding.LOW
    k = np.arange(-lead, reach + after)
    x = np.arange(-gridding.LOW, reach + after) % period
    stored = x <= period // 2
    cube = np.empty((len(k), len(k), len(x)), np.complex64)
    cube[:, :, stored] = half[np.ix_(k % period, k % period, x[stored])]
    mates = half[np.ix_(-k % period, -k % period, (-x % period)[~stored])]
    cube[:, :, ~stored] = mates.conj()
    return cube.view(np.float32).reshape(-1), (len(k), len(x), lead)

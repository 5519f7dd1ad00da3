"""The definition of slicing, its adjoint and its derivative: on any device, in any dtype.

A half grid G (P, P, P // 2 + 1) stands for the periodic grid that ``irfftn`` makes a real array of.
Its slice at a point q, in cells, is ``sum_c phi(q - c) G(c)`` over the cells c of that grid, with the
separable kernel phi of `_kernel`. Images are done one after the other, which bounds the memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import fourier
from ._kernel import LOW, POLYNOMIALS, TAPS

_SLOPES = np.stack([2.0 * np.polyder(tap) for tap in POLYNOMIALS.T], -1)


class _Reach(NamedTuple):
    """What points touch: indices of cells, phi and phi', each (x, y, z) of (..., TAPS)."""

    cells: Tensor
    weights: Tensor
    slopes: Tensor

    @staticmethod
    def of(k: Tensor, steps: Tensor, period: int) -> _Reach:
        points = torch.einsum("yxj,jc->cyx", k, steps.double())
        cell = points.floor()
        t = 2.0 * (points - cell) - 1.0
        cells = cell.long()[..., None] + torch.arange(-LOW, TAPS - LOW, device=cell.device)
        return _Reach(cells % period, _polynomial(POLYNOMIALS, t), _polynomial(_SLOPES, t))

    def index(self) -> tuple[Tensor, Tensor, Tensor]:
        """The 4 x 4 x 4 cells of every point, as an index into ``[z, y, x]``."""
        x, y, z = self.cells
        return z[..., :, None, None], y[..., None, :, None], x[..., None, None, :]


def _polynomial(coefficients: np.ndarray, t: Tensor) -> Tensor:
    value = torch.zeros_like(t)[..., None]
    for row in torch.from_numpy(coefficients).to(t):
        value = value * t[..., None] + row
    return value


def half_plane(box_size: int, radii: Tensor) -> tuple[Tensor, Tensor]:
    """(kx, ky) of a half transform (d, d // 2 + 1, 2), and which lie within ``radii`` (n, ...)."""
    shape = (box_size, box_size)
    k = box_size * fourier.frequencies(shape, device=radii.device)
    limit = radii.double().clamp_max(0.5 * box_size)
    return k.round(), fourier.squared_radii(shape, radii.device) < limit[:, None, None].square()


def _whole(grid: Tensor) -> Tensor:
    return torch.fft.fftn(torch.fft.irfftn(grid, s=(grid.shape[0],) * 3))


def with_mates(grid: Tensor) -> Tensor:
    """A half grid, its planes that hold both members of their pairs plus the mates, in place."""
    for x in {0, grid.shape[0] // 2} if grid.shape[0] % 2 == 0 else {0}:
        plane = grid[:, :, x]
        plane += plane.flip(0, 1).roll((1, 1), (0, 1)).conj()
    return grid


def slices_dense(grid: Tensor, steps: Tensor, radii: Tensor, box_size: int) -> Tensor:
    """Slices (n, d, d // 2 + 1) of a half ``grid`` at ``q = kx steps[:, 0] + ky steps[:, 1]``.

    ``steps`` (n, 2, 3): cells (x, y, z) per image frequency; 0 at frequencies of ``radii`` (n,), and
    at the image's Nyquist frequency, and beyond.
    """
    whole, (k, inside) = _whole(grid), half_plane(box_size, radii)
    out = grid.new_zeros(inside.shape)
    for plane, step in zip(out, steps, strict=True):
        reach = _Reach.of(k, step, grid.shape[0])
        x, y, z = reach.weights.to(grid)
        plane[:] = torch.einsum("...i,...j,...k,...kji->...", x, y, z, whole[reach.index()])
    return out * inside


def spread_dense(values: Tensor, steps: Tensor, radii: Tensor, period: int) -> Tensor:
    """The half grid (P, P, P // 2 + 1) of ``sum_q phi(q - c) values(q)``, both halves of each plane.

    The adjoint of `slices_dense`, with ``<a, b>`` the sum over whole planes and whole grids.
    """
    k, inside = half_plane(values.shape[1], radii)
    held = values * inside
    held[:, :, 0] *= 0.5  # this column holds both members of its Friedel pairs
    sums = values.new_zeros((period,) * 3)
    for plane, step in zip(held, steps, strict=True):
        reach = _Reach.of(k, step, period)
        x, y, z = reach.weights.to(values)
        terms = torch.einsum("...,...i,...j,...k->...kji", plane, x, y, z)
        sums.index_put_(reach.index(), terms, accumulate=True)
    return torch.fft.rfftn(2.0 * torch.fft.ifftn(sums).real)


def slopes_dense(grid: Tensor, values: Tensor, steps: Tensor, radii: Tensor) -> Tensor:
    """The derivative (n, 2, 3) of ``Re sum conj(values) slices_dense(grid, steps)`` by ``steps``."""
    whole, (k, inside) = _whole(grid), half_plane(values.shape[1], radii)
    out = torch.zeros_like(steps, dtype=torch.float64)
    for i, (plane, step) in enumerate(zip(values * inside, steps, strict=True)):
        reach = _Reach.of(k, step, grid.shape[0])
        cells = whole[reach.index()]
        for axis in range(3):
            chosen = [reach.slopes if a == axis else reach.weights for a in range(3)]
            x, y, z = (w[a].to(grid) for a, w in enumerate(chosen))
            slope = torch.einsum("...i,...j,...k,...kji->...", x, y, z, cells)
            out[i, :, axis] = torch.einsum("yx,yxj->j", (plane.conj() * slope).real.double(), k)
    return out

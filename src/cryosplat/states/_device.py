"""Slices of J maps and sums of images in PyTorch, on any device: what `_kernels` does on the CPU.

Grids are laid out as there; the numbers of a cell lie beside each other, so that the 64 cells about a
point are read, or added to, as rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from ..gridding import LOW, POLYNOMIALS, TAPS
from ._kernels import MARGIN

AT_ONCE = 4_000_000  # points of images whose cells are read together


def products(
    spectra: Tensor, steps: Tensor, points: Tensor, counts: Tensor, values: Tensor,
    precisions: Tensor, pairs: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """<y, S_j> (n, J), and <S_j, S_j> (n, J), or with ``pairs`` <S_j, S_l> (n, J, J).

    ``spectra`` (J, 2s, 2s, s + 1): half transforms of padded maps; the rest as `_kernels.compare`.
    """
    cells = _opened(spectra)
    linear, power = [], []
    for rows in torch.arange(len(steps), device=steps.device).split(max(1, AT_ONCE // len(points))):
        near = _Near(steps[rows], points, spectra.shape[-1] - 1)
        found = spectra.real.new_zeros(len(rows), len(points), cells.shape[1])
        for at, weight in near.cells():
            found.addcmul_(cells[at], weight[..., None])
        re, im = found.chunk(2, 2)
        y = near.upright(counts * values[rows])
        linear.append(
            torch.einsum("np,npj->nj", y.real, re) + torch.einsum("np,npj->nj", y.imag, im)
        )
        weights = counts * precisions[rows]
        if pairs:
            power.append(sum(torch.einsum("np,npj,npl->njl", weights, s, s) for s in (re, im)))
        else:
            power.append(torch.einsum("np,npj->nj", weights, re.square() + im.square()))
    return torch.cat(linear), torch.cat(power)


def sums(
    box: int, steps: Tensor, points: Tensor, counts: Tensor, values: Tensor, precisions: Tensor,
    first: Tensor, second: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Half grids (J, 2s, 2s, s + 1) of images that count ``first`` (n, J), complex, and of their
    precisions that count ``second`` (n, J); the rest as `_kernels.collect`."""
    period, j = 2 * box, first.shape[1]
    sides = _sides(box)
    spread = values.real.new_zeros(sides[0] * sides[1] * sides[2], 3 * j)
    for rows in torch.arange(len(steps), device=steps.device).split(max(1, AT_ONCE // len(points))):
        near = _Near(steps[rows], points, box)
        y = near.upright(0.5 * counts * values[rows])[..., None]
        one, two = first[rows, None], second[rows, None]
        precision = (0.5 * counts * precisions[rows])[..., None]
        mine = torch.cat([one * y.real, one * y.imag, two * precision], 2).reshape(-1, 3 * j)
        for at, weight in near.cells():
            spread.index_add_(0, at.reshape(-1), weight.reshape(-1, 1) * mine)
    z, y, x = _places(box, spread.device)
    home = ((z % period * period + y % period) * period + x % period).reshape(-1)
    whole = spread.new_zeros(period**3, 3 * j).index_add_(0, home, spread)
    whole = whole.reshape(period, period, period, 3, j).permute(3, 4, 0, 1, 2)
    # each point's mate is at the opposite one
    mates = whole.flip(2, 3, 4).roll((1, 1, 1), (2, 3, 4))
    signs = torch.tensor([1.0, -1.0, 1.0], device=whole.device)[:, None, None, None, None]
    re, im, k = (whole + signs * mates)[..., : box + 1]
    return torch.complex(re, im), k


class _Near:
    """The cells about ``points`` (p, 2) of images with ``steps`` (n, 2, 3), in the grids of a box."""

    def __init__(self, steps: Tensor, points: Tensor, box: int) -> None:
        at = torch.einsum("pc,ncx->xnp", points, steps)
        self._mirrored = at[0] < 0.0
        at = torch.where(self._mirrored, -at, at)
        low = at.floor()
        t = 2.0 * (at - low)[..., None] - 1.0
        table = torch.from_numpy(POLYNOMIALS).to(at)
        weights = table[0].expand(*t.shape[:-1], TAPS)
        for row in table[1:]:
            weights = weights * t + row
        self._weights, (_, rows, columns) = weights, _sides(box)
        self._strides = rows * columns, columns, 1
        x, y, z = low.long() - LOW + MARGIN
        self._first = ((z + box) * rows + y + box) * columns + x

    def cells(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each of the 64: where it lies (n, p), and its weight."""
        x, y, z = self._weights
        over_z, over_y, over_x = self._strides
        for jz, jy in product(range(TAPS), repeat=2):
            height = z[..., jz] * y[..., jy]
            for jx in range(TAPS):
                at = self._first + (jz * over_z + jy * over_y + jx * over_x)
                yield at, height * x[..., jx]

    def upright(self, values: Tensor) -> Tensor:
        """Values (n, p) of the points that were taken: of a mate, the conjugate."""
        return torch.where(self._mirrored, values.conj(), values)


def _sides(box: int) -> tuple[int, int, int]:
    return 2 * (box + MARGIN), 2 * (box + MARGIN), box + 2 * MARGIN


def _places(box: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Frequencies z, y, x of all cells of a grid, to be broadcast."""
    planes, rows, columns = (torch.arange(n, device=device) for n in _sides(box))
    reach = box + MARGIN
    return (planes - reach)[:, None, None], (rows - reach)[:, None], columns - MARGIN


def _opened(spectra: Tensor) -> Tensor:
    """The cells of half grids ``spectra`` (J, 2s, 2s, s + 1), rows of J real and J imaginary parts."""
    period, box = spectra.shape[1], spectra.shape[-1] - 1
    z, y, x = _places(box, spectra.device)
    mate = (x < 0) | (x > box)
    sign = torch.where(mate, -1, 1)
    # beyond half the period, a cell is the mate of the one as far from the other end
    x = torch.where(x > box, period - x, x.abs())
    found = spectra[:, (sign * z) % period, (sign * y) % period, x]
    found = torch.where(mate, found.conj(), found).reshape(len(spectra), -1)
    return torch.cat([found.real, found.imag]).T.contiguous()

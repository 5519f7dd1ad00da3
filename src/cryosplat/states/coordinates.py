"""Coordinates of motion: their nodes, and the functions of them that Gaussians move by."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

NODES = {1: 8, 2: 5, 3: 4}
"""How many along each coordinate, by the number of coordinates."""
FINER = {1: 5, 2: 3, 3: 2}
"""Times as near to each other, where particles are placed along them."""


def nodes_of(n: int, finer: bool = False) -> Tensor:
    """All nodes of ``n`` coordinates from -1 to 1, (J, n); the ``finer`` ones lie between, too."""
    line = torch.linspace(-1.0, 1.0, _along(n, finer))
    return torch.tensor(list(product(line.tolist(), repeat=n)))


def _along(n: int, finer: bool) -> int:
    return FINER[n] * (NODES[n] - 1) + 1 if finer else NODES[n]


def shares_at(shares: Tensor, n: int) -> Tensor:
    """The ``shares`` (J,) of the nodes of ``n`` coordinates, at the finer ones, by straight lines."""
    grid = shares.reshape(1, 1, *(NODES[n],) * n).double()
    modes = {1: "linear", 2: "bilinear", 3: "trilinear"}
    size = (_along(n, True),) * n
    found = functional.interpolate(grid, size=size, mode=modes[n], align_corners=True).flatten()
    return found / found.sum()


def functions_at(z: Tensor) -> Tensor:
    """Legendre polynomials of coordinates ``z`` (m, n) up to degree 2, linear ones first, (m, P)."""
    n = z.shape[1]
    columns = [z[:, i] for i in range(n)]
    for i, j in combinations_with_replacement(range(n), 2):
        columns.append(1.5 * z[:, i] ** 2 - 0.5 if i == j else z[:, i] * z[:, j])
    return torch.stack(columns, 1)


def turned_to(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Coordinates ``second`` (n, c) as ``first`` has them, and how well both agree, 0 to 1.

    One coordinate may be reversed, several are turned and mirrored too (orthogonal Procrustes); the
    agreement is the mean correlation of ranks, of the coordinates then.
    """
    a, b = first - first.mean(0), second - second.mean(0)
    u, _, v = np.linalg.svd(b.T @ a)
    turned = b @ (u @ v) + first.mean(0)
    ranks = [np.argsort(np.argsort(x, axis=0), axis=0).astype(float) for x in (first, turned)]
    each = [np.corrcoef(ranks[0][:, i], ranks[1][:, i])[0, 1] for i in range(first.shape[1])]
    return turned, float(np.nan_to_num(np.mean(each)))

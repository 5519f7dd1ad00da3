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
BEYOND = {1: 4, 2: 2, 3: 1}
"""Steps of the finer nodes past the last of the others: the particles of an end node lie on both sides
of it, as those of all nodes do."""


def nodes_of(n: int) -> Tensor:
    """All nodes of ``n`` coordinates, (J, n), between -1 and 1."""
    steps = FINER[n] * (NODES[n] - 1)
    end = steps / (steps + 2 * BEYOND[n])
    return _grid(torch.linspace(-end, end, NODES[n]), n)


def finer_nodes(n: int) -> Tensor:
    """Nodes between those, and past their ends from -1 to 1, (m, n)."""
    return _grid(torch.linspace(-1.0, 1.0, _finer_line(n)), n)


def _finer_line(n: int) -> int:
    return FINER[n] * (NODES[n] - 1) + 2 * BEYOND[n] + 1


def _grid(line: Tensor, n: int) -> Tensor:
    return torch.tensor(list(product(line.tolist(), repeat=n)))


def shares_at(shares: Tensor, n: int) -> Tensor:
    """The ``shares`` (J,) of the nodes of ``n`` coordinates, at the finer ones, by straight lines;
    those past the ends as at the ends."""
    grid = shares.reshape(1, 1, *(NODES[n],) * n).double()
    modes = {1: "linear", 2: "bilinear", 3: "trilinear"}
    size = (_finer_line(n) - 2 * BEYOND[n],) * n
    found = functional.interpolate(grid, size=size, mode=modes[n], align_corners=True)
    found = functional.pad(found, (BEYOND[n],) * 2 * n, mode="replicate").flatten()
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
) -> NDArray[np.float64]:  # fmt: skip
    """Coordinates ``second`` (n, c) as ``first`` has them: one may be reversed, several are turned and
    mirrored too (orthogonal Procrustes)."""
    a, b = first - first.mean(0), second - second.mean(0)
    u, _, v = np.linalg.svd(b.T @ a)
    return b @ (u @ v) + first.mean(0)


def agreement_of(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How well coordinates (n, c) agree, 0 to 1, whichever way those of either are turned.

    The least canonical correlation of their ranks (Hotelling 1936): where there are several, even the
    worst of them is found in both.
    """
    ranks = [np.argsort(np.argsort(x, axis=0), axis=0).astype(float) for x in (first, second)]
    a, b = (np.linalg.qr(own - own.mean(0))[0] for own in ranks)
    return float(np.linalg.svd(a.T @ b, compute_uv=False)[-1])

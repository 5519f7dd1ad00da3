"""Images of a mixture: its orthographic projections, Gaussian by Gaussian."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..grid import Grid
from ..mixture import GaussianMixture
from ..poses import Poses
from ._operator import splat_op


def project(mixture: GaussianMixture, poses: Poses, grid: Grid) -> Tensor:
    """Projections of a mixture along the image frame's z, (n, d, d), ``[y, x]``.

    A Gaussian goes to ``R mu`` and ``R Sigma R^T``, of which the image keeps x and y
    (CryoSplat, eqs. 7-9). A pixel holds the mass on it: ``sum(image) == sum(amplitudes)`` of
    the whole map for Gaussians inside the box and wider than about 0.4 pixels. The rotation centre
    is pixel ``d // 2``; shifts are not applied, `formation` moves images by a phase. Differentiable
    by all parameters of the mixture and by ``poses.rotations``; in the dtype of the mixture.
    """
    return splat_op(*view(mixture, poses, grid), grid.box_size)


def view(mixture: GaussianMixture, poses: Poses, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (n, k, 2), precisions (n, k, 3) and weights (n, k) of `project`, in pixels.

    Two matrix products do the turning: a covariance has six entries, and their map to the image's
    three is linear. k counts the Gaussians of the whole map.
    """
    mixture = mixture.whole()
    turn = poses.rotations[:, :2].to(mixture.means) / grid.pixel_size
    n, k = turn.shape[0], len(mixture)
    centres = (turn.reshape(2 * n, 3) @ mixture.means.T).reshape(n, 2, k).transpose(1, 2)
    covariances = mixture.covariances()
    six = torch.stack([covariances[:, i, j] for i in range(3) for j in range(i, 3)])
    xx, xy, yy = (_turning(turn) @ six).reshape(n, 3, k).unbind(1)
    inverse = 1.0 / (xx * yy - xy * xy)
    precisions = torch.stack([yy * inverse, -xy * inverse, xx * inverse], -1)
    weights = (mixture.amplitudes / (2.0 * math.pi)) * inverse.sqrt()
    return centres + grid.centre, precisions, weights


def _turning(turn: Tensor) -> Tensor:
    """The map (3 n, 6) from a covariance's entries (xx, xy, xz, yy, yz, zz) to (xx, xy, yy)."""
    rows = []
    for a, b in ((0, 0), (0, 1), (1, 1)):
        u, v = turn[:, a], turn[:, b]
        crossed = [u[:, i] * v[:, j] + u[:, j] * v[:, i] for i, j in ((0, 1), (0, 2), (1, 2))]
        xx, yy, zz = (u * v).unbind(-1)
        rows.append(torch.stack([xx, crossed[0], crossed[1], yy, crossed[2], zz], -1))
    return torch.stack(rows, 1).reshape(-1, 6)

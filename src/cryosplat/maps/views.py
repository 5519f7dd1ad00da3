"""Viewing directions of the particles, and how evenly they sample Fourier space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from ..errors import SettingsError
from ..poses import Poses

CELLS = 768
DIRECTIONS = 1024
"""Directions on the half sphere at which slices are counted."""
HALF_WIDTH, LARGEST_HALF_WIDTH = 0.02, 0.2
"""Half the thickness of a slice over its Fourier radius: one voxel at shell 25."""
VIEWS_PER_DIRECTION = 100
"""With fewer uniform views per direction slices are widened, as counting noise is no preference."""

HARDLY = 0.1
"""Share of the slices of uniform views below which a direction is hardly sampled."""


@dataclass(frozen=True, slots=True)
class Views:
    """Particles per viewing direction, the third row of a rotation, in the map's frame.

    The sphere is divided into m cells of exactly equal area. ``axes`` (m, 3): their centres (x, y, z);
    ``bounds`` (m, 4): lowest and highest z, lowest and highest azimuth in radian, in [0, 2 pi);
    ``counts`` (m,) int64.
    """

    axes: Tensor
    bounds: Tensor
    counts: Tensor

    def summary(self) -> dict[str, Any]:
        """Plain values: axes, bounds (z and azimuth) and counts of all cells."""
        return {
            "axes": [[round(v, 4) for v in axis] for axis in self.axes.tolist()],
            "bounds": [[round(v, 4) for v in row] for row in self.bounds.tolist()],
            "counts": self.counts.tolist(),
        }


def view_distribution(poses: Poses, n_cells: int = CELLS) -> Views:
    """Count the views of ``poses`` in ``n_cells`` cells of the sphere.

    Cells are zones of latitude divided into equal parts, and one cell at each pole (Leopardi 2006,
    Electron. Trans. Numer. Anal. 25). Raises `SettingsError` for fewer than 6 cells.
    """
    if n_cells < 6:
        raise SettingsError(f"view_distribution: {n_cells} cells, expected at least 6.")
    per_zone = _cells_per_zone(n_cells)
    first = np.concatenate([[0], np.cumsum(per_zone)])
    x, y, z = poses.rotations[:, 2].detach().double().numpy().T
    depth = np.clip(0.5 * (1.0 - z), 0.0, 1.0) * n_cells
    zone = np.clip(np.searchsorted(first, depth, side="right") - 1, 0, len(per_zone) - 1)
    turn = np.arctan2(y, x) / (2.0 * math.pi) % 1.0
    column = np.minimum((turn * per_zone[zone]).astype(np.int64), per_zone[zone] - 1)
    counts = np.bincount(first[zone] + column, minlength=n_cells)
    bounds = _bounds(per_zone)
    return Views(_centres(bounds), torch.from_numpy(bounds), torch.from_numpy(counts))


def _cells_per_zone(n: int) -> NDArray[np.int64]:
    """Cells of each zone from the north to the south pole; the caps have one each."""
    cap = math.acos(1.0 - 2.0 / n)
    n_collars = max(1, round((math.pi - 2.0 * cap) / math.sqrt(4.0 * math.pi / n)))
    edges = cap + (math.pi - 2.0 * cap) * np.arange(n_collars + 1) / n_collars
    ideal = 0.5 * n * (1.0 - np.cos(edges))  # cells above each edge
    return np.diff(np.rint(np.concatenate([[0.0], ideal, [float(n)]]))).astype(np.int64)


def _bounds(per_zone: NDArray[np.int64]) -> NDArray[np.float64]:
    above = np.concatenate([[0], np.cumsum(per_zone)])
    z = 1.0 - 2.0 * above / above[-1]
    rows = []
    for zone, count in enumerate(per_zone):
        turn = 2.0 * math.pi * np.arange(count + 1) / count
        low, high = np.full(count, z[zone + 1]), np.full(count, z[zone])
        rows.append(np.stack([low, high, turn[:-1], turn[1:]], -1))
    return np.concatenate(rows)


def _centres(bounds: NDArray[np.float64]) -> Tensor:
    z = bounds[:, :2].mean(1)
    z[[0, -1]] = 1.0, -1.0
    radius, turn = np.sqrt(1.0 - z**2), bounds[:, 2:].mean(1)
    return torch.from_numpy(np.stack([radius * np.cos(turn), radius * np.sin(turn), z], -1))


def half_sphere(n: int) -> Tensor:
    """``n`` directions spread evenly over the half sphere z > 0 (Fibonacci spiral), (n, 3)."""
    index = torch.arange(n, dtype=torch.float64)
    z = 1.0 - (index + 0.5) / n
    angle = index * (math.pi * (3.0 - math.sqrt(5.0)))
    radius = (1.0 - z.square()).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], -1)


def sampling_score(rotations: Tensor) -> float:
    """How evenly the views of ``rotations`` (n, 3, 3) sample Fourier space, in [0, 1].

    A view samples the central slice perpendicular to its direction, the third row of its rotation.
    For each of 1,024 directions in Fourier space the slices through it are counted, those with
    ``|view . direction|`` below half a slice's thickness over its radius. With ``f`` the share of
    directions with any slice, and ``s`` the counts of these over their mean,

        score = f / mean(1 / s),

    the harmonic mean of the sampling where there is any, times the share that is sampled. Uniform
    views give 1, side views about one axis 8 / pi^2 = 0.81, views along one axis nearly 0. Without
    empty directions this is the SCF of Baldwin & Lyumkis 2020 (Prog. Biophys. Mol. Biol. 150); their
    SCF* penalises empty directions too, by another formula.
    """
    if len(rotations) == 0:
        return 0.0
    counts = _slice_counts(rotations)[0]
    sampled = counts[counts > 0]
    if not len(sampled):
        return 0.0
    share = len(sampled) / len(counts)
    return float(share / np.mean(sampled.mean() / sampled))


def unseen_share(rotations: Tensor) -> float:
    """Share of the directions in Fourier space that hardly a view of ``rotations`` (n, 3, 3) samples.

    Those with less than a tenth of the slices that uniform views would give them, less the share of
    which that is true by chance: such counts are Poisson's. 0 for uniform views, the cap of half-angle
    ``90 - t`` degrees for views within t degrees of an axis.
    """
    if len(rotations) == 0:
        return 1.0
    counts, width = _slice_counts(rotations)
    expected = len(rotations) * width  # |view . direction| is uniform in [0, 1]
    few = HARDLY * expected
    chance = float(special.pdtr(math.ceil(few) - 1, expected)) if few > 0.0 else 0.0
    return max(float(np.mean(counts < few)) - chance, 0.0) / (1.0 - chance)


def _slice_counts(rotations: Tensor) -> tuple[NDArray[np.int64], float]:
    """Slices through each of the `DIRECTIONS`, and half their thickness over the radius."""
    views = rotations[:, 2].detach().double().contiguous().numpy()
    width = min(max(HALF_WIDTH, VIEWS_PER_DIRECTION / len(views)), LARGEST_HALF_WIDTH)
    return _slices_through(views, half_sphere(DIRECTIONS).numpy(), width), width


@njit(parallel=True, fastmath=True, cache=True)
def _slices_through(
    views: NDArray[np.float64], directions: NDArray[np.float64], width: float
) -> NDArray[np.int64]:
    counts = np.zeros(len(directions), np.int64)
    for j in prange(len(directions)):
        x, y, z = directions[j]
        total = 0
        for i in range(len(views)):
            total += abs(views[i, 0] * x + views[i, 1] * y + views[i, 2] * z) < width
        counts[j] = total
    return counts

"""Voxel maps of states: every particle counts in each as far as it shows it, half-sets apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..grid import Grid
from ..gridding import sums_bytes
from ..maps.fsc import masked_fsc, resolution
from ..maps.mask import soft_mask
from ..memory import free_memory
from ..noise import NoiseModel
from ..particles import Particles, downsampled
from ..poses import Poses
from ..progress import STATE_MAPS, Progress
from ..reconstruction.preparing import measured_noise
from ..statistics import Assignments, Statistics, accumulate
from ..validation.baseline import voxel_maps

LEAST_WEIGHT = 0.02  # below which a particle is not counted
SHARE = 0.4  # of the memory that is free, for sums
LEAST_BYTES = 1.0e9


@dataclass(frozen=True, slots=True)
class StateMap:
    """Voxel maps of one state: of all particles and of the half-sets, (d, d, d) each; ``fsc`` of the
    halves under a mask, corrected for it, and the ``resolution`` in Angstrom at 0.143."""

    full: Tensor
    half1: Tensor
    half2: Tensor
    fsc: Tensor
    resolution: float
    particles: float


def whole_images(particles: Particles, progress: Progress) -> tuple[Particles, NoiseModel]:
    """Particles as maps are made of them, and their noise: downsampled where memory asks for it."""
    box = particles.box_size
    while box > 32 and 2.0 * _bytes_of(box) > _free_bytes():
        box = max(32, 2 * int(0.4 * box))
    if box < particles.box_size:
        particles = downsampled(particles, box)
    return particles, measured_noise(particles, progress)


def voxel_states(
    particles: Particles, weights: NDArray[np.float64], sign: float, noise: NoiseModel,
    progress: Progress, title: str = STATE_MAPS,
) -> list[StateMap]:  # fmt: skip
    """Maps of J states; ``weights`` (n, J): how far each particle shows each, by its own half-set.

    ``sign``: -1 for dark protein. As many states at a time as memory has room for.
    """
    grid = Grid(particles.box_size, particles.pixel_size)
    found: list[StateMap] = []
    n, step = weights.shape[1], max(1, at_once(grid.box_size) // 2)
    with progress.stage(title, n, "states") as stage:
        for first in range(0, n, step):
            some = weights[:, first : first + step]
            for halves in _statistics(particles, some, grid, noise, sign):
                found.append(_map_of(halves, grid))
                stage.advance()
    return found


def at_once(box: int) -> int:
    """How many statistics in a box memory has room for."""
    return max(1, int(_free_bytes() / _bytes_of(box)))


def _bytes_of(box: int) -> float:
    """Memory for the sums and statistics of one half-set of one state."""
    return sums_bytes(2 * box) + 20.0 * box**3


def _free_bytes() -> float:
    return max(LEAST_BYTES, SHARE * free_memory())


def _statistics(
    particles: Particles, weights: NDArray[np.float64], grid: Grid, noise: NoiseModel, sign: float
) -> list[tuple[Statistics, Statistics]]:
    """Of both half-sets of every state, in one pass over the images."""
    rows, states = np.nonzero(weights > LEAST_WEIGHT)
    at = torch.from_numpy(rows)
    half = particles.half_sets[at].long() - 1
    poses = Poses(particles.poses.rotations[at], particles.poses.shifts[at])
    entries = Assignments(at, poses, torch.from_numpy(weights[rows, states]))
    sets = 2 * torch.from_numpy(states) + half
    n = weights.shape[1]
    found = accumulate(particles.batches(), sets, 2 * n, grid, noise, weights=entries)
    found = [own.inverted() if sign < 0.0 else own for own in found]
    return [(found[2 * j], found[2 * j + 1]) for j in range(n)]


def _map_of(halves: tuple[Statistics, Statistics], grid: Grid) -> StateMap:
    if min(half.n_images for half in halves) == 0:
        nothing = torch.zeros((grid.box_size,) * 3)
        fsc = torch.zeros(grid.box_size // 2 + 1, dtype=torch.float64)
        return StateMap(nothing, nothing, nothing, fsc, float("nan"), halves[0].weight)
    full, half1, half2 = voxel_maps(halves)
    n = halves[0].weight + halves[1].weight
    return map_of(full, half1, half2, soft_mask(full, grid), grid, n)


def map_of(
    full: Tensor, half1: Tensor, half2: Tensor, mask: Tensor, grid: Grid, particles: float
) -> StateMap:
    """Maps with the FSC of the half-sets in a mask."""
    fsc = masked_fsc(half1, half2, mask, torch.Generator().manual_seed(0)).corrected
    return StateMap(full, half1, half2, fsc, resolution(fsc, grid).angstrom, particles)


def binned(
    coordinate: NDArray[np.float64], half_sets: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    """Particles in ``n`` equal parts of each half-set along a coordinate, weights (m, n) of 0 and 1."""
    weights = np.zeros((len(coordinate), n))
    for half in np.unique(half_sets):
        rows = np.flatnonzero(half_sets == half)
        order = rows[np.argsort(coordinate[rows], kind="stable")]
        weights[order, np.arange(len(order)) * n // max(1, len(order))] = 1.0
    return weights

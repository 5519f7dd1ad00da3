"""States as the viewer shows them: Gaussians that follow a coordinate, and particles to be chosen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..mixture import GaussianMixture
from ..particles import Particles, read_particles, write_particles
from ..run_folder import RunFolder
from ..run_folder.stored_states import StoredStates

BINS = 40
MOST_SHOWN = 2000  # particles of a scatter
OUTSIDE = 9.0  # a coordinate beyond all plots


@dataclass(frozen=True, slots=True)
class ShownStates:
    """A run of classify or motion: its mixtures, and where each particle is.

    ``coordinates`` (n, c); for classes (n, 1), the class's number. ``way`` (k,): how much each Gaussian
    differs between states: the largest share of its amplitude, or of the longest way that any goes.
    """

    folder: RunFolder
    stored: StoredStates
    coordinates: NDArray[np.float64]
    way: NDArray[np.float64]

    @property
    def limits(self) -> tuple[float, float]:
        """What coordinates lie between."""
        return (1.0, float(self.stored.classes)) if self.stored.classes else (-1.0, 1.0)

    @property
    def axes(self) -> list[str]:
        """The names of the coordinates."""
        if self.stored.classes:
            return ["Class"]
        return [f"Coordinate {i + 1}" for i in range(self.stored.coordinates)]

    def middle(self) -> list[float]:
        """The state to begin with."""
        if self.stored.classes:
            return [1.0]
        return np.median(self.coordinates, axis=0).tolist()

    def at(self, at: Sequence[float]) -> GaussianMixture:
        """The mixture of a state."""
        return self.stored.at(at)

    def histogram(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middles of bins of the first coordinate, and how many particles are in each."""
        low, high = self.limits
        edges = np.linspace(low, high, BINS + 1)
        if self.stored.classes:
            edges = np.arange(low - 0.5, high + 1.0)
        counts, _ = np.histogram(self.coordinates[:, 0], edges)
        return 0.5 * (edges[1:] + edges[:-1]), counts.astype(float)

    def scatter(
        self, ranges: Sequence[tuple[float, ...]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The first coordinate of some particles, in order; the second of all of these; and of those
        between ``ranges``, the others being out of sight."""
        rows = np.arange(0, len(self.coordinates), -(-len(self.coordinates) // MOST_SHOWN))
        rows = rows[np.argsort(self.coordinates[rows, 0], kind="stable")]
        x, y = self.coordinates[rows, 0], self.coordinates[rows, 1]
        return x, y, np.where(np.isin(rows, self.chosen(ranges)), y, OUTSIDE)

    def chosen(self, ranges: Sequence[tuple[float, ...]]) -> NDArray[np.int64]:
        """Rows of the particles between the first and last of each of ``ranges``."""
        low, high = (np.array([own[i] for own in ranges]) for i in (0, -1))
        inside = (self.coordinates >= low - 1e-9) & (self.coordinates <= high + 1e-9)
        return np.flatnonzero(inside.all(1))

    def write_chosen(self, ranges: Sequence[tuple[float, ...]]) -> tuple[Path, int]:
        """Write the chosen particles to the next free ``chosen_NN.star`` of the run; how many."""
        rows = self.chosen(ranges)
        names = (self.folder.path / f"chosen_{i:02d}.star" for i in itertools.count(1))
        path = next(name for name in names if not name.exists())
        write_particles(read_particles(self.folder.particles)[rows], path)
        return path, len(rows)


def read_shown_states(folder: RunFolder) -> ShownStates | None:
    """The states of the run in ``folder``; None where it is of another command."""
    if not folder.mixtures.exists():
        return None
    stored, particles = StoredStates.open(folder), read_particles(folder.particles)
    coordinates = _coordinates(particles, stored)
    amplitudes, places = (stored.arrays[f"full_{n}"].astype(float) for n in ("amplitudes", "means"))
    largest = np.maximum(amplitudes.max(0), 1e-12)
    gone = np.linalg.norm(places - places.mean(0), axis=2).max(0)
    way = np.maximum(
        (amplitudes.max(0) - amplitudes.min(0)) / largest, gone / max(gone.max(), 1e-12)
    )
    return ShownStates(folder, stored, coordinates, way)


def _coordinates(particles: Particles, stored: StoredStates) -> NDArray[np.float64]:
    names = [f"cryosplatCoordinate{i + 1}" for i in range(stored.coordinates)]
    table = particles.table[names or ["rlnClassNumber"]]
    return table.to_numpy(float)

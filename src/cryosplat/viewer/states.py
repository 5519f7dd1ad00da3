"""States as the viewer shows them: Gaussians that follow a coordinate, and particles to be chosen."""

from __future__ import annotations

import filecmp
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..io.star import read_star, write_star
from ..mixture import GaussianMixture
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
    ``largest`` (k,): the largest amplitude of each in any state.
    """

    folder: RunFolder
    stored: StoredStates
    coordinates: NDArray[np.float64]
    way: NDArray[np.float64]
    largest: NDArray[np.float64]

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

    @property
    def ends(self) -> tuple[float, float]:
        """Where the first and the last bar end."""
        low, high = self.limits
        return (low - 0.5, high + 0.5) if self.stored.classes else (low, high)

    def histogram(
        self, rows: NDArray[np.int64] | slice = slice(None)
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middles of bins of the first coordinate, and how many of the particles are in each."""
        counts, edges = np.histogram(
            self.coordinates[rows, 0], self.stored.classes or BINS, self.ends
        )
        return 0.5 * (edges[1:] + edges[:-1]), counts.astype(float)

    def bars(self, rows: NDArray[np.int64], place: float) -> tuple[NDArray[np.float64], ...]:
        """Corners of bars: their first coordinates, and heights of all particles, of those in
        ``rows``, and of a mark around the bar that ``place`` is in, elsewhere out of sight."""
        middles, every = self.histogram()
        here = np.abs(middles - place).argmin() == np.arange(len(middles))
        side, top = 0.42 * (self.ends[1] - self.ends[0]) / len(middles), 1.05 * every.max()
        corners = np.array([0.0, 1.0, 1.0, 0.0])
        return (
            (middles[:, None] + side * np.array([-1.0, -1.0, 1.0, 1.0])).ravel(),
            (every[:, None] * corners).ravel(),
            (self.histogram(rows)[1][:, None] * corners).ravel(),
            np.where(here[:, None], top * corners, -top).ravel(),
        )

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
        """Rows of the particles between the first and last of each of ``ranges``, one for each
        coordinate; for classes, of any of them."""
        low, high = (np.array([own[i] for own in ranges]) for i in (0, -1))
        inside = (self.coordinates >= low - 1e-9) & (self.coordinates <= high + 1e-9)
        return np.flatnonzero(inside.any(1) if self.stored.classes else inside.all(1))

    def written(self) -> list[Path]:
        """Chosen particles that are written already."""
        return sorted(self.folder.path.glob("chosen_*.star"))

    def write_chosen(self, ranges: Sequence[tuple[float, ...]]) -> tuple[Path, int]:
        """Write the chosen particles to the next free ``chosen_NN.star`` of the run, or find them in
        an earlier one; how many. Their images need not be there."""
        rows, before = self.chosen(ranges), self.written()
        blocks = read_star(self.folder.particles)
        blocks["particles"] = blocks["particles"].iloc[rows]
        names = (self.folder.path / f"chosen_{i:02d}.star" for i in itertools.count(1))
        path = next(name for name in names if not name.exists())
        write_star(path, blocks)
        for earlier in before:
            if filecmp.cmp(earlier, path, shallow=False):
                path.unlink()
                return earlier, len(rows)
        return path, len(rows)


def read_shown_states(folder: RunFolder) -> ShownStates | None:
    """The states of the run in ``folder``; None where it is of another command."""
    if not folder.mixtures.exists():
        return None
    stored = StoredStates.open(folder)
    table = read_star(folder.particles)["particles"]
    names = [f"cryosplatCoordinate{i + 1}" for i in range(stored.coordinates)]
    coordinates = table[names or ["rlnClassNumber"]].to_numpy(float)
    amplitudes, places = (stored.arrays[f"full_{n}"].astype(float) for n in ("amplitudes", "means"))
    largest = np.maximum(amplitudes.max(0), 1e-12)
    gone = np.linalg.norm(places - places.mean(0), axis=2).max(0)
    way = np.maximum(
        (amplitudes.max(0) - amplitudes.min(0)) / largest, gone / max(gone.max(), 1e-12)
    )
    return ShownStates(folder, stored, coordinates, way, largest)

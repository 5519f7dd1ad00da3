"""One pass over particle images: everything a fit will ever need to know about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from .. import gridding
from ..batch import Batch
from ..errors import SettingsError
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import Optics, Weighed, seen_rotations, weigh
from ..poses import Poses
from ..symmetry import symmetry_name
from ._assignments import Assignments, Lookup, checked_weights
from ._equivalents import representatives
from ._identity import PRIME, Identity, entry_hashes, weighted_sum
from ._padded import finished
from ._values import Statistics
from ._weighted import WeightedImages, radii_of, transforms_of

PASS_BYTES = 2**26  # of images per pass over the Fourier grid


class Accumulator:
    """Collects weighted images of one set of particles; `result` gives their `Statistics`.

    Parameters
    ----------
    grid: box and pixel size of the map.
    noise: variance of the noise per optics group and shell.
    symmetry: of the map: every image counts with all s equivalent poses ``A S``, 1 / s each. The
        energy of a map that has the symmetry is unchanged, and b and K have it.
    """

    def __init__(self, grid: Grid, noise: NoiseModel, symmetry: str = "C1") -> None:
        self.grid = grid
        self.noise = noise
        self.symmetry = symmetry_name(symmetry)
        self._operators = representatives(symmetry)
        self._period = 2 * grid.box_size
        self._sums = gridding.Sums(self._period, torch.device("cpu"))
        self._pass = _Pass(0)
        self._energy = self._n_frequencies = self._weight = 0.0
        self._n_images = self._inputs = 0

    def add(self, batch: Batch, weights: Tensor | Assignments | None = None) -> None:
        """Add the images of a batch, normalised as the noise model says.

        ``weights``: one of each image of the batch (n,), by default 1; or the triples of which those
        count whose particle is in the batch, in the place of the batch's own poses.
        Raises `SettingsError` for weights that are negative or not finite.
        """
        _distribute(batch, _entries(batch, weights), [self])

    def add_sums(self, images: WeightedImages, rotations: Tensor) -> None:
        """Add one weighted image, or sum of images, at each of ``rotations`` (n, 3, 3).

        These are their own poses or, after `WeightedImages.summed`, one for each orientation.
        """
        n, box = len(images), images.box_size
        if tuple(rotations.shape) != (n, 3, 3) or not bool(rotations.isfinite().all()):
            raise SettingsError(
                f"Accumulator.add_sums: rotations have shape {tuple(rotations.shape)}, expected "
                f"({n}, 3, 3) and finite numbers: one for each of the images."
            )
        radius = min(images.radius, 0.5 * images.pixel_size * box / self.grid.pixel_size)
        parts = torch.view_as_real(images.values.to(torch.complex64))
        values = torch.cat([parts, images.precisions[..., None].float()], -1).numpy()
        steps = rotations[:, :2].double().numpy() * self._cells(images.pixel_size, box)
        self._spread(values, np.arange(n), np.ones(n), steps, np.full(n, radius))
        self._energy += float(images.energy.sum())
        self._n_frequencies += float(images.n_frequencies.sum())
        self._weight += float(images.weight.sum())
        self._n_images += images.n_images
        self._inputs = (self._inputs + images.hash_with(rotations)) % PRIME

    def result(self) -> Statistics:
        """The statistics of all images added so far; more can be added afterwards."""
        return self._statistics(self._assembled())

    def _cells(self, pixel_size: NDArray[np.float64] | float, box: int) -> NDArray[np.float64]:
        """Cells of the padded grid for each step of frequency of images of ``box``."""
        return np.asarray(self._period * self.grid.pixel_size / (pixel_size * box))

    def _add_entries(
        self, ready: Weighed, radii: Tensor, view: Tensor, weights: Tensor, poses: Poses,
        optics: Optics,
    ) -> None:  # fmt: skip
        """``weights[j]`` times the image ``view[j]`` at ``poses[j]``."""
        cells = self._cells(optics.of_group("pixel_size").numpy(), ready.values.shape[1])
        steps = seen_rotations(poses, optics).rotations[:, :2].double().numpy()
        self._spread(
            ready.values.numpy(), view.numpy(), weights.numpy(), steps * cells[:, None, None],
            radii[view].numpy(),
        )  # fmt: skip
        self._energy += float((weights * ready.energy[view]).sum())
        self._n_frequencies += float((weights * ready.n_frequencies[view]).sum())

    def _spread(
        self, values: NDArray[np.float32], view: NDArray[np.int64], weights: NDArray[np.float64],
        steps: NDArray[np.float64], radii: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """``weights[j] values[view[j]]`` along ``steps[j]``, for all j; once a pass is full."""
        if self._pass.box_size != values.shape[1]:
            self._flush()
            self._pass = _Pass(values.shape[1])
        start = 0
        while start < len(view):
            start += self._pass.take(values, view[start:], weights[start:], steps[start:],
                                     radii[start:])  # fmt: skip
            if self._pass.full:
                self._flush()

    def _flush(self) -> None:
        values, steps, radii = self._pass.empty()
        if not len(values):
            return
        for operator in self._operators:
            self._sums.add(*(torch.from_numpy(a) for a in (values, steps @ operator, radii)))

    def _assembled(self) -> list[NDArray]:
        """The padded Fourier grids of b and K."""
        self._flush()
        return [grid.numpy() for grid in self._sums.grids()]

    def _statistics(self, grids: list[NDArray]) -> Statistics:
        b, transfer = finished(grids, self.grid, self.symmetry, len(self._operators))
        return Statistics(
            self.grid, b, transfer, self._energy, self._n_images, self._n_frequencies,
            Identity(self.symmetry, self.noise.digest, self._weight, self._inputs),
        )  # fmt: skip

    def _last_result(self) -> Statistics:
        """The result without room for more: the memory of the sums is given up first."""
        grids = self._assembled()
        del self._sums, self._pass
        return self._statistics(grids)


class _Pass:
    """Images that wait until they are worth a pass over the Fourier grid, in memory that is kept."""

    def __init__(self, box_size: int) -> None:
        self.box_size = box_size
        room = _room(box_size) if box_size else 0
        self._values = np.empty((room, box_size, box_size // 2 + 1, 3), np.float32)
        self._steps, self._radii = np.empty((room, 2, 3)), np.empty(room)
        self._filled = 0

    @property
    def full(self) -> bool:
        return self._filled == len(self._radii)

    def take(
        self, values: NDArray[np.float32], view: NDArray[np.int64], weights: NDArray[np.float64],
        steps: NDArray[np.float64], radii: NDArray[np.float64],
    ) -> int:  # fmt: skip
        """Keep ``weights[j] values[view[j]]`` for the first j, as many as there is room for."""
        n = min(len(view), len(self._radii) - self._filled)
        free = slice(self._filled, self._filled + n)
        out = self._values[free].reshape(n, -1)
        _weigh_rows(values.reshape(len(values), -1), view[:n], weights[:n].astype(np.float32), out)
        self._steps[free], self._radii[free] = steps[:n], radii[:n]
        self._filled += n
        return n

    def empty(self) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """What is kept; its memory is used again."""
        kept = slice(0, self._filled)
        self._filled = 0
        return self._values[kept], self._steps[kept], self._radii[kept]


@njit(parallel=True, cache=True)
def _weigh_rows(values, view, weights, out):
    for j in prange(out.shape[0]):
        row, weight = view[j], weights[j]
        for k in range(out.shape[1]):
            out[j, k] = weight * values[row, k]


@dataclass(frozen=True, slots=True)
class _Entries:
    """m entries of the images of a batch: position ``image`` in it, pose, weight, and set."""

    image: Tensor
    poses: Poses
    weights: Tensor
    sets: Tensor

    def select(self, index: Tensor) -> _Entries:
        return _Entries(
            self.image[index], self.poses.select(index), self.weights[index], self.sets[index]
        )


def accumulate(
    batches: Iterable[Batch],
    sets: Tensor,
    n_sets: int,
    grid: Grid,
    noise: NoiseModel,
    on_images: Callable[[int], None] = lambda n: None,
    symmetry: str = "C1",
    weights: Tensor | Assignments | None = None,
) -> list[Statistics]:
    """The statistics of every set of particles, in one pass over their images.

    Parameters
    ----------
    sets: (n,) the set 0 .. n_sets - 1 of each particle by its position ``batch.index``; particles
        with other numbers enter none.
    on_images: told how many images were read with each batch.
    symmetry: as `Accumulator`.
    weights: (n,) of each particle by its position, by default 1; an image of weight 2 counts as the
        same image twice, one of weight 0 not at all. Or `Assignments`, in the place of the batches'
        poses: an image enters once for each of its triples, and ``sets`` (m,) is the set of each
        triple, so that one image can enter several sets.

    Raises
    ------
    SettingsError
        Weights are negative or not finite, or shapes do not agree.
    """
    plan = _Plan(sets, weights)
    accumulators = [Accumulator(grid, noise, symmetry) for _ in range(n_sets)]
    for batch in batches:
        _distribute(batch, plan.of(batch), accumulators)
        on_images(len(batch))
    return [accumulators.pop(0)._last_result() for _ in range(n_sets)]


class _Plan:
    """Where images go: for each batch its entries."""

    def __init__(self, sets: Tensor, weights: Tensor | Assignments | None) -> None:
        expected = len(weights) if isinstance(weights, Assignments) else len(sets)
        if tuple(sets.shape) != (expected,) or sets.is_floating_point():
            raise SettingsError(
                f"accumulate: sets have shape {tuple(sets.shape)} and dtype {sets.dtype}, expected "
                f"({expected},) integers: the set of each particle, or of each of the assignments."
            )
        self._sets = sets
        if isinstance(weights, Assignments):
            self._assignments, self._lookup = weights, Lookup(weights.particle)
            return
        self._assignments = None
        self._weights = None if weights is None else checked_weights(weights, len(sets))

    def of(self, batch: Batch) -> _Entries:
        if self._assignments is not None:
            image, triple = self._lookup.of(batch.index)
            found = self._assignments.select(triple)
            return _Entries(image, found.poses, found.weights, self._sets[triple])
        if len(batch) and int(batch.index.max()) >= len(self._sets):
            raise SettingsError(
                f"accumulate: particle {int(batch.index.max())} was read, but there are sets for "
                f"{len(self._sets)} only. Remedy: give the set of every particle."
            )
        weights = None if self._weights is None else self._weights[batch.index]
        return replace(_entries(batch, weights), sets=self._sets[batch.index])


def _entries(batch: Batch, weights: Tensor | Assignments | None) -> _Entries:
    """Entries of one set, number 0."""
    if isinstance(weights, Assignments):
        image, triple = Lookup(weights.particle).of(batch.index)
        found = weights.select(triple)
        return _Entries(image, found.poses, found.weights, torch.zeros_like(image))
    n = len(batch)
    each = torch.ones(n, dtype=torch.float64) if weights is None else checked_weights(weights, n)
    return _Entries(torch.arange(n), batch.poses, each, torch.zeros(n, dtype=torch.int64))


def _distribute(batch: Batch, entries: _Entries, accumulators: Sequence[Accumulator]) -> None:
    """Add a batch's entries to the accumulators of their sets, all on one grid, with one noise.

    An image is transformed once, and weighed once for each of its shifts.
    """
    counts = (entries.weights > 0.0) & (entries.sets >= 0) & (entries.sets < len(accumulators))
    entries = entries.select(counts.nonzero().squeeze(1))
    if not len(entries.image):
        return
    used, image = entries.image.unique(return_inverse=True)
    batch = batch if len(used) == len(batch) else batch.select(used)
    hashes = entry_hashes(batch, image, entries.poses)
    members = [entries.sets == number for number in range(len(accumulators))]
    for accumulator, mine in zip(accumulators, members, strict=True):
        rows = mine.nonzero().squeeze(1)
        accumulator._weight += float(entries.weights[rows].sum())
        accumulator._n_images += len(image[rows].unique())
        accumulator._inputs += weighted_sum(
            [hashes[i] for i in rows.tolist()], entries.weights[rows].tolist()
        )
        accumulator._inputs %= PRIME
    noise, grid = accumulators[0].noise, accumulators[0].grid
    transforms = transforms_of(batch, noise)
    precision = noise.precision(batch.box_size)
    columns = torch.cat([image[:, None].double(), entries.poses.shifts.double()], 1)
    views, view = columns.unique(dim=0, return_inverse=True)
    of_view = views[:, 0].long()
    for chunk in torch.arange(len(views)).split(_room(batch.box_size)):
        first, end = int(chunk[0]), int(chunk[-1]) + 1
        rows = of_view[chunk]
        taken = transforms if len(rows) == len(transforms) else transforms[rows]
        optics = batch.optics.select(rows)
        radii = radii_of(optics, batch.box_size, grid)
        ready = weigh(taken, views[chunk, 1:], optics, precision, radii)
        here = (view >= first) & (view < end)
        for accumulator, mine in zip(accumulators, members, strict=True):
            index = (mine & here).nonzero().squeeze(1)
            if len(index):
                accumulator._add_entries(
                    ready, radii, view[index] - first, entries.weights[index],
                    entries.poses.select(index), batch.optics.select(image[index]),
                )  # fmt: skip


def _room(box_size: int) -> int:
    """How many images make a pass."""
    return max(1, PASS_BYTES // (4 * box_size**2))

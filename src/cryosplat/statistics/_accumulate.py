"""One pass over particle images: everything a fit will ever need to know about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from .. import gridding
from ..batch import Batch
from ..errors import SettingsError
from ..grid import Grid
from ..noise import NoiseModel
from ..optics import Optics, Weighed, seen_rotations, weigh
from ..poses import Poses
from ..symmetry import symmetry_name
from ._assignments import Assignments
from ._entries import Entries, Plan, entries_of
from ._equivalents import representatives
from ._identity import PRIME, Identity, entry_hashes, weighted_sum
from ._padded import finished
from ._pass import Pass, room_for
from ._values import Statistics
from ._weighted import WeightedImages, radii_of, transforms_of


class Accumulator:
    """Collects weighted images of one set of particles; `result` gives their `Statistics`.

    Parameters
    ----------
    grid: box and pixel size of the map.
    noise: variance of the noise per optics group and shell.
    symmetry: of the map: every image counts with all s equivalent poses ``A S``, 1 / s each. The
        energy of a map that has the symmetry is unchanged, and b and K have it.
    device: where images are weighed and summed, and where the statistics will be.
    identified: whether sums of images that are added tell in the statistics' identity which they were:
        a hash of all their numbers.
    """

    def __init__(
        self, grid: Grid, noise: NoiseModel, symmetry: str = "C1",
        device: torch.device | str = "cpu", identified: bool = True,
    ) -> None:  # fmt: skip
        self.grid = grid
        self.device = torch.device(device)
        self.noise = noise.to(self.device)
        self.symmetry = symmetry_name(symmetry)
        self._operators = torch.from_numpy(representatives(symmetry)).to(self.device)
        self._period = 2 * grid.box_size
        self._sums = gridding.Sums(self._period, self.device)
        self._pass = Pass(0, self.device)
        self._energy = self._n_frequencies = self._weight = 0.0
        self._n_images = self._inputs = 0
        self._identified = identified

    def add(self, batch: Batch, weights: Tensor | Assignments | None = None) -> None:
        """Add the images of a batch, normalised as the noise model says.

        ``weights``: one of each image of the batch (n,), by default 1; or the triples of which those
        count whose particle is in the batch, in the place of the batch's own poses.
        Raises `SettingsError` for weights that are negative or not finite.
        """
        _distribute(batch, entries_of(batch, weights), [self])

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
        parts = torch.view_as_real(images.values.to(self.device, torch.complex64))
        precisions = images.precisions.to(self.device, torch.float32)
        values = torch.cat([parts, precisions[..., None]], -1)
        steps = rotations[:, :2].double() * self._cells(images.pixel_size, box)
        one = torch.ones(n, dtype=torch.float64)
        self._spread(values, torch.arange(n), one, steps, radius * one)
        self._energy += float(images.energy.sum())
        self._n_frequencies += float(images.n_frequencies.sum())
        self._weight += float(images.weight.sum())
        self._n_images += images.n_images
        if self._identified:
            self._inputs = (self._inputs + images.hash_with(rotations)) % PRIME

    def result(self) -> Statistics:
        """The statistics of all images added so far; more can be added afterwards."""
        self._flush()
        return self._statistics(list(self._sums.grids()))

    def _last_result(self) -> Statistics:
        """The result without room for more: the memory of the sums is given up first."""
        self._flush()
        grids = list(self._sums.grids())
        del self._sums, self._pass
        return self._statistics(grids)

    def _cells(self, pixel_size: Tensor | float, box: int) -> Tensor:
        """Cells of the padded grid for each step of frequency of images of ``box``."""
        return self._period * self.grid.pixel_size / torch.as_tensor(pixel_size * box)

    def _count(self, entries: Entries, hashes: list[int]) -> None:
        """Count entries of this set, of one batch."""
        self._weight += float(entries.weights.sum())
        self._n_images += len(entries.image.unique())
        added = weighted_sum(hashes, entries.weights.tolist())
        self._inputs = (self._inputs + added) % PRIME

    def _add(
        self, ready: Weighed, radii: Tensor, view: Tensor, weights: Tensor, poses: Poses,
        optics: Optics,
    ) -> None:  # fmt: skip
        """``weights[j]`` times the image ``view[j]`` at ``poses[j]``."""
        cells = self._cells(optics.of_group("pixel_size"), ready.values.shape[1])
        steps = seen_rotations(poses, optics).rotations[:, :2].double()
        self._spread(ready.values, view, weights, steps * cells[:, None, None], radii[view])
        self._energy += float((weights * ready.energy.cpu()[view]).sum())
        self._n_frequencies += float((weights * ready.n_frequencies.cpu()[view]).sum())

    def _spread(
        self, values: Tensor, view: Tensor, weights: Tensor, steps: Tensor, radii: Tensor
    ) -> None:
        """``weights[j] values[view[j]]`` along ``steps[j]``, for all j; once a pass is full."""
        if self._pass.box_size != values.shape[1]:
            self._flush()
            self._pass = Pass(values.shape[1], self.device)
        start = 0
        while start < len(view):
            rest = slice(start, None)
            start += self._pass.take(values, view[rest], weights[rest], steps[rest], radii[rest])
            if self._pass.full:
                self._flush()

    def _flush(self) -> None:
        values, steps, radii = self._pass.empty()
        if len(values):
            for operator in self._operators:
                self._sums.add(values, steps @ operator, radii)

    def _statistics(self, grids: list[Tensor]) -> Statistics:
        b, transfer = finished(grids, self.grid, self.symmetry, len(self._operators))
        return Statistics(
            self.grid, b, transfer, self._energy, self._n_images, self._n_frequencies,
            Identity(self.symmetry, self.noise.digest, self._weight, self._inputs),
        )  # fmt: skip


def accumulate(
    batches: Iterable[Batch],
    sets: Tensor,
    n_sets: int,
    grid: Grid,
    noise: NoiseModel,
    on_images: Callable[[int], None] = lambda n: None,
    symmetry: str = "C1",
    weights: Tensor | Assignments | None = None,
    device: torch.device | str = "cpu",
) -> list[Statistics]:
    """The statistics of every set of particles, in one pass over their images.

    Parameters
    ----------
    sets: (n,) the set 0 .. n_sets - 1 of each particle by its position ``batch.index``; particles
        with other numbers enter none.
    on_images: told how many images were read with each batch.
    symmetry, device: as `Accumulator`.
    weights: (n,) of each particle by its position, by default 1; an image of weight 2 counts as the
        same image twice, one of weight 0 not at all. Or `Assignments`, in the place of the batches'
        poses: an image enters once for each of its triples, and ``sets`` (m,) is the set of each
        triple, so that one image can enter several sets.

    Raises
    ------
    SettingsError
        Weights are negative or not finite, or shapes do not agree.
    """
    plan = Plan(sets, weights)
    accumulators = [Accumulator(grid, noise, symmetry, device) for _ in range(n_sets)]
    for batch in batches:
        _distribute(batch, plan.of(batch), accumulators)
        on_images(len(batch))
    return [accumulators.pop(0)._last_result() for _ in range(n_sets)]


def _distribute(batch: Batch, entries: Entries, accumulators: Sequence[Accumulator]) -> None:
    """Add a batch's entries to the accumulators of their sets, all on one grid, with one noise.

    An image is transformed once, and weighed once for each of its shifts.
    """
    entries = entries.counting(len(accumulators))
    if not len(entries):
        return
    used, image = entries.image.unique(return_inverse=True)
    batch = batch if len(used) == len(batch) else batch.select(used)
    hashes = entry_hashes(batch, image, entries.poses)
    members = [(entries.sets == s).nonzero().squeeze(1) for s in range(len(accumulators))]
    for accumulator, rows in zip(accumulators, members, strict=True):
        accumulator._count(entries.select(rows), [hashes[row] for row in rows.tolist()])
    noise, grid, device = accumulators[0].noise, accumulators[0].grid, accumulators[0].device
    transforms = transforms_of(batch.to(device), noise)
    precision = noise.precision(batch.box_size)
    shifted = torch.cat([image[:, None].double(), entries.poses.shifts.double()], 1)
    views, view = shifted.unique(dim=0, return_inverse=True)
    for chunk in torch.arange(len(views)).split(room_for(batch.box_size)):
        first, rows = int(chunk[0]), views[chunk, 0].long()
        taken = transforms if len(rows) == len(transforms) else transforms[rows.to(device)]
        optics = batch.optics.select(rows)
        radii = radii_of(optics, batch.box_size, grid)
        ready = weigh(
            taken, views[chunk, 1:].to(device), optics.to(device), precision, radii.to(device)
        )
        for accumulator, mine in zip(accumulators, members, strict=True):
            here = mine[(view[mine] >= first) & (view[mine] < first + len(chunk))]
            if len(here):
                accumulator._add(
                    ready, radii, view[here] - first, entries.weights[here],
                    entries.poses.select(here), batch.optics.select(image[here]),
                )  # fmt: skip

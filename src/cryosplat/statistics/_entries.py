"""Which images of a batch enter which statistics, at which poses and with which weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..arrays import Columns
from ..batch import Batch
from ..errors import SettingsError
from ..poses import Poses
from ._assignments import Assignments, Lookup, checked_weights


@dataclass(frozen=True, slots=True)
class Entries(Columns):
    """m entries of the images of a batch: position ``image`` in it, pose, weight, and set."""

    image: Tensor
    poses: Poses
    weights: Tensor
    sets: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def counting(self, n_sets: int) -> Entries:
        """Those with a weight above 0 in one of the sets 0 .. n_sets - 1."""
        counts = (self.weights > 0.0) & (self.sets >= 0) & (self.sets < n_sets)
        return self if bool(counts.all()) else self.select(counts.nonzero().squeeze(1))


def entries_of(batch: Batch, weights: Tensor | Assignments | None) -> Entries:
    """The entries of a batch in one set, number 0; ``weights`` (n,) of its images, or triples."""
    if isinstance(weights, Assignments):
        image, triple = Lookup(weights.particle).of(batch.index)
        found = weights.select(triple)
        return Entries(image, found.poses, found.weights, torch.zeros_like(image))
    n = len(batch)
    each = torch.ones(n, dtype=torch.float64) if weights is None else checked_weights(weights, n)
    return Entries(torch.arange(n), batch.poses, each, torch.zeros(n, dtype=torch.int64))


class Plan:
    """The entries of any batch, from the sets and weights of all particles or triples."""

    def __init__(self, sets: Tensor, weights: Tensor | Assignments | None) -> None:
        sets = torch.as_tensor(sets)
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

    def of(self, batch: Batch) -> Entries:
        """The entries of a batch."""
        if self._assignments is not None:
            image, triple = self._lookup.of(batch.index)
            found = self._assignments.select(triple)
            return Entries(image, found.poses, found.weights, self._sets[triple])
        if len(batch) and int(batch.index.max()) >= len(self._sets):
            raise SettingsError(
                f"accumulate: particle {int(batch.index.max())} was read, but there are sets for "
                f"{len(self._sets)} only. Remedy: give the set of every particle."
            )
        weights = None if self._weights is None else self._weights[batch.index]
        return replace(entries_of(batch, weights), sets=self._sets[batch.index])

"""Images as they are read: each brought to its own background, those unlike the others left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch import Tensor

from ..batch import Batch
from ..noise import Levels, NoiseModel
from ..notes import Note
from ..particles import Particles


class Screen:
    """Prepares every image that passes as ``noise`` says, and remembers what it needed."""

    def __init__(self, noise: NoiseModel) -> None:
        self._noise = noise
        self._levels: list[Levels] = []

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches without images unlike the others, as data: accumulate them as they are."""
        for batch in batches:
            found = self._noise.prepared(batch)
            levels = Levels.of(batch.index, batch.optics.group, found)
            self._levels.append(levels)
            unlike = levels.unlike(self._noise.powers)
            batch = replace(batch, images=found.images)
            yield batch.select((~unlike).nonzero().squeeze(1)) if bool(unlike.any()) else batch

    @property
    def left_out(self) -> Tensor:
        """Positions of the images that were left out."""
        levels = Levels.concatenate(self._levels)
        return levels.index[levels.unlike(self._noise.powers)]

    def notes(self, particles: Particles) -> list[Note]:
        """What was done, with the rows of the particles' table."""
        levels = Levels.concatenate(self._levels)
        images = particles.images
        return levels.notes(
            levels.unlike(self._noise.powers),
            lambda i: f"row {images.row[i]:,} ({particles.names[i]})",
        )


def without(left_out: Tensor, labels: Tensor, none: int) -> Tensor:
    """``labels`` (n,) of the particles, ``none`` for those that were ``left_out``."""
    labels = labels.clone()
    labels[left_out] = none
    return labels

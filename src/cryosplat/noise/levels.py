"""Images beside each other: whose background is unlike, who holds something else, what stood out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..arrays import members
from ..notes import Note
from ._outlying import NORMAL
from .preparing import Prepared

UNLIKE = 12.0  # widths of what is usual
LEAST_WIDTH = 0.1  # of logarithms: three times another's power or deviation is unlike it
MOST_OUTLYING = 0.05  # share of an image's pixels that may be replaced
FEWEST = 20  # images that say what is usual
SHOWN = 5  # names in a sentence


def usual(values: Tensor) -> tuple[float, float]:
    """The median of some logarithms (n,), and the width of what is usual; infinite for a few."""
    if len(values) < FEWEST:
        return 0.0, math.inf
    middle = values.median()
    return float(middle), max(NORMAL * float((values - middle).abs().median()), LEAST_WIDTH)


@dataclass(frozen=True, slots=True)
class Levels:
    """What n images needed: their positions ``index``, optics ``group``, ``mean`` and ``deviation`` of
    their backgrounds, logarithm of their ``power`` as data and ``outlying`` share of their pixels."""

    index: Tensor
    group: Tensor
    mean: Tensor
    deviation: Tensor
    power: Tensor
    outlying: Tensor

    @staticmethod
    def of(index: Tensor, group: Tensor, found: Prepared) -> Levels:
        """Those of a batch's images."""
        pixels = max(found.images[:1].numel(), 1)
        mean, deviation = found.background.mean.double(), found.background.deviation.double()
        return Levels(index, group, mean, deviation, found.powers, found.outlying.double() / pixels)

    @staticmethod
    def concatenate(parts: Sequence[Levels]) -> Levels:
        """All in the order of their positions, each once."""
        whole = [torch.cat([getattr(p, f.name).cpu() for p in parts]) for f in fields(Levels)]
        index = whole[0].unique(return_inverse=True)[1]
        first = torch.empty(int(index.max()) + 1 if len(index) else 0, dtype=torch.int64)
        first[index] = torch.arange(len(index))
        return Levels(*(column[first] for column in whole))

    def uneven(self) -> Tensor:
        """Which backgrounds are at another level than the others of their group, (n,) bool."""
        found = torch.zeros(len(self.index), dtype=torch.bool)
        for _, own in members(self.group):
            deviation = self.deviation[own].clamp_min(1e-30)
            middle, width = usual(deviation.log())
            mean = self.mean[own] - self.mean[own].median()
            around = max(NORMAL * float(mean.abs().median()), LEAST_WIDTH * math.exp(middle))
            found[own] = (deviation.log() - middle).abs() > UNLIKE * width
            found[own] |= mean.abs() > UNLIKE * around if math.isfinite(width) else False
        return found

    def unlike(self, powers: Sequence[tuple[float, float]]) -> Tensor:
        """Which images are unlike the others of their group, (n,) bool, from their usual ``powers``.

        Their noise is not that of the background around them: carbon, crystals of ice, damage.
        """
        found = self.outlying > MOST_OUTLYING
        for number in self.group.unique().tolist() if powers else ():
            middle, width = powers[number]
            found |= (self.group == number) & ((self.power - middle).abs() > UNLIKE * width)
        return found

    def notes(self, unlike: Tensor, name: Callable[[int], str]) -> list[Note]:
        """What was done to the images; ``unlike`` (n,) are left out; ``name`` of a position."""

        def told(chosen: Tensor) -> str:
            positions = self.index[chosen].tolist()
            more = f" and {len(positions) - SHOWN:,} more" if len(positions) > SHOWN else ""
            return ", ".join(name(i) for i in positions[:SHOWN]) + more

        n, notes = len(self.index), []
        if bool(unlike.any()):
            notes.append(Note(
                "images-left-out", "warning",
                f"{int(unlike.sum()):,} of {n:,} images differ from the others within the particle and "
                f"are left out: {told(unlike)}.",
                "Inspect them; typical causes are carbon edges, crystals of ice and damaged files.",
            ))  # fmt: skip
        hit = (self.outlying > 0.0) & ~unlike
        if bool(hit.any()):
            notes.append(Note(
                "pixels-outlying", "note",
                f"{int(hit.sum()):,} of {n:,} images have outlying pixels (X-ray hits, dead columns), "
                f"which are replaced by the median around them: {told(hit)}.",
            ))  # fmt: skip
        uneven = self.uneven() & ~unlike
        if bool(uneven.any()):
            notes.append(Note(
                "backgrounds-uneven", "note",
                f"{int(uneven.sum()):,} of {n:,} images have a background of unusual mean or "
                f"deviation; every image is normalised by its own background: {told(uneven)}.",
            ))  # fmt: skip
        return notes

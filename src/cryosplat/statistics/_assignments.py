"""At which poses images enter the statistics, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..arrays import Columns
from ..errors import SettingsError
from ..poses import Poses


@dataclass(frozen=True, slots=True)
class Assignments(Columns):
    """m triples (image, pose, weight): an image may enter several times, or not at all.

    ``particle`` (m,) int64: the position ``Batch.index`` of the image; ``poses`` (m); ``weights``
    (m,) finite and at least 0, float64. A posterior over poses has weights that add up to 1 for each
    image; nothing requires it.
    """

    particle: Tensor
    poses: Poses
    weights: Tensor

    def __post_init__(self) -> None:
        m = len(self.poses)
        object.__setattr__(self, "particle", torch.as_tensor(self.particle))
        if self.particle.shape != (m,) or self.particle.dtype != torch.int64:
            raise SettingsError(
                f"Assignments: particle has shape {tuple(self.particle.shape)} and dtype "
                f"{self.particle.dtype}, expected ({m},) and int64, one for each of the poses."
            )
        if not bool(self.poses.rotations.isfinite().all() & self.poses.shifts.isfinite().all()):
            raise SettingsError("Assignments: poses contain NaN or infinite numbers.")
        object.__setattr__(self, "weights", checked_weights(self.weights, m))

    def __len__(self) -> int:
        return len(self.poses)


def checked_weights(weights: Tensor, n: int) -> Tensor:
    """Weights (n,) in float64; raises `SettingsError` for other shapes, NaN, infinity, below 0."""
    weights = torch.as_tensor(weights)
    if tuple(weights.shape) != (n,):
        raise SettingsError(f"weights have shape {tuple(weights.shape)}, expected ({n},).")
    weights = weights.double()
    bad = ~(weights.isfinite() & (weights >= 0.0))
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise SettingsError(
            f"weights[{first}] is {float(weights[first])}, expected a finite number of at least 0 "
            f"({int(bad.sum())} of {n} weights are affected)."
        )
    return weights


class Lookup:
    """The triples of any particle, found in the logarithm of their number."""

    def __init__(self, particle: Tensor) -> None:
        self._sorted, self._order = particle.sort(stable=True)

    def of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Of the particles ``index`` (n,): positions in ``index``, and the triples they have."""
        first = torch.searchsorted(self._sorted, index.contiguous())
        counts = torch.searchsorted(self._sorted, index.contiguous(), right=True) - first
        image = torch.arange(len(index)).repeat_interleave(counts)
        within = torch.arange(len(image)) - (counts.cumsum(0) - counts)[image]
        return image, self._order[first[image] + within]

"""Do the data have the symmetry that was given? Particles of the other half-set say.

The symmetry has rivals: none at all, and the largest groups that are parts of it. From each half-set a
voxel map is made with each, regularised by the FSC of its own half-maps. Then every particle of the
other half-set, as it is, without equivalent poses, is held against the maps with the symmetry and with
a rival, as far as that rival's half-maps agree: with x its projection of a map under its CTF and y its
image, weighted by the noise, its log-likelihood is ``<y, x> - |x|^2 / 2`` and a constant. A symmetry
that is there takes noise from the map; one that is not takes away detail. No symmetry alone would be
a weak rival: where particles are few and noisy, a group that is too large beats it by the part of the
group that is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from ..formation import VolumeProjector
from ..grid import Grid
from ..maps.fsc import first_below, fourier_shell_correlation
from ..noise import NoiseModel
from ..statistics import Statistics, accumulate
from ..symmetry import subgroups
from .baseline import voxel_maps
from .likelihood import log_likelihoods

CLEAR = 0.143
"""Half-map FSC of a rival's maps, up to the last shell above which maps are compared."""
FEWEST_SHELLS = 8


@dataclass(frozen=True, slots=True)
class Rival:
    """What single particles say of a smaller ``symmetry``, in ``box_size`` voxels.

    ``advantages`` (n,) float64: log-likelihood of each particle with it, less that with the symmetry
    that was given, in nats.
    """

    symmetry: str
    box_size: int
    advantages: Tensor

    @property
    def nats(self) -> float:
        """By how much all particles together prefer the smaller one; negative where they do not."""
        return float(self.advantages.sum())

    @property
    def error(self) -> float:
        """Standard error of `nats`, from the spread over particles."""
        n = len(self.advantages)
        return float(self.advantages.std()) * n**0.5 if n > 1 else 0.0

    @property
    def deviations(self) -> float:
        """`nats` in standard errors."""
        return self.nats / self.error if self.error > 0.0 else 0.0

    def summary(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {
            "box_size": self.box_size, "nats": self.nats, "error": self.error,
            "deviations": self.deviations,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class SymmetryCheck:
    """A ``symmetry`` and its ``rivals``, at least one, on ``n`` particles."""

    symmetry: str
    n: int
    rivals: tuple[Rival, ...]

    @property
    def strongest(self) -> Rival:
        """The rival that is preferred most, or rejected least, in standard errors."""
        return max(self.rivals, key=lambda rival: rival.deviations)

    def summary(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {
            "particles": self.n,
            "strongest_rival": self.strongest.symmetry,
            "deviations": self.strongest.deviations,
            "rivals": {rival.symmetry: rival.summary() for rival in self.rivals},
        }


def check_symmetry(
    batches: Sequence[Batch], half_sets: Tensor, symmetry: str, grid: Grid, noise: NoiseModel
) -> SymmetryCheck:
    """Hold particles against maps with ``symmetry``, which is not C1, and with its rivals.

    ``half_sets`` (n,) in {1, 2} by the particles' position ``batch.index``; ``grid``: a small one is
    enough, and its box side is the images'.
    """
    sets = half_sets.long() - 1

    def halves(name: str) -> list[Statistics]:
        return accumulate(batches, sets, 2, grid, noise, symmetry=name)

    given = halves(symmetry)
    rivals = []
    for name in subgroups(symmetry):
        other = halves(name)
        box = _clear_box(other)
        ours, theirs = _maps(given, box), _maps(other, box)
        parts = [
            log_likelihoods(theirs[2 - half], mine, noise)
            - log_likelihoods(ours[2 - half], mine, noise)
            for batch in batches
            for half in (1, 2)
            for mine in [batch.select((half_sets[batch.index] == half).nonzero().squeeze(1))]
        ]
        rivals.append(Rival(name, box, torch.cat(parts)))
    return SymmetryCheck(symmetry, sum(map(len, batches)), tuple(rivals))


def _clear_box(halves: list[Statistics]) -> int:
    """Box in voxels, even, that ends where the half-maps' FSC does."""
    fsc = fourier_shell_correlation(*voxel_maps((halves[0], halves[1]))[1:])
    return min(2 * max(first_below(fsc, CLEAR) - 1, FEWEST_SHELLS), halves[0].grid.box_size)


def _maps(halves: list[Statistics], box: int) -> list[VolumeProjector]:
    small = [half.downsampled(box) for half in halves]
    maps = voxel_maps((small[0], small[1]))[1:]
    return [VolumeProjector(volume, small[0].grid) for volume in maps]

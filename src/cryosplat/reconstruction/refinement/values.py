"""What a refinement is: particles with their poses, what moved, and what that was worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ...alignment import changes
from ...maps.views import view_distribution
from ...particles import Particles
from ...poses import Poses
from ...settings import RefinementSettings

Verdict = Literal["refined", "kept", "no structure"]


@dataclass(frozen=True, slots=True)
class Round:
    """Poses as they were at the beginning of a round, and the maps made with them.

    ``limit``: finest resolution in Angstrom that images are held against; ``likelihood``: mean
    log-likelihood of an image under the map of the *other* half-set, integrated over the errors of
    its pose, in nats above noise alone, and by how much it is above that with the given poses,
    ``gain``, with its standard error; ``angle`` and ``shift``: estimated errors of the given poses,
    standard deviations in degrees about each axis and in Angstrom along each, infinite where they are
    not estimated; ``moved``: median change
    of orientation that led here, in degrees; ``cross_fsc`` (n_shells,): the mixtures' against the
    voxels of the other half-set, mean of both.
    """

    limit: float
    likelihood: float
    gain: float
    gain_deviation: float
    angle: float
    shift: float
    moved: float
    cross_fsc: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """``particles`` with the poses that are used, and how these were found.

    ``given``: the poses before; ``drew_half_sets``: whether half-sets were drawn; ``verdict``:
    "refined", or "kept" where refining gained nothing, or "no structure" where the half-sets share
    none. ``best``: the round whose poses are used, 0 being the given ones. Of each particle (n,):
    ``likelihood`` under the map of its own half-set, in nats above noise alone, ``peak``, the share
    of the likeliest sample of its posterior, and ``samples``, how many hold 99.9 % of that; NaN
    where the given poses stay.
    """

    particles: Particles
    given: Poses
    drew_half_sets: bool
    verdict: Verdict
    rounds: tuple[Round, ...]
    best: int
    likelihood: Tensor
    peak: Tensor
    samples: Tensor
    settings: RefinementSettings
    seconds: float

    def changes(self) -> tuple[Tensor, Tensor]:
        """Degrees that each orientation was turned by (n,), and changes of shifts in Å (n, 2)."""
        angles, shifts = changes(self.particles.poses, self.given)
        return angles.norm(dim=1) * (180.0 / math.pi), shifts

    def summary(self) -> dict[str, Any]:
        """The numbers of a run's summary."""
        degrees, shifts = self.changes()
        return {
            "verdict": self.verdict,
            "best": self.best,
            "rounds": [round.to_dict() for round in self.rounds],
            "median_degrees": float(degrees.median()),
            "median_angstrom": float(shifts.norm(dim=1).median()),
            "views_before": view_distribution(self.given).summary(),
            "settings": self.settings.to_dict(),
            "seconds": self.seconds,
        }

"""What a refinement is: particles with their poses, what moved, and what that was worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ...alignment import changes, with_lenses
from ...maps.views import view_distribution
from ...optics import Optics, OpticsGroup
from ...particles import Particles
from ...poses import Poses
from ...settings import RefinementSettings

UNKNOWNS = "beam_tilt_x", "beam_tilt_y", "magnification"
Verdict = Literal["refined", "kept", "no structure"]


@dataclass(frozen=True, slots=True)
class OpticsChanges:
    """How the optics differ from the given ones.

    ``defocus`` (n,): more of it, in Angstrom, ``width``: the estimated error of the given one, 0 where
    it stays; ``lenses`` (g, 3): more beam tilt (x, y) of each optics group in radian, and the logarithm
    of its magnification, ``errors`` (g, 3) of these, NaN where unknown. ``gains``: of "poses",
    "defocus", "beam tilt" and "magnification" by how many nats images of the other half-set became
    likelier, each, and the standard error of that, when it was last tried.
    """

    defocus: Tensor
    width: float
    lenses: Tensor
    errors: Tensor
    gains: dict[str, tuple[float, float]] = field(default_factory=dict)

    @staticmethod
    def none(optics: Optics) -> OpticsChanges:
        """No change."""
        groups = torch.zeros(len(optics.groups), len(UNKNOWNS), dtype=torch.float64)
        defocus = torch.zeros(len(optics), dtype=torch.float64)
        return OpticsChanges(defocus, 0.0, groups, groups * math.nan)

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        return bool(self.defocus.any()) or bool(self.lenses.any())

    def applied(self, optics: Optics) -> Optics:
        """The given optics, changed."""
        if not self.any:
            return optics
        changed = with_lenses(optics, self.lenses) if bool(self.lenses.any()) else optics
        u, v = changed.defocus_u + self.defocus, changed.defocus_v + self.defocus
        return replace(changed, defocus_u=u, defocus_v=v)

    def without_defocus(self) -> OpticsChanges:
        """The same of the groups alone."""
        return replace(self, defocus=torch.zeros_like(self.defocus))

    def to_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def summary(self, groups: Sequence[OpticsGroup]) -> dict[str, Any]:
        """The numbers of a run's summary: beam tilt in mrad, magnification as a factor."""
        shown = []
        for group, change, error in zip(
            groups, self.lenses.tolist(), self.errors.tolist(), strict=True
        ):
            x, y, stretch = change
            values = (1e3 * x, 1e3 * y, math.exp(stretch))
            errors = (1e3 * error[0], 1e3 * error[1], error[2])
            pairs = zip(UNKNOWNS, values, errors, strict=True)
            told = {n: {"change": v, "error": None if e != e else e} for n, v, e in pairs}
            shown.append({"name": group.name, **told})
        gains = {n: {"gain": g, "gain_deviation": d} for n, (g, d) in self.gains.items()}
        median = float(self.defocus.abs().median()) if len(self.defocus) else 0.0
        return {
            "defocus_error": self.width, "median_defocus": median, "gains": gains, "groups": shown,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Round:
    """Poses as they were at the beginning of a round, and the maps made with them.

    ``limit``: finest resolution in Angstrom that images are held against; ``likelihood``: mean
    log-likelihood of an image under the map of the *other* half-set, integrated over the errors of
    its pose, in nats above noise alone, and by how much it is above that with the given poses,
    ``gain``, with its standard error; ``angle`` and ``shift``: estimated errors of the given poses,
    standard deviations in degrees about each axis and in Angstrom along each, infinite where they are
    not estimated; ``defocus``: that of the given defocus in Angstrom, 0 where it stays; ``moved``:
    median change of orientation that led here, in degrees; ``cross_fsc`` (n_shells,): the mixtures'
    against the voxels of the other half-set, mean of both.
    """

    limit: float
    likelihood: float
    gain: float
    gain_deviation: float
    angle: float
    shift: float
    moved: float
    cross_fsc: list[float]
    defocus: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """``particles`` with the poses and optics that are used, and how these were found.

    ``given``: the poses before; ``optics``: what was changed of the optics; ``drew_half_sets``:
    whether half-sets were drawn; ``verdict``: "refined", or "kept" where refining gained nothing, or
    "no structure" where the half-sets share none. ``best``: the round whose poses are used, 0 being
    the given ones. Of each particle (n,): ``likelihood`` under the map of its own half-set, in nats
    above noise alone, ``peak``, the share of the likeliest sample of its posterior, and ``samples``,
    how many hold 99.9 % of that; NaN where the given poses stay.
    """

    particles: Particles
    given: Poses
    optics: OpticsChanges
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
            "optics": self.optics.summary(self.particles.optics.groups),
            "views_before": view_distribution(self.given).summary(),
            "settings": self.settings.to_dict(),
            "seconds": self.seconds,
        }

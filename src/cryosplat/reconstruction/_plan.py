"""What is fitted to statistics, and with how many Gaussians: no more than the particles can inform."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import scipy.fft
from torch import Tensor

from ..fitting import density, effective_voxels
from ..grid import Grid
from ..mixture import GaussianMixture
from ..settings import MEMBERS, STEPS, STEPS_OF_HALF, ReconstructionSettings
from ..statistics import QuadraticForm, Statistics
from ._clock import Clock
from ._prior import Prior

VOXELS_PER_GAUSSIAN = 4
FIRST_WIDTH = 0.9  # pixels, where there is a Gaussian for every four voxels
FEWEST, MOST = 50, 200_000
LONGER_IN_WATER = 2
"""Times as many steps: water takes the low frequencies by which Gaussians soon find their places."""


def fitted_side(mask: Tensor, grid: Grid) -> int:
    """Side in voxels of the cube around the rotation centre that holds the molecule's ``mask``."""
    inside = (mask > 0.0).nonzero() - grid.centre
    reach = int(inside.abs().max()) + 2 if len(inside) else grid.centre
    return _fast_side(2 * reach, grid.box_size)


def _fast_side(least: int, box_size: int) -> int:
    """An even side of at least ``least`` voxels whose transforms are fast; or the whole box."""
    side = scipy.fft.next_fast_len(least, real=True)
    side += side % 2
    return side if side < 0.95 * box_size else box_size


@dataclass(frozen=True, slots=True)
class Parts:
    """What is fitted: ``sets`` [all particles, half 1, half 2], in a cube of ``side`` voxels.

    ``prior`` of all three; ``earlier``: mixtures of the three to start from, or None; ``clock`` is
    told how long it takes; ``in_water``: the statistics are seen through a solvent.
    """

    sets: tuple[Statistics, Statistics, Statistics]
    side: int
    prior: Prior
    earlier: list[GaussianMixture] | None
    clock: Clock
    in_water: bool = False

    def in_band(self) -> Parts:
        """The same in the fewest voxels that hold all frequencies at which a fit finds something."""
        grid = self.sets[0].grid
        box = min(_fast_side(self.prior.box_size, grid.box_size), grid.box_size)
        if box == grid.box_size or self.earlier is not None:
            return self
        full, first, second = (part.downsampled(box) for part in self.sets)
        side = _fast_side(math.ceil(self.side * box / grid.box_size) + 2, box)
        return replace(self, sets=(full, first, second), side=side)

    def penalty(self) -> Tensor:
        """That of the prior on the cube, for each of the three."""
        first, second = (QuadraticForm(half, self.side) for half in self.sets[1:])
        return self.prior.penalty((first, second))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the fits of one part are made with: how many ``members``, ``gaussians`` of the whole map in
    each, first ``scale`` in pixels, ``steps``."""

    members: int
    gaussians: int
    scale: float
    steps: int


def plans_for(parts: Parts, settings: ReconstructionSettings) -> tuple[Plan, Plan, Plan]:
    """One plan for the map of all particles, and one for both half-sets, so that these compare.

    A Gaussian for every four voxels that the density of all particles fills, and no more than the
    particles know real numbers of the map; where they are fewer they begin wider. A number that was
    given is divided into as many fits as such numbers go into it.
    """
    form = QuadraticForm(parts.sets[0], parts.side)
    filled = effective_voxels(density(form)) / VOXELS_PER_GAUSSIAN
    plans = []
    for full in (True, False):
        number = max(FEWEST, min(MOST, round(min(filled, parts.prior.coefficients(full)))))
        members, wanted = MEMBERS, settings.gaussians
        if wanted is not None:
            members = max(1, min(MEMBERS, wanted // number))
            number = round(wanted / members)
        width = FIRST_WIDTH * max(1.0, filled / number) ** (1 / 3)
        steps = settings.steps or (STEPS if full else STEPS_OF_HALF) * (
            LONGER_IN_WATER if parts.in_water else 1
        )
        plans.append(Plan(members, number, width, steps))
    return plans[0], plans[1], plans[1]


def suggested_number(parts: Parts) -> int:
    """How many Gaussians one fit of a half-set would have, were none given."""
    return plans_for(parts.in_band(), ReconstructionSettings())[1].gaussians


def described(plan: Plan, grid: Grid) -> str:
    """A plan in words."""
    return (
        f"{plan.members} fit{'s' if plan.members > 1 else ''} of {plan.gaussians:,} Gaussians, initial "
        f"width {plan.scale * grid.pixel_size:.1f} Å, {plan.steps} steps"
    )

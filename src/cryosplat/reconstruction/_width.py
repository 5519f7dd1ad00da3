"""How wide Gaussians begin where particles say little: found by trial.

Gaussians that begin much narrower than the detail that there is put their power where the prior
forbids it; they arrive late, faint and scattered. Wide ones narrow where the particles want it, but
slowly: where there is detail it is the narrow start that finds it. So a wider start has to reach an
optimum that is better by more than a little.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..fitting import Schedule, StatisticsTerm, density, descend, start_in_density
from ..splatting import voxelize
from ..statistics import QuadraticForm
from ._plan import Parts, Plan

COARSE = 8.0  # voxels: finest detail in which half-maps agree, from which on widths are tried
BETTER = 0.05  # share by which the objective has to gain


def with_first_widths(
    parts: Parts, plans: tuple[Plan, ...], penalty: Tensor, symmetry: str, seed: int
) -> tuple[Plan, ...]:
    """The ``plans`` with wider Gaussians to begin with: twice as wide while that gains."""
    detail = parts.prior.detail / parts.sets[0].grid.pixel_size
    if detail < COARSE or parts.earlier is not None:
        return plans
    plain = QuadraticForm(parts.sets[0], parts.side)
    form, positive = plain.with_penalty(penalty), density(plain)

    def reached(scale: float) -> float:
        generator = torch.Generator().manual_seed(seed)
        k, steps = plans[0].gaussians, plans[0].steps
        start = start_in_density(plain, positive, k, scale, generator, symmetry)
        mixture = descend(StatisticsTerm(form, None), start, Schedule(steps=steps)).mixture
        return -float(form(voxelize(mixture, form.grid).detach()))

    factor, scale = 1.0, plans[0].scale
    best = reached(scale)
    while 2.0 * factor * scale < 0.5 * detail:
        wider = reached(2.0 * factor * scale)
        if wider < (1.0 + BETTER) * best:
            break
        factor, best = 2.0 * factor, wider
    return tuple(replace(plan, scale=factor * plan.scale) for plan in plans)

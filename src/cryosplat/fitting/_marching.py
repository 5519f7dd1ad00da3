"""From random positions to a mixture at full resolution: marching d/4 -> d/2 -> d."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..mixture import GaussianMixture
from ..statistics import QuadraticForm, Statistics
from ._journal import NOWHERE, Journal
from ._schedule import Schedule
from ._start import redraw, start_at_random
from ._statistics import fit

REDRAWS = 2  # per level
HANDOVER = 1.0  # pixels of the level: width of freshly drawn Gaussians
FEWEST = 50


def even(size: float) -> int:
    """The nearest even integer, at least 8."""
    return max(8, 2 * round(size / 2))


def march(
    statistics: Statistics,
    side: int,
    gaussians: int,
    scale: float,
    schedule: Schedule,
    generator: torch.Generator,
    symmetry: str = "C1",
    journal: Journal = NOWHERE,
) -> GaussianMixture:
    """A start for the full-resolution fit on a cube of ``side`` voxels, from random positions.

    Each level is an exactly downsampled problem with a sixteenth, a quarter of the Gaussians. New
    positions are drawn from the mixture of the level before, so that none stays stranded outside
    the molecule.
    ``gaussians`` of the whole map; ``scale``: width in pixels of the full grid that they are handed
    over with.
    """
    d = statistics.grid.box_size
    mixture: GaussianMixture | None = None
    for factor in (4, 2):
        level = statistics.downsampled(even(d / factor))
        cube = min(level.grid.box_size, even(side * level.grid.box_size / d))
        form = QuadraticForm(level, cube)
        k = max(FEWEST, gaussians // factor**2)
        if mixture is None:
            radius = 0.15 * form.grid.side
            first = start_at_random(form, k, radius, 1.5, generator, symmetry)
            longer = replace(schedule, steps=3 * schedule.steps)
            mixture = fit(form, first, longer, journal=journal.of("first")).mixture
        for number in range(REDRAWS):
            again = redraw(form, mixture, k, HANDOVER, generator)
            level_journal = journal.of(f"{d // factor} px, {number}")
            mixture = fit(form, again, schedule, journal=level_journal).mixture
    assert mixture is not None
    full = QuadraticForm(statistics, side)
    return redraw(full, mixture, gaussians, scale, generator)

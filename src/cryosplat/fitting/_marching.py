"""From random positions to a mixture at full resolution: marching d/4 -> d/2 -> d.

At each level only low frequencies are compared, with a sixteenth and a quarter of the Gaussians. New
positions are drawn from the mixture of the level before, so that none stays stranded outside the
molecule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ..grid import Grid
from ..mixture import GaussianMixture
from ..settings import ImageSchedule
from ..statistics import QuadraticForm, Statistics
from ._journal import NOWHERE, Journal
from ._schedule import Schedule
from ._start import heirs, paper_start, redraw, start_at_random
from ._statistics import fit
from .images import ImageData, fit_images

REDRAWS = 2  # per level
FIRST = 1.5  # pixels of the level: width of the first Gaussians, ...
HANDOVER = 1.0  # ... and of freshly drawn ones
FEWEST = 50
FACTORS = 4, 2
IMAGES = 4000  # that each fit of a level to images is shown, at least


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

    Each level is an exactly downsampled problem.
    ``gaussians`` of the whole map; ``scale``: width in pixels of the full grid that they are handed
    over with.
    """
    d = statistics.grid.box_size
    mixture: GaussianMixture | None = None
    for factor in FACTORS:
        level = statistics.downsampled(even(d / factor))
        cube = min(level.grid.box_size, even(side * level.grid.box_size / d))
        form = QuadraticForm(level, cube)
        k = max(FEWEST, gaussians // factor**2)
        if mixture is None:
            radius = 0.15 * form.grid.side
            first = start_at_random(form, k, radius, FIRST, generator, symmetry)
            longer = replace(schedule, steps=3 * schedule.steps)
            mixture = fit(form, first, longer, journal=journal.of("first")).mixture
        for number in range(REDRAWS):
            again = redraw(form, mixture, k, HANDOVER, generator)
            level_journal = journal.of(f"{d // factor} px, {number}")
            mixture = fit(form, again, schedule, journal=level_journal).mixture
    assert mixture is not None
    full = QuadraticForm(statistics, side)
    return redraw(full, mixture, gaussians, scale, generator)


def march_images(
    data: ImageData,
    gaussians: int,
    width: float,
    schedule: ImageSchedule,
    seed: int,
    draws: Sequence[torch.Generator],
    symmetry: str = "C1",
    device: torch.device | str = "cpu",
    on_images: Callable[[int], None] = lambda n: None,
    journal: Journal = NOWHERE,
) -> list[GaussianMixture]:
    """Starts for fits to images at full resolution, [all particles, half 1, half 2].

    Begins at CryoSplat's random positions. ``gaussians`` of the whole map; ``width`` in Angstrom that
    they are handed over with; ``seed`` of the order of the images; ``draws``: where each of the three
    draws its positions from, no two alike; ``device`` that they are fitted on; ``on_images`` is told of
    `images_of_a_march` in all.
    """
    side, n = data.grid.side, len(data.used())
    found: list[GaussianMixture] = []
    for factor in FACTORS:
        box = even(data.grid.box_size / factor)
        level = replace(data, grid=Grid(box, side / box))
        pixel, k = side / box, max(FEWEST, gaussians // factor**2)
        epochs = replace(schedule, epochs=_epochs(n), split_after=())
        for number in range(REDRAWS):
            if found:
                starts = [
                    heirs(mixture, k, HANDOVER * pixel, side, draw)
                    for mixture, draw in zip(found, draws, strict=True)
                ]
            else:
                starts = [
                    _wide(paper_start(data, k, draw, symmetry), FIRST * pixel).to(device)
                    for draw in draws
                ]
            fitted = fit_images(
                level, starts, epochs, seed + number, on_images=on_images,
                journal=journal.of(f"{box} px, {number}"),
            )  # fmt: skip
            found = list(fitted.mixtures)
    return [
        heirs(mixture, gaussians, width, side, draw)
        for mixture, draw in zip(found, draws, strict=True)
    ]


def images_of_a_march(n: int) -> int:
    """How many images `march_images` looks at, each one as often as it does, of ``n``."""
    return len(FACTORS) * REDRAWS * _epochs(n) * n


def _epochs(n: int) -> int:
    return max(1, math.ceil(IMAGES / max(n, 1)))


def _wide(mixture: GaussianMixture, width: float) -> GaussianMixture:
    return replace(mixture, scales=torch.full_like(mixture.scales, width))

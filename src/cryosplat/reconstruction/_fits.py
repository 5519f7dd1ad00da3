"""Fits to statistics: a number of Gaussians that the particles can inform, a prior on the power of
every shell, and the mean of independent fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from ..fitting import (
    NOWHERE,
    History,
    Journal,
    Schedule,
    StatisticsTerm,
    counted,
    density,
    descend,
    march,
    start_in_density,
)
from ..mixture import GaussianMixture, mean_of
from ..noise import NoiseModel
from ..progress import FIT_ALL, FIT_HALF, Progress
from ..settings import ReconstructionSettings
from ..statistics import QuadraticForm, Statistics
from ._checkpoint import resumable
from ._plan import Parts, Plan, described, plans_for
from ._width import with_first_widths

STRIDE = 99_991  # between the seeds of all particles, half 1 and half 2
PARTS = "all particles", "half 1", "half 2"
Rows = tuple[tuple[int, float, float], ...]


def stream(settings: ReconstructionSettings, part: int, member: int = 0) -> torch.Generator:
    """Random numbers that no other fit of the run draws.

    Half-maps that begin at the same random positions agree on them, and their FSC is too high.
    ``part``: 0 for all particles, 1 and 2 for the half-sets.
    """
    return torch.Generator().manual_seed(settings.seed + STRIDE * part + 1000 * member)


@dataclass(frozen=True, slots=True)
class Again:
    """The particles with other images: how to ``read`` them, their noise, statistics of each half."""

    read: Callable[[Tensor], Iterable[Batch]]
    noise: NoiseModel
    halves: list[Statistics]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Mixtures [full, half 1, half 2], and what the run's summary says of how they came about.

    ``plans`` of the three and ``histories`` of their first fits, where they were fitted to
    statistics; ``images_shown`` to the map's, where they were fitted to images. ``refit`` fits both
    half-sets in the same way to other images; None where that is not possible.
    """

    mixtures: list[GaussianMixture]
    summary: dict[str, Any]
    plans: tuple[Plan, ...] = ()
    histories: tuple[Rows, ...] = ()
    refit: Callable[[Again, Progress], list[GaussianMixture]] | None = None
    images_shown: int | None = None


def fitted_to_statistics(
    parts: Parts, settings: ReconstructionSettings, progress: Progress, journal: Journal = NOWHERE
) -> Fitted:
    """Fit each of the three to all of its particles; goes on from ``journal``, where it holds some."""
    with parts.clock("plan"):
        parts = parts.in_band()
        plans, penalty = plans_for(parts, settings), parts.penalty()
        if settings.start == "statistics":
            plans = with_first_widths(parts, plans, penalty, settings.symmetry, settings.seed)
    grid = parts.sets[0].grid
    words = [described(plan, grid) for plan in plans]
    if parts.earlier is None:
        progress.say(f"All particles: {words[0]}. Each half-set: {words[1]}.")
    mixtures: list[GaussianMixture] = []
    histories: list[Rows] = []
    with resumable(journal, progress):
        for number, (name, part) in enumerate(zip(PARTS, parts.sets, strict=True)):
            unseen = parts.sets[3 - number] if number else None
            fit = _Part(number, parts.side, penalty, plans[number], settings, progress)
            first = None if parts.earlier is None else parts.earlier[number]
            with parts.clock(f"fit, {name}"):
                mixture, history = fit.fitted(part, journal.of(name), first, unseen)
            mixtures.append(mixture)
            histories.append(history)
    summary = {
        "members": plans[0].members if parts.earlier is None else 1,
        "choices": words,
        "trials": [[list(row) for row in history] for history in histories],
    }

    def refit(again: Again, progress: Progress) -> list[GaussianMixture]:
        with resumable(journal, progress):
            return [
                _Part(i, parts.side, penalty, plans[i], settings, progress).fitted(
                    again.halves[i - 1].downsampled(grid.box_size),
                    journal.of(f"{PARTS[i]} again"),
                )[0]
                for i in (1, 2)
            ]

    again = None if parts.earlier else refit
    return Fitted(mixtures, summary, plans, tuple(histories), again)


@dataclass(frozen=True, slots=True)
class _Part:
    """How one of `PARTS` is fitted."""

    number: int
    side: int
    penalty: Tensor
    plan: Plan
    settings: ReconstructionSettings
    progress: Progress

    def fitted(
        self,
        statistics: Statistics,
        journal: Journal,
        first: GaussianMixture | None = None,
        unseen: Statistics | None = None,
    ) -> tuple[GaussianMixture, Rows]:
        """The mean of independent fits with different first positions, or one fit from ``first``; and
        the history of the first one, with its gain on ``unseen`` particles, which decide nothing."""
        plain = QuadraticForm(statistics, self.side)
        other = None if unseen is None else QuadraticForm(unseen, self.side)
        form = plain.with_penalty(self.penalty)
        schedule = Schedule(steps=self.plan.steps)
        members = self.plan.members if first is None else 1
        positive = cache(lambda: density(plain))

        def start(member: int, journal: Journal) -> GaussianMixture:
            if first is not None:
                return first.to(statistics.backprojection.device)
            generator, symmetry = stream(self.settings, self.number, member), self.settings.symmetry
            k, scale = self.plan.gaussians, self.plan.scale
            if self.settings.start == "statistics":
                return start_in_density(plain, positive(), k, scale, generator, symmetry)
            return march(statistics, self.side, k, scale, schedule, generator, symmetry, journal)

        fits = []
        title = FIT_ALL if self.number == 0 else f"{FIT_HALF} {self.number}"
        with self.progress.stage(title, members * schedule.last, "steps") as stage:
            for member in range(1, members + 1):
                term = StatisticsTerm(form, other if member == 1 else None)
                history = History(schedule.check_every, term.gains)
                own = journal.of(f"member {member}")
                fits.append(
                    descend(
                        term, partial(start, member, own), schedule,
                        [history, counted(stage.advance)], journal=own,
                    )
                )  # fmt: skip
        return mean_of([found.mixture for found in fits]).to("cpu"), fits[0].history

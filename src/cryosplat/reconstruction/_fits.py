"""Fits to statistics: what held-out particles choose, and the mean of independent fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import scipy.fft
import torch
from torch import Tensor

from ..batch import Batch
from ..fitting import (
    NOWHERE,
    Choice,
    Journal,
    Schedule,
    Selection,
    counted,
    density,
    effective_voxels,
    fit,
    march,
    start_in_density,
)
from ..grid import Grid
from ..maps.mask import soft_mask
from ..mixture import GaussianMixture, mean_of
from ..noise import NoiseModel
from ..progress import Progress
from ..settings import ReconstructionSettings
from ..statistics import QuadraticForm, Statistics
from ._checkpoint import resumable
from ._clock import Clock
from ._data import HalfSet

MEMBERS = 2  # independent fits whose mean is the map; see docs/decisions
VOXELS_PER_GAUSSIAN = 4
STRIDE = 99_991  # between the seeds of all particles, half 1 and half 2
PARTS = "all particles", "half 1", "half 2"


def fitted_side(voxel_map: Tensor, grid: Grid) -> int:
    """Side in voxels of the cube around the rotation centre that holds the molecule."""
    inside = (soft_mask(voxel_map, grid) > 0.0).nonzero() - grid.centre
    reach = int(inside.abs().max()) + 2 if len(inside) else grid.centre
    side = scipy.fft.next_fast_len(2 * reach, real=True)
    side += side % 2
    return side if side < 0.95 * grid.box_size else grid.box_size


@dataclass(frozen=True, slots=True)
class Parts:
    """What is fitted: ``sets`` [all particles, half 1, half 2], in a cube of ``side`` voxels.

    ``earlier``: mixtures of the three to start from, or None; ``clock`` is told how long it takes.
    """

    sets: tuple[HalfSet, HalfSet, HalfSet]
    side: int
    earlier: list[GaussianMixture] | None
    clock: Clock


def stream(settings: ReconstructionSettings, part: int, member: int = 0) -> torch.Generator:
    """Random numbers that no other fit of the run draws.

    Half-maps that begin at the same random positions agree on them, and their FSC is too high.
    ``part``: 0 for all particles, 1 and 2 for the half-sets; ``member``: 0 for the trials.
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

    ``choices`` of the three, where held-out particles made any. ``refit`` fits both half-sets in the
    same way to other images; None where that is not possible.
    """

    mixtures: list[GaussianMixture]
    summary: dict[str, Any]
    choices: tuple[Choice, ...] = ()
    refit: Callable[[Again, Progress], list[GaussianMixture]] | None = None


def fitted_to_statistics(
    parts: Parts, settings: ReconstructionSettings, progress: Progress, journal: Journal = NOWHERE
) -> Fitted:
    """For each of the three: choose by held-out particles, then fit to all of its particles.

    Goes on from ``journal`` where it holds some of that.
    """
    choices, mixtures = [], []
    with resumable(journal, progress):
        for number, (name, half) in enumerate(zip(PARTS, parts.sets, strict=True)):
            part = _Part(number, parts.side, settings, progress, journal.of(name))
            first = None if parts.earlier is None else parts.earlier[number]
            with parts.clock(f"selection, {name}"):
                choices.append(part.choose(half) if first is None else part.steps_from(first, half))
            with parts.clock(f"fit, {name}"):
                mixtures.append(part.fitted(half.whole(), choices[-1], first))
    grid = parts.sets[0].train.grid
    summary = {
        "members": MEMBERS if parts.earlier is None else 1,
        "choices": [described(choice, grid) for choice in choices],
        "trials": [[list(row) for row in choice.history] for choice in choices],
        "candidates": [
            [[k, scale * grid.pixel_size, gain] for k, scale, gain in choice.candidates]
            for choice in choices
        ],
    }

    def refit(again: Again, progress: Progress) -> list[GaussianMixture]:
        with resumable(journal, progress):
            return [
                _Part(i, parts.side, settings, progress, journal.of(f"{PARTS[i]} again")).fitted(
                    again.halves[i - 1], choices[i]
                )
                for i in (1, 2)
            ]

    return Fitted(mixtures, summary, tuple(choices), None if parts.earlier else refit)


@dataclass(frozen=True, slots=True)
class _Part:
    """How one of `PARTS` is fitted."""

    number: int
    side: int
    settings: ReconstructionSettings
    progress: Progress
    journal: Journal

    @property
    def schedule(self) -> Schedule:
        """The schedule that steps are chosen on, and run on."""
        steps = self.settings.steps
        return Schedule() if steps is None else Schedule(steps=steps)

    def steps_from(self, first: GaussianMixture, half: HalfSet) -> Choice:
        """How many steps unseen particles allow from a given start."""
        train, held_out = (
            QuadraticForm(half.train, self.side),
            QuadraticForm(half.held_out, self.side),
        )
        trial = fit(
            train,
            first.to(train.linear.device),
            self.schedule,
            held_out,
            journal=self.journal.of("trial"),
        )
        steps = self.settings.steps if self.settings.steps is not None else trial.step
        scale = float(first.scales.log().mean().exp()) / train.grid.pixel_size
        return Choice(first.copies * len(first), scale, steps, trial.history)

    def choose(self, half: HalfSet) -> Choice:
        """Scale, number of Gaussians and steps, by held-out particles."""
        name, wanted = PARTS[self.number], self.settings.gaussians
        train, held_out = (
            QuadraticForm(half.train, self.side),
            QuadraticForm(half.held_out, self.side),
        )
        positive = density(train)
        gaussians = round(
            effective_voxels(positive) / VOXELS_PER_GAUSSIAN if wanted is None else wanted / MEMBERS
        )

        def start(k: int, scale: float, generator: torch.Generator) -> GaussianMixture:
            return start_in_density(train, positive, k, scale, generator, self.settings.symmetry)

        with self.progress.stage(f"choosing Gaussians, {name}", None, "trials") as stage:
            choice = Selection(
                train, held_out, self.schedule, start, lambda: stream(self.settings, self.number),
                lambda: stage.advance(1), self.journal.of("choice"),
            ).choose(gaussians, vary_number=wanted is None)  # fmt: skip
        if self.settings.steps is not None:
            choice = replace(choice, steps=self.settings.steps)
        self.progress.say(f"{name}: {described(choice, half.train.grid)}")
        return choice

    def fitted(
        self, statistics: Statistics, choice: Choice, first: GaussianMixture | None = None
    ) -> GaussianMixture:
        """The mean of independent fits with different first positions; or one fit from ``first``."""
        form = QuadraticForm(statistics, self.side)
        schedule = replace(self.schedule, stop=choice.steps)
        members = MEMBERS if first is None else 1
        positive = cache(lambda: density(form))

        def start(member: int, journal: Journal) -> GaussianMixture:
            if first is not None:
                return first.to(statistics.backprojection.device)
            generator, symmetry = stream(self.settings, self.number, member), self.settings.symmetry
            k, scale = choice.gaussians, choice.scale
            if self.settings.start == "statistics":
                return start_in_density(form, positive(), k, scale, generator, symmetry)
            return march(
                statistics, self.side, k, scale, self.schedule, generator, symmetry, journal
            )

        fits = []
        title = f"fitting {PARTS[self.number]}"
        with self.progress.stage(title, members * choice.steps, "steps") as stage:
            for member in range(1, members + 1):
                journal = self.journal.of(f"member {member}")
                fits.append(
                    fit(
                        form, partial(start, member, journal), schedule,
                        watchers=[counted(stage.advance)], journal=journal,
                    )
                )  # fmt: skip
        return mean_of([found.mixture for found in fits]).to("cpu")


def described(choice: Choice, grid: Grid) -> str:
    """A choice in words."""
    return (
        f"{MEMBERS} x {choice.gaussians:,} Gaussians, first {choice.scale * grid.pixel_size:.1f} Å "
        f"wide, {choice.steps} steps"
    )

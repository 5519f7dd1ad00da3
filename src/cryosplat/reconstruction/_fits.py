"""Fits to statistics: what held-out particles choose, and the mean of independent fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import scipy.fft
import torch
from torch import Tensor

from ..batch import Batch
from ..fitting import (
    Choice,
    Fit,
    Schedule,
    Selection,
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
    parts: Parts, settings: ReconstructionSettings, progress: Progress
) -> Fitted:
    """For each of the three: choose by held-out particles, then fit to all of its particles."""
    choices, mixtures = [], []
    for number, part in enumerate(parts.sets):
        name = PARTS[number]
        first = None if parts.earlier is None else parts.earlier[number]
        with parts.clock(f"selection, {name}"):
            if first is None:
                choice = choose(part, parts.side, settings, number, progress)
            else:
                choice = steps_from(first, part, parts.side, settings)
            choices.append(choice)
        with parts.clock(f"fit, {name}"):
            whole = part.whole()
            if first is None:
                mixture = fit_members(whole, parts.side, choice, settings, number, progress)
            else:
                schedule = schedule_of(settings)
                mixture = fit_on(whole, parts.side, first, choice, schedule, name, progress)
            mixtures.append(mixture)
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
        return [
            fit_members(again.halves[i - 1], parts.side, choices[i], settings, i, progress)
            for i in (1, 2)
        ]

    return Fitted(mixtures, summary, tuple(choices), None if parts.earlier else refit)


def steps_from(
    first: GaussianMixture, half: HalfSet, side: int, settings: ReconstructionSettings
) -> Choice:
    """How many steps unseen particles allow from a given start."""
    train, held_out = QuadraticForm(half.train, side), QuadraticForm(half.held_out, side)
    trial = fit(train, first, schedule_of(settings), held_out)
    steps = settings.steps if settings.steps is not None else trial.step
    scale = float(first.scales.log().mean().exp()) / train.grid.pixel_size
    return Choice(first.copies * len(first), scale, steps, trial.history)


def fit_on(
    statistics: Statistics,
    side: int,
    first: GaussianMixture,
    choice: Choice,
    schedule: Schedule,
    name: str,
    progress: Progress,
) -> GaussianMixture:
    """Fit from a given start, on the schedule that the steps were chosen on."""
    form = QuadraticForm(statistics, side)
    with progress.stage(f"fitting {name}", choice.steps, "steps") as stage:
        return fit(
            form, first, schedule, stop=choice.steps, on_step=lambda: stage.advance(1)
        ).mixture


def choose(
    half: HalfSet, side: int, settings: ReconstructionSettings, number: int, progress: Progress
) -> Choice:
    """Scale, number of Gaussians and steps for one of `PARTS`, by its own held-out particles."""
    name = PARTS[number]
    train, held_out = QuadraticForm(half.train, side), QuadraticForm(half.held_out, side)
    positive = density(train)
    wanted = settings.gaussians
    gaussians = round(
        effective_voxels(positive) / VOXELS_PER_GAUSSIAN if wanted is None else wanted / MEMBERS
    )

    def start(k: int, scale: float, generator: torch.Generator) -> GaussianMixture:
        return start_in_density(train, positive, k, scale, generator, settings.symmetry)

    schedule = schedule_of(settings)
    with progress.stage(f"choosing Gaussians, {name}", None, "trials") as stage:
        selection = Selection(
            train, held_out, schedule, start, lambda: stream(settings, number),
            lambda: stage.advance(1),
        )  # fmt: skip
        choice = selection.choose(gaussians, vary_number=wanted is None)
    if settings.steps is not None:
        choice = replace(choice, steps=settings.steps)
    progress.say(f"{name}: {described(choice, half.train.grid)}")
    return choice


def schedule_of(settings: ReconstructionSettings) -> Schedule:
    """The schedule of a fit."""
    return Schedule() if settings.steps is None else Schedule(steps=settings.steps)


def fit_members(
    statistics: Statistics,
    side: int,
    choice: Choice,
    settings: ReconstructionSettings,
    number: int,
    progress: Progress,
) -> GaussianMixture:
    """The mean of independent fits of one of `PARTS` with different first positions."""
    form = QuadraticForm(statistics, side)
    schedule = schedule_of(settings)
    positive = density(form) if settings.start == "statistics" else None
    fits: list[Fit] = []
    with progress.stage(f"fitting {PARTS[number]}", MEMBERS * choice.steps, "steps") as stage:
        for member in range(MEMBERS):
            generator = stream(settings, number, member + 1)
            k, scale = choice.gaussians, choice.scale
            if positive is None:
                start = march(statistics, side, k, scale, schedule, generator, settings.symmetry)
            else:
                start = start_in_density(form, positive, k, scale, generator, settings.symmetry)
            fits.append(
                fit(form, start, schedule, stop=choice.steps, on_step=lambda: stage.advance(1))
            )
    return mean_of([one.mixture for one in fits])


def described(choice: Choice, grid: Grid) -> str:
    """A choice in words."""
    return (
        f"{MEMBERS} x {choice.gaussians:,} Gaussians, first {choice.scale * grid.pixel_size:.1f} Å "
        f"wide, {choice.steps} steps"
    )

"""Fits to statistics: what held-out particles choose, and the mean of independent fits."""

from __future__ import annotations

from dataclasses import replace

import scipy.fft
import torch
from torch import Tensor

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
from ..mixture import GaussianMixture, mean_of
from ..progress import Progress
from ..settings import ReconstructionSettings
from ..statistics import QuadraticForm, Statistics
from ..validation.mask import soft_mask
from ._data import HalfSet

MEMBERS = 2  # independent fits whose mean is the map; see docs/decisions
VOXELS_PER_GAUSSIAN = 4


def fitted_side(voxel_map: Tensor, grid: Grid) -> int:
    """Side in voxels of the cube around the rotation centre that holds the molecule."""
    inside = (soft_mask(voxel_map, grid) > 0.0).nonzero() - grid.centre
    reach = int(inside.abs().max()) + 2 if len(inside) else grid.centre
    side = scipy.fft.next_fast_len(2 * reach, real=True)
    side += side % 2
    return side if side < 0.95 * grid.box_size else grid.box_size


def choose(
    half: HalfSet, side: int, settings: ReconstructionSettings, name: str, progress: Progress
) -> Choice:
    """Scale, number of Gaussians and steps for one half-set, by its own held-out particles."""
    train, held_out = QuadraticForm(half.train, side), QuadraticForm(half.held_out, side)
    positive = density(train)
    wanted = settings.gaussians
    number = round(
        effective_voxels(positive) / VOXELS_PER_GAUSSIAN if wanted is None else wanted / MEMBERS
    )

    def start(k: int, scale: float, generator: torch.Generator) -> GaussianMixture:
        return start_in_density(train, positive, k, scale, generator)

    schedule = schedule_of(settings)
    with progress.stage(f"choosing Gaussians, {name}", None, "trials") as stage:
        selection = Selection(
            train, held_out, schedule, start, settings.seed, lambda: stage.advance(1)
        )
        choice = selection.choose(number, vary_number=wanted is None)
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
    name: str,
    progress: Progress,
) -> GaussianMixture:
    """The mean of independent fits with different first positions."""
    form = QuadraticForm(statistics, side)
    schedule = schedule_of(settings)
    positive = density(form) if settings.start == "statistics" else None
    fits: list[Fit] = []
    with progress.stage(f"fitting {name}", MEMBERS * choice.steps, "steps") as stage:
        for member in range(MEMBERS):
            seed = settings.seed + 1000 * (member + 1)
            generator = torch.Generator().manual_seed(seed)
            k, scale = choice.gaussians, choice.scale
            if positive is None:
                start = march(statistics, side, k, scale, schedule, generator)
            else:
                start = start_in_density(form, positive, k, scale, generator)
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

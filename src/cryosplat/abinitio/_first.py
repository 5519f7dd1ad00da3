"""The first level: a map from random orientations, in boxes of 16 pixels.

Stochastic expectation maximisation. In each step a batch of images is softly assigned to orientations
that cover all of them, turned at random; the sums enter statistics that forget, and a mixture of
Gaussians takes one step towards them. The temperature of the assignment falls, the frequency limit
rises, and the batches grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..fitting import Encoding, Learner, Schedule
from ..grid import Grid
from ..mixture import GaussianMixture
from ..splatting import voxelize
from ..statistics import QuadraticForm, Statistics
from ._assignment import assign, log_likelihoods, observed, temperature_for
from ._images import SmallImages
from ._orientations import at_random, count_at, evenly
from ._search import CROSS
from ._slices import slices_at, transform_of
from ._statistics import statistics_of

BOX, PADDING = 16, 3
SAMPLE = 64  # images that the temperature is found from


@dataclass(frozen=True, slots=True)
class FirstLevel:
    """How the first map is made. Pairs are values at the first and at the last step.

    ``limits``: of frequency, in steps of ``1 / side``; ``batches``: images; ``poses``: effective
    orientations of an image, in parts of all; ``shifts_from``: the frequency limit from which centres
    are searched, at ``shift_steps`` box sides about the present ones. ``spacing``: of orientations,
    over the limit, in radian. ``least_temperature``: 1 is the posterior.
    """

    steps: int = 250
    gaussians: int = 120
    limits: tuple[float, float] = (3.2, 6.5)
    batches: tuple[int, int] = (300, 800)
    poses: tuple[float, float] = (0.2, 0.004)
    spacing: float = 1.7
    shifts_from: float = 5.0
    shift_steps: tuple[float, float] = (0.04, 0.02)
    least_temperature: float = 1.0
    forgetting: float = 0.9
    width: float = 1.2  # pixels: first deviation of the Gaussians
    spread: float = 0.13  # of the box: deviation of their first means
    rate: float = 0.12  # pixels: step of the means


Watch = Callable[[int, GaussianMixture, float], None]


@dataclass(frozen=True, slots=True)
class First:
    """A ``mixture``, and where it sees the ``centres`` (n, 2) of images, in box sides."""

    mixture: GaussianMixture
    centres: Tensor


def first_map(
    images: SmallImages,
    centres: Tensor,
    deviation: float,
    level: FirstLevel,
    generator: torch.Generator,
    watch: Watch = lambda step, mixture, temperature: None,
) -> First:
    """A map of ``images``, from random Gaussians and random orientations.

    ``centres`` (n, 2): to begin with, in box sides; ``deviation``: of the normal prior of each of
    their coordinates about 0. ``watch`` is told the step, the mixture and the temperature.
    """
    grid = Grid(BOX, images.side / BOX)
    schedule = _schedule(level)
    device = images.device
    start = _random_mixture(grid, level, generator).to(device)
    encoding = Encoding.of([start], grid.pixel_size, schedule.floor)
    learner = Learner([encoding.encode(start)], ["C1"], encoding, schedule, 0)
    centres = centres.clone()
    past = Statistics.zero(grid).to(device)
    temperature = 1.0
    for step in range(level.steps):
        t = step / max(1, level.steps - 1)
        limit = _between(level.limits, t)
        m = images.columns(limit)
        points = images.points[:m]
        batch = torch.randperm(len(images), generator=generator)[
            : round(_between(level.batches, t))
        ]
        turn = at_random(1, generator)[0]
        n_poses = count_at(level.spacing / limit)
        rotations = evenly(n_poses) @ turn
        offsets = torch.zeros(1, 2, device=device)
        if limit >= level.shifts_from:
            offsets = CROSS.to(device) * _between(level.shift_steps, t)
        shifts = centres[batch, None] + offsets
        prior = torch.log_softmax(-0.5 * shifts.square().sum(-1) / deviation**2, -1)
        seen = observed(
            images.values[batch, :m], images.precisions[batch, :m], points, shifts, prior
        )
        (mixture,) = learner.mixtures()
        volume = voxelize(mixture, grid)
        if step == 0:
            sums = _at_random(seen.moved[:, 0], seen.precisions, n_poses, generator)
        else:
            slices = slices_at(transform_of(volume, PADDING), rotations, points, PADDING)
            sample = log_likelihoods(seen.select(slice(0, SAMPLE)), slices).amax(1)
            wanted = n_poses * _between(level.poses, t, math.log)
            temperature = temperature_for(sample, wanted, level.least_temperature, temperature)
            assigned = assign(seen, slices, temperature)
            sums = assigned.sums
            centres[batch] = (assigned.centres[:, :, None] * shifts).sum(1)
        present = statistics_of(sums, rotations, points, grid, len(batch))
        past = level.forgetting * past + present
        form = QuadraticForm(past, BOX)
        factor = form.line_search(volume)
        factor = max(factor, 1e-3) if step == 0 else min(max(factor, 0.8), 1.25)
        learner.encoding = replace(learner.encoding, mass=learner.encoding.mass * factor)
        form(volume * factor).backward()
        learner.update()
        _recentre(learner)
        watch(step, mixture, temperature)
    (mixture,) = learner.mixtures()
    return First(_detached(mixture), centres)


def _schedule(level: FirstLevel) -> Schedule:
    rate = level.rate
    rates = rate, 0.15 * rate, 0.1 * rate, 0.2 * rate
    return Schedule(level.steps, rates, decay=1.0, betas=(0.8, 0.99))


def _between(ends: tuple[float, float], t: float, scale: Callable[[float], float] | None = None):
    """The value at ``t`` in 0 .. 1 between two ends; of equal ratios where ``scale`` is log."""
    if scale is None:
        return ends[0] + t * (ends[1] - ends[0])
    return ends[0] * (ends[1] / ends[0]) ** t


def _random_mixture(grid: Grid, level: FirstLevel, generator: torch.Generator) -> GaussianMixture:
    k = level.gaussians
    means = torch.randn(k, 3, generator=generator) * level.spread * grid.side
    scales = torch.full((k, 3), level.width * grid.pixel_size)
    quaternions = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(k, 1)
    return GaussianMixture(means, scales, quaternions, torch.full((k,), 1.0 / k))


def _at_random(
    values: Tensor, precisions: Tensor, n_poses: int, generator: torch.Generator
) -> Tensor:
    """Sums of images that are each put at one orientation, drawn at random."""
    columns = torch.cat([values, precisions], 1)
    drawn = torch.randint(n_poses, (len(values),), generator=generator).to(values.device)
    return columns.new_zeros(n_poses, columns.shape[1]).index_add_(0, drawn, columns)


def _recentre(learner: Learner) -> None:
    """Take a fifth of the centre of mass off the means."""
    (values,) = learner.parameters
    weights = torch.nn.functional.softplus(values["amplitudes"].detach())
    means = values["means"]
    with torch.no_grad():
        means -= 0.2 * (weights[:, None] * means).sum(0) / weights.sum()


def _detached(mixture: GaussianMixture) -> GaussianMixture:
    return GaussianMixture(
        mixture.means.detach(), mixture.scales.detach(), mixture.quaternions.detach(),
        mixture.amplitudes.detach(),
    )  # fmt: skip

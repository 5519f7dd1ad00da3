"""Levels after the first: both half-sets by themselves, poses about the best few, finer and finer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import fourier
from ..fitting import Schedule, StatisticsTerm, density, descend, start_in_density
from ..grid import Grid
from ..maps.fsc import first_below, fourier_shell_correlation
from ..mixture import GaussianMixture
from ..splatting import voxelize
from ..statistics import QuadraticForm, Statistics
from ._assignment import phases
from ._images import SmallImages
from ._orientations import at_random, count_at, evenly
from ._search import (
    CROSS,
    KEPT,
    WIDE_CROSS,
    WIDTH,
    Candidates,
    Template,
    assigned_everywhere,
    searched_near,
)
from ._statistics import statistics_of

BOX, PADDING = 32, 2
LEAST_WEIGHT = 0.02  # of an orientation of an image, to enter the sums
GRIDDED = 4000  # slices at a time


@dataclass(frozen=True, slots=True)
class SecondLevel:
    """How poses are refined in boxes of 32 pixels.

    ``limits``: of frequency, in steps of ``1 / side``, one for each round; in the first ``everywhere``
    of them all orientations are looked at, afterwards those about some that were drawn, ``spacing``
    over the limit (radian) apart. Rounds at the last limit follow until an image gains less than
    ``settled`` nats by one, ``more`` of them at most: where an image tells little, many are needed.
    ``images``: of each half-set in a round, at most; all in the last.
    """

    limits: tuple[float, ...] = (6.5, 8.0, 9.0, 10.0, 11.0, 12.5, 14.0)
    more: int = 8
    settled: float = 0.2
    everywhere: int = 2
    gaussians: int = 300
    spacing: float = 1.7
    beyond: float = 3.0
    images: int = 5000
    steps: int = 20
    shift_step: float = 0.25  # over the limit, in box sides
    worth: float = 0.143  # FSC of the halves: what lies two shells beyond is not looked at

    @property
    def rounds(self) -> int:
        """At most."""
        return len(self.limits) + self.more


@dataclass(frozen=True, slots=True)
class Half:
    """A half-set: the ``mixture`` of its own images, and where each of them lies in it."""

    mixture: GaussianMixture
    poses: Candidates


Watch = Callable[[int, tuple[Half, Half], Tensor], None]


def refined(
    images: tuple[SmallImages, SmallImages],
    begin: tuple[Half, Half],
    deviation: float,
    level: SecondLevel,
    generators: tuple[torch.Generator, torch.Generator],
    watch: Watch = lambda number, halves, fsc: None,
) -> tuple[tuple[Half, Half], Tensor]:
    """Both half-sets, each against the mixture of its own images alone, and the FSC of their maps.

    Images are assigned to the mixtures that they ``begin`` with. Where these are one and the same, in
    rounds that look everywhere, it is used below the first limit only, and the halves' mixtures begin
    anew in the densities of their own images, so that what agrees beyond that limit is found twice.

    ``watch`` is told the round, the halves and the FSC of their maps.
    """
    side = images[0].side
    grid = Grid(BOX, side / BOX)
    halves = list(begin)
    reached, angles = level.limits[0], [level.spacing / level.limits[level.everywhere]] * 2
    gain = torch.ones(grid.n_shells, dtype=torch.float64)
    before = limit = 0.0
    settled = False
    for number in range(level.rounds):
        wanted, coarser = level.limits[min(number, len(level.limits) - 1)], limit
        limit = min(wanted, max(reached, level.limits[0]))
        everywhere = number < level.everywhere
        end = min(limit + level.beyond, 0.5 * BOX)
        last = settled or number == level.rounds - 1
        some = not everywhere and not last
        evidence = 0.0
        for h in (0, 1):
            own, half = images[h], halves[h]
            rows = torch.arange(len(own))
            if some and len(own) > level.images:
                rows = torch.randperm(len(own), generator=generators[h])[: level.images].sort()[0]
            volume = weighted(voxelize(half.mixture, grid), gain)
            template = Template.of(volume, PADDING, limit, deviation)
            seen, known = own.select(rows), half.poses.select(rows)
            step = level.shift_step / limit
            if everywhere:
                turn = at_random(1, generators[h])[0]
                rotations = evenly(count_at(level.spacing / limit)) @ turn
                found, sums = assigned_everywhere(
                    seen, template, rotations, known.centres, step, end, generators[h],
                    CROSS if number else WIDE_CROSS,
                )  # fmt: skip
                statistics = gridded(sums, rotations, own.points[: own.columns(end)], grid)
                mixture = begun(statistics, level, generators[h])
            else:
                g = generators[h]
                found = searched_near(
                    seen, template, known, angles[h], step, g, lambda c, g=g: c.drawn(KEPT, g)
                )
                angles[h] = next_angle(angles[h], found)
                statistics = sums_of(seen, found, grid, end)
                mixture = fitted(statistics, half.mixture, level.steps)
            halves[h] = Half(mixture, half.poses.put(rows, found))
            evidence += 0.5 * float(found.evidence.double().mean())
        fsc = fourier_shell_correlation(*(voxelize(half.mixture, grid).cpu() for half in halves))
        reached = reached_by(fsc, level.worth)
        gain = believed(fsc)
        watch(number, (halves[0], halves[1]), fsc)
        if last:
            break
        finest = number >= len(level.limits) - 1 and abs(limit - coarser) < 0.5
        settled = finest and evidence - before < level.settled
        before = evidence
    return (halves[0], halves[1]), fsc


def reached_by(fsc: Tensor, worth: float) -> float:
    """The frequency below which all shells of an FSC are worth looking at."""
    return min(first_below(fsc, worth) - 0.5, 0.5 * BOX)


def believed(fsc: Tensor) -> Tensor:
    """Per shell, how much of a half-map's amplitude is signal, by the FSC of the two: F itself.

    Nothing beyond the first shell where F falls to zero. (The Wiener filter of a map whose noise is as
    strong as that of the other.)
    """
    kept = (fsc > 0.0).long().cumprod(0)
    return fsc.clamp(0.0, 1.0) * kept


def weighted(volume: Tensor, gain: Tensor) -> Tensor:
    """A map (d, d, d) with its shells multiplied by ``gain`` (d // 2 + 1,), and no corners."""
    shells = fourier.shells(tuple(volume.shape))
    whole = torch.cat([gain, gain.new_zeros(int(shells.max()) + 1 - len(gain))])
    return fourier.filter(volume.detach(), whole[shells].to(volume.device), 3)


def next_angle(angle: float, found: Candidates) -> float:
    """How far apart to try orientations next: so that a few share most of an image's weight."""
    return angle * min(max((float(found.shared.mean()) / WIDTH) ** (1.0 / 3.0), 0.6), 1.4)


def begun(
    statistics: Statistics, level: SecondLevel, generator: torch.Generator
) -> GaussianMixture:
    """A mixture that owes nothing to an earlier one: drawn from the density of ``statistics``."""
    form = QuadraticForm(statistics, statistics.grid.box_size)
    start = start_in_density(form, density(form), level.gaussians, 1.2, generator)
    return fitted(statistics, start, 3 * level.steps)


def sums_of(images: SmallImages, poses: Candidates, grid: Grid, limit: float) -> Statistics:
    """The statistics of ``images`` at their likeliest poses, each with its weight."""
    m = images.columns(limit)
    points = images.points[:m]
    moved = images.values[:, :m] * phases(poses.centres, points)
    columns = torch.cat([moved.real, moved.imag, images.precisions[:, :m]], 1)
    image, which = (poses.weights > LEAST_WEIGHT).nonzero(as_tuple=True)
    weights = poses.weights * poses.shown[:, None]
    sums = columns[image] * weights[image, which][:, None]
    return gridded(sums, poses.rotations[image, which].double().cpu(), points, grid)


def gridded(sums: Tensor, rotations: Tensor, points: Tensor, grid: Grid) -> Statistics:
    """`statistics_of` sums, a few of which are gridded at a time."""
    total = Statistics.zero(grid).to(sums.device)
    for part in torch.arange(len(sums)).split(GRIDDED):
        total = total + statistics_of(sums[part], rotations[part], points, grid, len(part))
    return total


def fitted(statistics: Statistics, mixture: GaussianMixture, steps: int) -> GaussianMixture:
    """``mixture`` after some steps towards the least squares of ``statistics``."""
    grid = statistics.grid
    term = StatisticsTerm(QuadraticForm(statistics, grid.box_size))
    schedule = Schedule(steps, (0.12, 0.06, 0.04, 0.06), decay=0.3, betas=(0.8, 0.99))
    return descend(term, mixture, schedule).mixture


def unplaced(centres: Tensor) -> Candidates:
    """Images of which only the centres are known."""
    n, device = len(centres), centres.device
    rotations = torch.eye(3, device=device).expand(n, KEPT, 3, 3).contiguous()
    weights = torch.full((n, KEPT), 1.0 / KEPT, device=device)
    ones = torch.ones(n, device=device)
    return Candidates(
        rotations, weights, weights.log(), centres, torch.zeros_like(ones), ones, ones
    )

"""Before states are looked for: half-sets, noise, all images at few points, one map of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import device_of, device_title
from ..errors import InputError
from ..fitting import Encoding, Schedule, density, effective_voxels, fit, start_in_density
from ..grid import Grid
from ..noise import NoiseModel
from ..particles import Particles, downsampled
from ..progress import ONE_MAP, Progress
from ..reconstruction import Polarity
from ..reconstruction.preparing import measured_noise, with_half_sets
from ..statistics import Accumulator, QuadraticForm, Statistics
from ..validation.polarity import polarity_score
from ._expectation import Assumptions, expected, products_with
from ._learning import Plan, evidence, learn, volumes_of
from .models import Single
from .observations import Observations, Observer
from .values import StateSettings

WIDTH, FLOOR = 1.2, 0.4  # pixels: first width, least scale
PER_VOXEL = 0.3  # Gaussians for each voxel that the density fills
FEWEST_GAUSSIANS, MOST_GAUSSIANS = 120, 800
FEWEST_PARTICLES = 50  # in each half-set
COOLEST, HOTTEST = 1.5, 8.0  # first temperatures
SPREADS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)  # of the images' contrast about 1
SINGLE = Plan(iterations=15, batch=1500, hottest=1.0, decay=0.3)


@dataclass(frozen=True, slots=True)
class One:
    """The map of one state: its learnable numbers, and what goes with them."""

    model: Single
    given: Assumptions

    @property
    def shared(self) -> dict[str, Tensor]:
        """The numbers that states share to begin with."""
        return self.model.values

    @property
    def encoding(self) -> Encoding:
        """How they are learned."""
        return self.model.encoding


@dataclass(frozen=True, slots=True)
class Prepared:
    """Particles, ``seen`` at few points, the ``rows`` of both half-sets, and ``ones`` map of each."""

    settings: StateSettings
    particles: Particles
    drew_half_sets: bool
    grid: Grid
    noise: NoiseModel
    polarity: Polarity
    seen: Observations
    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    ones: tuple[One, One]

    def hottest(self, half: int) -> float:
        """The temperature to begin at: states differ by a part of what images say at all."""
        one, rows = self.ones[half], self.rows[half]
        nats = float(evidence(one.model, one.given, self.seen, rows).mean())
        return min(max(0.1 * nats, COOLEST), HOTTEST)

    @property
    def everyone(self) -> NDArray[np.int64]:
        """The rows of all particles."""
        return np.arange(len(self.seen))


def prepare(particles: Particles, settings: StateSettings, progress: Progress) -> Prepared:
    """Read the images once. Raises `InputError` where there are too few, and what reading raises."""
    generator = torch.Generator().manual_seed(settings.seed)
    drew = not particles.has_half_sets
    particles = with_half_sets(particles, generator, progress)
    halves = [np.flatnonzero(particles.half_sets.numpy() == half) for half in (1, 2)]
    for half, rows in enumerate(halves, 1):
        if len(rows) < FEWEST_PARTICLES:
            raise InputError(
                f"{particles.source}: half-set {half} holds {len(rows)} particles, expected at least "
                f"{FEWEST_PARTICLES} to tell states apart.\n  Remedy: use more particles."
            )
    small = particles
    if particles.box_size > settings.box:
        small = downsampled(particles, settings.box)
    grid = Grid(small.box_size, small.pixel_size)
    noise = measured_noise(small, progress)
    device = device_of(settings.device)
    if device.type != "cpu":
        progress.say(f"Computing on {device_title(device)}.")
    seen, statistics = _read(small, grid, noise, device, progress)
    polarity = _polarity(statistics, settings, progress)
    if polarity.sign < 0.0:
        seen = seen.inverted()
        statistics = [own.inverted() for own in statistics]
    forms = [QuadraticForm(own, grid.box_size) for own in statistics]
    k = settings.gaussians or _gaussians(forms)
    with progress.stage(f"{ONE_MAP} {k} Gaussians", 2, "half-sets") as stage:
        ones = []
        for form, rows in zip(forms, halves, strict=True):
            ones.append(_one(form, seen, rows, k, generator))
            stage.advance()
    return Prepared(
        settings,
        particles,
        drew,
        grid,
        noise,
        polarity,
        seen,
        (halves[0], halves[1]),
        (ones[0], ones[1]),
    )


def _polarity(
    statistics: list[Statistics], settings: StateSettings, progress: Progress
) -> Polarity:
    """Whether protein is bright or dark in the images, by the data or as the settings say."""
    whole = statistics[0] + statistics[1]
    score = polarity_score(QuadraticForm(whole, whole.grid.box_size))
    found = "dark" if score < 0.0 else "bright"
    used = found if settings.contrast == "auto" else settings.contrast
    progress.say(
        f"Contrast: {used} protein ("
        + ("detected" if settings.contrast == "auto" else f"as given; detected: {found}")
        + f", {abs(score):.0f} σ)."
    )
    return Polarity(used, found, score)


def _read(
    particles: Particles, grid: Grid, noise: NoiseModel, device: torch.device, progress: Progress
) -> tuple[Observations, list[Statistics]]:
    observer = Observer(len(particles), grid, noise, device)
    sums = [Accumulator(grid, noise) for _ in range(2)]
    with progress.stage("reading images", len(particles), "images") as stage:
        for batch in particles.batches():
            observer.add(batch)
            own = particles.half_sets[batch.index]
            for half in (1, 2):
                members = (own == half).nonzero().squeeze(1)
                if len(members):
                    sums[half - 1].add(batch.select(members))
            stage.advance(len(batch))
    return observer.result(), [own.result() for own in sums]


def _gaussians(forms: list[QuadraticForm]) -> int:
    wanted = PER_VOXEL * effective_voxels(density(forms[0] + forms[1]))
    return int(np.clip(round(wanted), FEWEST_GAUSSIANS, MOST_GAUSSIANS))


def _one(
    form: QuadraticForm, seen: Observations, rows: NDArray[np.int64], k: int,
    generator: torch.Generator,
) -> One:  # fmt: skip
    """The map of a half-set, learned in the same way as states are, so that these are no better off."""
    start = start_in_density(form, density(form), k, WIDTH, generator)
    found = fit(form, start, Schedule(steps=40, floor=FLOOR)).mixture
    encoding = Encoding.of([found], form.grid.pixel_size, FLOOR)
    model = Single(encoding.encode(found), encoding)
    given = learn(model, Assumptions.even(1), seen, rows, SINGLE, generator)
    return One(model, replace(given, spread=_contrast_spread(model, given, seen, rows)))


def _contrast_spread(
    model: Single, given: Assumptions, seen: Observations, rows: NDArray[np.int64]
) -> float:
    """By how much the images' contrast differs: what explains them best under one map."""
    with torch.no_grad():
        products = products_with(seen, rows, volumes_of(model, seen))
    found = [float(expected(products, replace(given, spread=s)).evidence.mean()) for s in SPREADS]
    return SPREADS[int(np.argmax(found))]

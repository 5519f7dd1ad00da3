"""Which of several readings of a table do the images prefer? Held-out likelihood decides.

A hypothesis is another reading of the poses and optics of the same images. Under each one a small
voxel map is made from one half of a sample, and every image of the other half is compared with its
projection; then the halves change places. With the prediction ``x`` of an image ``y`` the
log-likelihood over that of an empty map is ``<y, x> - |x|^2 / 2``, both weighted by the noise. No
correction for the number of parameters is needed, as no image tests a map that it is part of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..batch import Batch
from ..formation import VolumeProjector
from ..grid import Grid
from ..maps.fsc import fourier_shell_correlation
from ..noise import NoiseModel, estimate_noise
from ..optics import Optics
from ..particles import Particles, downsampled
from ..poses import Poses
from ..statistics import QuadraticForm, Statistics, accumulate, shell_means, solve
from ..validation.likelihood import log_likelihoods

BOX = 48  # pixels; what is wrong with a table shows at low resolution
SMALLEST_BOX = 16
FIRST_STEPS, STEPS = 3, 4  # of conjugate gradients, for the FSC of the folds and for their maps
FIRST_PENALTY = 0.1
LEAST_FSC = 0.01

Transform = Callable[[Poses, Optics], tuple[Poses, Optics]]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A reading of the table, as a change of its poses and optics.

    Several ``transforms`` are several views of each image, as symmetry gives: the map is made from
    all of them, and an image's likelihood is the mean over its views. A transform may change the
    optics groups but not their number, box or pixel size, and returns the very same optics where it
    does not change them.
    """

    name: str
    transforms: tuple[Transform, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of images: cropped to a small box, in two folds (n,) of 0 and 1, with their noise.

    ``units`` (n,): images of equal number, such as the tilts of one particle, are in one fold and
    count once.
    """

    batches: tuple[Batch, ...]
    units: Tensor
    folds: Tensor
    noise: NoiseModel
    grid: Grid

    def __len__(self) -> int:
        return len(self.folds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The score of a hypothesis: ``gains`` (n,), each held-out image's log-likelihood in nats over
    an empty map's, in the order of the sample; ``statistics`` of all its images."""

    hypothesis: Hypothesis
    gains: Tensor
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class Ratio:
    """A log-likelihood ratio of held-out images: ``nats``, its standard ``error``, and the least of
    the two folds' own ratios over their errors."""

    nats: float
    error: float
    worse_fold: float

    @property
    def deviations(self) -> float:
        """The ratio in standard errors."""
        return self.nats / self.error if self.error > 0.0 else 0.0


UNCHANGED = Hypothesis("unchanged", (lambda poses, optics: (poses, optics),))
"""The table as it stands."""


def independent_units(particles: Particles) -> NDArray[np.int64]:
    """Equal numbers (n,) from 0 for tilt images of one particle, and for rows with one image."""
    images = particles.images
    image = images.stack * (int(images.section.max(initial=0)) + 1) + images.section
    tilts = particles.tilt_particles
    return np.unique(image if tilts is None else tilts, return_inverse=True)[1].astype(np.int64)


def draw_sample(particles: Particles, positions: Tensor, box_size: int = BOX) -> Sample:
    """Read the images ``positions`` of ``particles``, cropped to at most ``box_size`` pixels."""
    particles = particles[positions.sort().values]
    box = min(box_size, particles.box_size // 2 * 2)
    if box >= SMALLEST_BOX and box < particles.box_size:
        particles = downsampled(particles, box)
    batches = tuple(particles.batches())
    generator = torch.Generator().manual_seed(0)
    units = torch.from_numpy(independent_units(particles))
    n_units = int(units.max()) + 1
    fold = torch.empty(n_units, dtype=torch.int64)
    fold[torch.randperm(n_units, generator=generator)] = torch.arange(n_units) % 2
    noise = estimate_noise(batches, particles.cut_to_circle())
    grid = Grid(particles.box_size // 2 * 2, particles.pixel_size * particles.box_size
                / (particles.box_size // 2 * 2))  # fmt: skip
    return Sample(batches, units, fold[units], noise, grid)


def evaluate(sample: Sample, hypothesis: Hypothesis) -> Outcome:
    """Make maps of both folds under a hypothesis and compare each with the other fold's images."""
    views = [
        [reinterpret(batch, transform) for batch in sample.batches]
        for transform in hypothesis.transforms
    ]
    parts = accumulate(chain.from_iterable(views), sample.folds, 2, sample.grid, sample.noise)
    maps = _maps(parts)
    gains = torch.zeros(len(sample), dtype=torch.float64)
    for batch in chain.from_iterable(views):
        for fold in (0, 1):
            members = (sample.folds[batch.index] == fold).nonzero().squeeze(1)
            part = batch.select(members)
            gains[part.index] += log_likelihoods(maps[1 - fold], part, sample.noise)
    return Outcome(hypothesis, gains / len(views), parts[0] + parts[1])


def ratio(outcome: Outcome, reference: Outcome, sample: Sample) -> Ratio:
    """How much more likely the images are under ``outcome`` than under ``reference``, pairwise."""
    difference = outcome.gains - reference.gains
    n_units = int(sample.units.max()) + 1
    sums = torch.zeros(n_units, dtype=torch.float64).index_add(0, sample.units, difference)
    fold = torch.zeros(n_units, dtype=torch.int64)
    fold[sample.units] = sample.folds
    if n_units < 4:
        return Ratio(float(sums.sum()), 0.0, 0.0)
    deviations = []
    for part in (sums[fold == 0], sums[fold == 1]):
        error = float(part.std()) * len(part) ** 0.5
        deviations.append(float(part.sum()) / error if error > 0.0 else 0.0)
    return Ratio(float(sums.sum()), float(sums.std()) * n_units**0.5, min(deviations))


def reinterpret(batch: Batch, transform: Transform) -> Batch:
    """The same stored images with the poses and optics of another reading."""
    return Batch(batch.index, batch.images, *transform(batch.poses, batch.optics))


def _maps(parts: Sequence[Statistics]) -> list[VolumeProjector]:
    """Wiener-filtered maps of the folds, by the FSC between them."""
    side = parts[0].grid.box_size
    forms = [QuadraticForm(part, side) for part in parts]
    first = [solve(form, FIRST_PENALTY * shell_means(form), FIRST_STEPS) for form in forms]
    fsc = fourier_shell_correlation(*first).double().numpy()
    trusted = np.clip(np.convolve(np.pad(fsc, 1, mode="edge"), np.ones(3) / 3, "valid"),
                      LEAST_FSC, 0.9999)  # fmt: skip
    maps = []
    for form in forms:
        means = shell_means(form)
        penalty = means * ((1.0 - trusted) / trusted)[: len(means)]
        maps.append(VolumeProjector(solve(form, penalty, STEPS), form.grid))
    return maps

"""From particles to statistics: half-sets, noise, one pass over the images, contrast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ..arrays import members
from ..batch import Batch
from ..errors import InputError
from ..grid import Grid
from ..noise import NoiseModel, estimate_noise_of_groups
from ..notes import Note
from ..particles import Particles, split_half_sets
from ..progress import ACCUMULATE, Progress
from ..settings import ReconstructionSettings
from ..statistics import QuadraticForm, Statistics, accumulate
from ..validation.polarity import Polarity, fitted_polarity, polarity_score

NOISE_SAMPLE = 1000  # images
LEAST_NOISE_SAMPLE = 50  # of each optics group
LARGEST_NOISE_SAMPLE = 10_000  # of all groups together
NOISE_SAMPLE_BYTES = 2**28  # of one group's images, which are in memory together
CONTRAST_BOX = 40  # pixels are enough to tell bright from dark
CONTRAST_DOUBT = 4.0  # standard deviations
FEWEST_PARTICLES = 2  # in each half-set


Halves = tuple[Statistics, Statistics]


def with_half_sets(
    particles: Particles, generator: torch.Generator, progress: Progress
) -> Particles:
    """The particles with half-sets, drawn where none were given."""
    if not particles.has_half_sets:
        particles = split_half_sets(particles, generator)
        for note in particles.notes[-1:]:
            progress.say(str(note))
    for half in (1, 2):
        n = int((particles.half_sets == half).sum())
        if n < FEWEST_PARTICLES:
            raise InputError(
                f"{particles.source}: half-set {half} holds {n} of {len(particles)} particles, "
                f"expected at least {FEWEST_PARTICLES} in each. Likely cause: a selection that "
                f"kept one half-set. Remedy: use more particles, or remove the column of half-sets "
                f"so that a random split is made."
            )
    return particles


def measured_noise(particles: Particles, progress: Progress) -> NoiseModel:
    """The noise model from a sample of the images."""
    with progress.stage("noise from image corners", None, "images"):
        optics = particles.optics
        positions = _noise_samples(optics.group, [g.box_size for g in optics.groups])
        samples = (list(particles.batches(own)) for own in positions)
        noise = estimate_noise_of_groups(samples, particles.cut_to_circle())
    if noise.circles:
        progress.say(
            "Images are blank outside a circle: their noise is measured in a ring inside it, and the "
            "half-sets cannot be tested for shared noise."
        )
    return noise


def _noise_samples(group: Tensor, box_sizes: Sequence[int]) -> Iterator[Tensor]:
    """Positions of particles that stand for all, those of each optics ``group`` (n,) there is.

    ``box_sizes``: of the images of each group.
    """
    groups = list(members(group))
    share = max(NOISE_SAMPLE // len(groups), LEAST_NOISE_SAMPLE)
    share = max(min(share, LARGEST_NOISE_SAMPLE // len(groups)), 1)
    for number, own in groups:
        most = max(NOISE_SAMPLE_BYTES // (4 * box_sizes[number] ** 2), LEAST_NOISE_SAMPLE)
        n = min(len(own), share, most)
        yield own[torch.arange(n) * len(own) // n]


def accumulated(
    batches: Iterable[Batch],
    half_sets: Tensor,
    grid: Grid,
    noise: NoiseModel,
    progress: Progress,
    symmetry: str = "C1",
    device: torch.device | str = "cpu",
    weights: Tensor | None = None,
) -> Halves:
    """Statistics of both ``half_sets`` (n,), 1 or 2, in one pass."""
    with progress.stage(ACCUMULATE, len(half_sets), "images") as stage:
        sets = half_sets.long() - 1
        first, second = accumulate(
            batches, sets, 2, grid, noise, stage.advance, symmetry, weights, device
        )  # fmt: skip
    return first, second


def polarity_of(halves: Halves, settings: ReconstructionSettings, progress: Progress) -> Polarity:
    """Whether protein is bright or dark in the images, by the data or as the settings say."""
    coarse = [_coarse(half) for half in halves]
    whole = coarse[0] + coarse[1]
    scores = (
        polarity_score(QuadraticForm(whole, whole.grid.box_size)),
        fitted_polarity(coarse[0], coarse[1]),
    )
    score = max(scores, key=abs)
    found: Literal["bright", "dark"] = "dark" if score < 0.0 else "bright"
    used = found if settings.contrast == "auto" else settings.contrast
    decided = "detected" if settings.contrast == "auto" else f"as given; detected: {found}"
    progress.say(f"Contrast: {used} protein ({decided}, {abs(score):.0f} σ).")
    if used != found:
        progress.warn(
            Note(
                "contrast-unlike-data", "warning",
                f"The contrast was given as {used}, but the data indicate {found} protein.",
                "omit --invert and --no-invert to have it detected.",
            )
        )  # fmt: skip
    elif abs(score) < CONTRAST_DOUBT:
        progress.warn(
            Note(
                "contrast-in-doubt", "warning", "The contrast is uncertain.",
                "look at the images, and use --invert for dark protein or --no-invert for bright "
                "protein.",
            )
        )  # fmt: skip
    return Polarity(used, found, score)


def _coarse(statistics: Statistics) -> Statistics:
    box = statistics.grid.box_size
    return statistics.downsampled(CONTRAST_BOX) if box > CONTRAST_BOX else statistics

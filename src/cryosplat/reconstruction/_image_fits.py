"""Fits to images: CryoSplat's own solver, all particles and both half-sets in one pass an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import torch
from torch import Tensor

from ..fitting import (
    NOWHERE,
    ImageData,
    ImageFit,
    Journal,
    density,
    effective_voxels,
    fit_images,
    images_of_a_march,
    march_images,
    paper_start,
    start_in_density,
)
from ..grid import Grid
from ..mixture import GaussianMixture
from ..noise import NoiseModel
from ..particles import Particles
from ..progress import FIT_IMAGES, Progress
from ..settings import PAPER_IMAGES, ReconstructionSettings
from ..solvent import VACUUM, Solvent
from ..statistics import QuadraticForm
from ._checkpoint import resumable
from ._fits import PARTS, Again, Fitted, stream
from ._plan import VOXELS_PER_GAUSSIAN, Parts
from ._screening import without

START_SCALE = 1.0  # pixels


def image_data(
    particles: Particles,
    grid: Grid,
    noise: NoiseModel,
    sign: float,
    left_out: Tensor,
    solvent: Solvent = VACUUM,
) -> ImageData:
    """The particles as the solver reads them; ``sign`` -1 turns dark protein bright.

    ``left_out``: positions of particles that are not used.
    """

    def name(position: int) -> str:
        return f"{particles.source}: {particles.names[position]} (row {position + 1})"

    boxes = torch.from_numpy(particles.images.box_sizes).double()
    sizes = torch.stack([boxes, particles.optics.of_group("pixel_size")], 1)
    kinds = sizes.unique(dim=0, return_inverse=True)[1]
    half_sets = without(left_out, particles.half_sets, 0)
    return ImageData(particles.batches, half_sets, grid, noise, sign, name, kinds, solvent)


def fitted_to_images(
    parts: Parts,
    data: ImageData,
    settings: ReconstructionSettings,
    progress: Progress,
    journal: Journal = NOWHERE,
) -> Fitted:
    """Fit all three mixtures to mini-batches of images; goes on from ``journal``."""
    with parts.clock("fit to images"):
        found = _fitted(parts, data, settings, progress, journal.of("images"))
    mixtures = [mixture.to("cpu") for mixture in found.mixtures]
    epochs = [asdict(epoch) for epoch in found.epochs]
    words = (
        f"{mixtures[0].copies * len(mixtures[0]):,} Gaussians, {len(epochs)} epochs, "
        f"{settings.images.batch_size} images a step"
    )

    def refit(again: Again, progress: Progress) -> list[GaussianMixture]:
        substitute = replace(data, read=again.read, noise=again.noise)
        first, second = again.halves
        others = replace(parts, sets=(first + second, first, second))
        found = _fitted(others, substitute, settings, progress, journal.of("images again"))
        return [mixture.to("cpu") for mixture in found.mixtures[1:]]

    summary = {"members": 1, "choices": [words] * 3, "epochs": epochs}
    shown = len(epochs) * len(data.used())
    if not settings.images.leaves_open and shown < PAPER_IMAGES:
        progress.say(
            f"Each mixture was shown {shown:,} images. The paper's schedule was made for about "
            f"{PAPER_IMAGES:,}; fits to fewer end before they have converged."
        )
    return Fitted(mixtures, summary, refit=None if parts.earlier else refit, images_shown=shown)


def _fitted(
    parts: Parts,
    data: ImageData,
    settings: ReconstructionSettings,
    progress: Progress,
    journal: Journal,
) -> ImageFit:
    n = len(data.used())
    epochs = settings.images.resolved(n, data.grid.box_size).epochs or 0
    title = f"{FIT_IMAGES}, {epochs} epochs"
    met = epochs * n + (images_of_a_march(n) if _marches(settings) else 0)
    with progress.stage(title, met, "images") as stage, resumable(journal, progress):
        return fit_images(
            data, lambda: starts_for_images(data, parts, settings, stage.advance, journal),
            settings.images, settings.seed, on_images=stage.advance, journal=journal,
        )  # fmt: skip


def _marches(settings: ReconstructionSettings) -> bool:
    """Whether Gaussians at random positions are led to their places: not by the paper's letter."""
    return settings.start == "random" and settings.images.leaves_open


def starts_for_images(
    data: ImageData,
    parts: Parts,
    settings: ReconstructionSettings,
    on_images: Callable[[int], None] = lambda n: None,
    journal: Journal = NOWHERE,
) -> list[GaussianMixture]:
    """First mixtures for all particles and each half-set; the halves know nothing of each other."""
    device = parts.sets[0].backprojection.device
    if parts.earlier is not None:
        return [mixture.to(device) for mixture in parts.earlier]
    if settings.start == "random":
        generator = torch.Generator().manual_seed(settings.seed)
        k = settings.gaussians or _number(QuadraticForm(parts.sets[0], parts.side))
        if _marches(settings):
            return march_images(
                data, k, START_SCALE * data.grid.pixel_size, settings.images, settings.seed,
                [stream(settings, part) for part in range(3)], settings.symmetry, device, on_images,
                journal,
            )  # fmt: skip
        return [paper_start(data, k, generator, settings.symmetry).to(device) for _ in PARTS]
    starts: list[GaussianMixture] = []
    for number, part in enumerate(parts.sets):
        form = QuadraticForm(part, parts.side)
        drawn = starts[0].copies * len(starts[0]) if starts else 0
        k = settings.gaussians or drawn or _number(form)
        generator = torch.Generator().manual_seed(settings.seed + number)
        starts.append(
            start_in_density(form, density(form), k, START_SCALE, generator, settings.symmetry)
        )
    return starts


def _number(form: QuadraticForm) -> int:
    return max(50, round(effective_voxels(density(form)) / VOXELS_PER_GAUSSIAN))

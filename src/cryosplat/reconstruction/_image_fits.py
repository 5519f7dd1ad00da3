"""Fits to images: CryoSplat's own solver, all particles and both half-sets in one pass a epoch."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..fitting import (
    ImageData,
    ImageState,
    Watch,
    begin,
    density,
    effective_voxels,
    fit_images,
    paper_start,
    start_in_density,
)
from ..grid import Grid
from ..io.checkpoint import read_checkpoint, write_checkpoint
from ..mixture import GaussianMixture
from ..noise import NoiseModel
from ..particles import Particles
from ..progress import Progress
from ..settings import ReconstructionSettings
from ..statistics import QuadraticForm, Statistics
from ._data import HalfSet
from ._fits import PARTS, VOXELS_PER_GAUSSIAN, Again, Fitted, Parts

START_SCALE = 1.0  # pixels


def image_data(particles: Particles, grid: Grid, noise: NoiseModel, sign: float) -> ImageData:
    """The particles as the solver reads them; ``sign`` -1 turns dark protein bright."""

    def name(position: int) -> str:
        return f"{particles.source}: {particles.names[position]} (row {position + 1})"

    return ImageData(particles.batches, particles.half_sets, grid, noise, sign, name)


def fitted_to_images(
    parts: Parts,
    data: ImageData,
    settings: ReconstructionSettings,
    checkpoint: Path,
    progress: Progress,
) -> Fitted:
    """Fit all three mixtures to mini-batches of images, from ``checkpoint`` where it exists."""
    with parts.clock("start"):
        starts = starts_for_images(data, parts, settings)
    with parts.clock("fit to images"):
        state = fit_with_checkpoints(data, starts, settings, checkpoint, progress)
    mixtures = state.mixtures()
    epochs = [asdict(epoch) for epoch in state.history]
    words = (
        f"{mixtures[0].copies * len(mixtures[0]):,} Gaussians, {len(epochs)} epochs, "
        f"{settings.images.batch_size} images a step"
    )

    def refit(again: Again, progress: Progress) -> list[GaussianMixture]:
        substitute = replace(data, read=again.read, noise=again.noise)
        none = Statistics.zero(data.grid)
        halves = [HalfSet(half, none) for half in again.halves]
        first = starts_for_images(
            substitute, replace(parts, sets=(halves[0] + halves[1], *halves)), settings
        )
        state = begin(substitute, first, settings.images, settings.seed)
        epochs = state.schedule.epochs or 0
        n = int((data.half_sets > 0).sum())
        with progress.stage("fitting again", epochs * n, "images") as stage:
            return fit_images(substitute, state, Watch(stage.advance)).mixtures()[1:]

    summary = {"members": 1, "choices": [words] * 3, "epochs": epochs}
    return Fitted(mixtures, summary, (), None if parts.earlier else refit)


def starts_for_images(
    data: ImageData, parts: Parts, settings: ReconstructionSettings
) -> list[GaussianMixture]:
    """First mixtures for all particles and each half-set; the halves know nothing of each other."""
    if parts.earlier is not None:
        return parts.earlier
    if settings.start == "random":
        generator = torch.Generator().manual_seed(settings.seed)
        k = settings.gaussians or _number(QuadraticForm(parts.sets[0].whole(), parts.side))
        return [paper_start(data, k, generator, settings.symmetry) for _ in PARTS]
    starts: list[GaussianMixture] = []
    for number, part in enumerate(parts.sets):
        form = QuadraticForm(part.whole(), parts.side)
        drawn = starts[0].copies * len(starts[0]) if starts else 0
        k = settings.gaussians or drawn or _number(form)
        generator = torch.Generator().manual_seed(settings.seed + number)
        starts.append(
            start_in_density(form, density(form), k, START_SCALE, generator, settings.symmetry)
        )
    return starts


def _number(form: QuadraticForm) -> int:
    return max(50, round(effective_voxels(density(form)) / VOXELS_PER_GAUSSIAN))


def fit_with_checkpoints(
    data: ImageData,
    starts: list[GaussianMixture],
    settings: ReconstructionSettings,
    checkpoint: Path,
    progress: Progress,
) -> ImageState:
    """Descend on mini-batches.

    The checkpoint is written after every epoch, and when the process is told to end or Ctrl-C is
    pressed; the signal then takes its usual course.

    Raises
    ------
    InputError
        The checkpoint belongs to other particles or settings.
    """
    n = int((data.half_sets > 0).sum())
    identity = {"settings": settings.to_dict(), "particles": n}
    state = begin(data, starts, settings.images, settings.seed)
    if checkpoint.exists():
        state = _resumed(checkpoint, identity)
        progress.say(f"Going on after {state.epoch} epochs, from {checkpoint}.")

    def save(now: ImageState) -> None:
        arrays = {name: tensor.numpy() for name, tensor in now.tensors.items()}
        write_checkpoint(checkpoint, arrays, {"identity": identity, "state": now.scalars()})

    epochs = state.schedule.epochs or 0
    title = f"fitting to images, {epochs} epochs"
    with progress.stage(title, epochs * n, "images") as stage, _told_to_stop() as stop:
        stage.advance(state.epoch * n)
        watch = Watch(on_images=stage.advance, on_epoch=save, stop=stop.is_set)
        state = fit_images(data, state, watch)
        if not state.finished:
            save(state)
            progress.say(f"Stopped; where the fit stands is in {checkpoint}. Go on with --resume.")
    if not state.finished:
        stop.again()
    return state


def _resumed(checkpoint: Path, identity: dict[str, Any]) -> ImageState:
    arrays, scalars = read_checkpoint(checkpoint)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if scalars.get("identity") != json.loads(json.dumps(identity)):
        raise InputError(
            f"{checkpoint}: belongs to a run with other particles or settings.\n"
            f"  Remedy: repeat the command that was broken off, with --resume; or remove the file."
        )
    return ImageState.of(scalars["state"], tensors)


class _Stop:
    """A signal that has come, to be given again once everything is safe."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: object) -> None:
        self.signal = number

    def is_set(self) -> bool:
        return self.signal is not None

    def again(self) -> None:
        if self.signal is not None:
            signal.raise_signal(self.signal)


@contextmanager
def _told_to_stop() -> Iterator[_Stop]:
    """SIGTERM and Ctrl-C are noted and no more, so that a fit can end between two steps."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""CryoSplat's solver: descent on mini-batches of images, for all particles and both half-sets.

A mini-batch holds images of one half-set. It moves the mixture of all particles and that of its
half-set, so that one pass over the images serves three fits, which share nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ...errors import SettingsError
from ...mixture import GaussianMixture
from ...settings import ImageSchedule
from ...splatting import project
from ._model import Learner, Units, decoded, encoded, split
from ._rendering import Render, without_aliases
from ._state import SETS, Epoch, ImageState
from .data import ImageData, Observed, Order, grey_level, pools
from .term import ImageTerm, equal_precision


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told about a fit, and who may end it.

    ``on_images``: after each mini-batch, how many images it held; ``on_epoch``: after each epoch,
    where the fit stands; ``stop``: asked after each mini-batch.
    """

    on_images: Callable[[int], None] = lambda n: None
    on_epoch: Callable[[ImageState], None] = lambda state: None
    stop: Callable[[], bool] = lambda: False


def begin(
    data: ImageData, starts: Sequence[GaussianMixture], schedule: ImageSchedule, seed: int = 0
) -> ImageState:
    """The state before the first step; ``seed`` is that of the order of the images.

    ``starts``: one mixture, for all particles, or three, for all and each half-set. Those of the
    half-sets must be drawn independently: where first positions are shared, half-maps agree on
    them (64 px, 2,000 Gaussians: FSC 0.63 at the last shell where the truth allows 0.2). All have
    one symmetry.
    """
    if len(starts) not in (1, 3):
        raise SettingsError(
            f"fit_images: {len(starts)} mixtures to start from, expected 1 (all particles) or 3 "
            f"(all particles, half 1, half 2)."
        )
    schedule = schedule.resolved(len(data.used()), data.grid.box_size)
    length = data.grid.side
    mass = grey_level(data) * data.grid.box_size**2
    units = Units(length, mass, schedule.floor * data.grid.pixel_size / length)
    tensors = {
        f"{name}.{key}": value
        for name, start in zip(SETS, starts, strict=False)
        for key, value in encoded(start, units, schedule.shape == "isotropic").items()
    }
    sums = ((0.0, 0.0),) * len(starts)
    return ImageState(schedule, seed, units, 0, 0, 0, tensors, sums, (), starts[0].symmetry)


def fit_images(
    data: ImageData, state: ImageState, watch: Watch = Watch(), render: Render = project
) -> ImageState:
    """Go on from ``state`` until all epochs are done or ``watch`` says stop.

    Returns where the fit then stands; going on from there gives, bit for bit on one CPU and with as
    many threads, what an unbroken fit gives.

    Raises
    ------
    InputError, ImageError
        A half-set is empty, or an image cannot be used (see `observe`).
    """
    if state.finished:
        return state
    run = _Run(data, state, render)
    schedule = state.schedule
    epochs = schedule.epochs or 0
    order = Order(epochs, schedule.batch_size, state.seed)
    for pool in pools(data, order, (state.epoch, state.pool), run.device):
        if pool.epoch > run.epoch:
            run.end_epoch()
            watch.on_epoch(run.state(pool.epoch, 0, 0))
        resumed = (pool.epoch, pool.number) == (state.epoch, state.pool)
        for at, half, batch in pool.batches_from(state.batch if resumed else 0):
            run.step(half, batch)
            watch.on_images(len(batch))
            if watch.stop():
                return run.state(pool.epoch, pool.number, at + 1)
    if run.epoch < epochs:
        run.end_epoch()
    final = run.state(run.epoch, 0, 0)
    watch.on_epoch(final)
    return final


class _Run:
    """What changes while a fit runs."""

    def __init__(self, data: ImageData, state: ImageState, render: Render) -> None:
        self.begun, self.render = state, without_aliases(render, data.grid.pixel_size)
        self.schedule, self.units = state.schedule, state.units
        self.learners = [
            Learner.of(state.of_set(name), state.schedule.betas) for name in state.sets
        ]
        self.device = state.tensors["full.means"].device
        sums = torch.tensor(state.sums, dtype=torch.float64)
        self.residuals = sums[:, 0].to(self.device)
        self.counts = sums[:, 1].clone()
        self.history = list(state.history)
        self.epoch = state.epoch
        precision = data.noise.precision
        if self.schedule.weights == "equal":
            level = state.units.mass / data.grid.box_size**2
            precision = equal_precision(level, len(data.noise.variance))
        self.term = ImageTerm(data.grid, precision)

    def step(self, half: int, batch: Observed) -> None:
        """Move the mixture of all particles, and that of the half-set the batch is of."""
        grid = batch.grid
        for number in (0, half):
            if number >= len(self.learners):
                continue
            learner = self.learners[number]
            mixture = decoded(learner.parameters, self.units, self.begun.symmetry)
            loss = self.term(self.render(mixture, batch.poses, grid), batch)
            # mean squared residual of a pixel, in units of the noise; by the map's pixels for all
            # images, so that each weighs by what it says
            (loss * (2.0 / (len(batch) * self.term.grid.box_size**2))).backward()
            learner.step(self.schedule.step_size(self.epoch))
            self.residuals[number] += 2.0 * loss.detach()
            self.counts[number] += len(batch) * self.term.n_frequencies(grid)

    def end_epoch(self) -> None:
        """Note how the epoch went; split the Gaussians where the schedule says so."""
        misfit = (self.residuals.cpu() / self.counts.clamp_min(1.0)).tolist()
        gaussians = len(self.learners[0].parameters["means"])
        self.epoch += 1
        self.history.append(Epoch(self.epoch, tuple(misfit), gaussians))
        self.residuals.zero_()
        self.counts.zero_()
        if self.epoch in self.schedule.split_after and self.epoch < (self.schedule.epochs or 0):
            for i, learner in enumerate(self.learners):
                with torch.no_grad():
                    halves = split(decoded(learner.parameters, self.units, self.begun.symmetry))
                parameters = encoded(halves, self.units, self.schedule.shape == "isotropic")
                self.learners[i] = Learner(parameters, self.schedule.betas)

    def state(self, epoch: int, pool: int, batch: int) -> ImageState:
        """Where the fit stands, ``epoch``, ``pool`` and ``batch`` being next."""
        tensors = {
            f"{name}.{key}": value
            for name, learner in zip(SETS, self.learners, strict=False)
            for key, value in learner.tensors().items()
        }
        sums = tuple(zip(self.residuals.tolist(), self.counts.tolist(), strict=True))
        return replace(
            self.begun, epoch=epoch, pool=pool, batch=batch, tensors=tensors, sums=sums,
            history=tuple(self.history),
        )  # fmt: skip

"""CryoSplat's solver: descent on mini-batches of images, for all particles and both half-sets.

A mini-batch holds images of one half-set. It moves the mixture of all particles and that of its
half-set, so that one pass over the images serves three fits, which share nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from ...errors import SettingsError
from ...mixture import GaussianMixture, concatenate, quaternions_to_matrices
from ...settings import ImageSchedule
from ...splatting import project
from .._descend import descend
from .._journal import NOWHERE, Journal
from .._parameters import Encoding
from .._schedule import Schedule
from .._watchers import Moment, counted, detached
from ._rendering import Render
from .data import ImageData, Order, grey_level
from .term import ImageTerm, equal_precision

SPLIT = 0.8  # width of each half of a Gaussian along its longest axis, in widths of the whole

Starts = Sequence[GaussianMixture]


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the images found.

    ``misfit``: mean squared residual per Fourier coefficient in units of the noise variance, for
    each mixture, measured as the images were met; ``gaussians`` of each mixture.
    """

    number: int
    misfit: tuple[float, ...]
    gaussians: int


@dataclass(frozen=True, slots=True)
class ImageFit:
    """Mixtures fitted to images, [all particles] or [all, half 1, half 2], and how each epoch went.

    ``schedule``: with values for what was left open.
    """

    mixtures: tuple[GaussianMixture, ...]
    epochs: tuple[Epoch, ...]
    schedule: ImageSchedule


def fit_images(
    data: ImageData,
    starts: Starts | Callable[[], Starts],
    schedule: ImageSchedule,
    seed: int = 0,
    *,
    render: Render = project,
    on_images: Callable[[int], None] = lambda n: None,
    on_epoch: Callable[[ImageFit], None] = lambda fit: None,
    journal: Journal = NOWHERE,
) -> ImageFit:
    """Fit mixtures to images, beginning at ``starts`` (see `descend`).

    ``starts``: one mixture, for all particles, or three, for all and each half-set. Those of the
    half-sets must be drawn independently: where first positions are shared, half-maps agree on
    them (64 px, 2,000 Gaussians: FSC 0.63 at the last shell where the truth allows 0.2). All have
    one symmetry. ``seed`` sets the order of the images. ``on_images`` is told how many images were
    met since it last was, ``on_epoch`` after each epoch what was reached.

    Raises
    ------
    InputError, ImageError, NotFiniteError
        A half-set is empty, an image cannot be used (see `observe`), or the fit came to no number.
    """
    schedule = schedule.resolved(len(data.used()), data.grid.box_size)
    epochs, level, grid = schedule.epochs or 1, grey_level(data), data.grid
    precision = data.noise.precision
    if schedule.weights == "equal":
        precision = equal_precision(level, len(data.noise.variance))
    order = Order(epochs, schedule.batch_size, seed)
    term = ImageTerm(data, order, precision, render)
    encoding = Encoding(
        grid.side, level * grid.box_size**2, schedule.floor * grid.pixel_size / grid.side,
        schedule.shape,
    )  # fmt: skip
    steps = Schedule(
        term.steps, schedule.step_size(0), (schedule.gamma or 1.0) ** (epochs - 1), term.ends[:-1],
        betas=schedule.betas, floor=schedule.floor, check_every=term.steps,
    )  # fmt: skip
    log = _Log(term, lambda now, rows: on_epoch(ImageFit(now, rows, schedule)))
    seen = counted(on_images, epochs * len(data.used()) / term.steps)
    cuts = {term.ends[epoch - 1] for epoch in schedule.split_after if epoch < epochs}
    mixtures: Starts | Callable[[], Starts] = partial(_checked, starts)
    for first, stop in pairwise(sorted({0, *cuts, term.steps})):
        found = descend(
            term, mixtures, replace(steps, stop=stop), [log, seen], encoding=encoding,
            first=first, journal=journal.of(f"from {first}"),
        )  # fmt: skip
        mixtures = [split(mixture) for mixture in found.mixtures]
    return ImageFit(found.mixtures, tuple(log.epochs), schedule)


def _checked(starts: Starts | Callable[[], Starts]) -> Starts:
    found = starts() if callable(starts) else starts
    if len(found) not in (1, 3):
        raise SettingsError(
            f"fit_images: {len(found)} mixtures to start from, expected 1 (all particles) or 3 "
            f"(all particles, half 1, half 2)."
        )
    return found


class _Log:
    """Sums up the residuals of each epoch, and tells ``on_epoch`` when one has ended."""

    def __init__(
        self,
        term: ImageTerm,
        on_epoch: Callable[[tuple[GaussianMixture, ...], tuple[Epoch, ...]], None],
    ) -> None:
        self.term, self.on_epoch, self.told = term, on_epoch, 0
        self.epochs: list[Epoch] = []
        self.sums: list[list[float]] = []

    def __call__(self, now: Moment) -> None:
        done = len(self.epochs)
        if done > self.told and now.step == self.term.ends[done - 1]:
            self.told = done
            self.on_epoch(detached(now.mixtures), tuple(self.epochs))
        if now.last:
            return
        self.sums = self.sums or [[0.0, 0.0] for _ in now.mixtures]
        for number, squares, n in self.term.met:
            self.sums[number][0] += squares
            self.sums[number][1] += n
        if now.step + 1 == self.term.ends[done]:
            misfit = tuple(squares / max(n, 1.0) for squares, n in self.sums)
            self.epochs.append(Epoch(done + 1, misfit, len(now.mixtures[0])))
            self.sums = []

    def state(self) -> dict[str, Any]:
        return {"epochs": [asdict(epoch) for epoch in self.epochs], "sums": self.sums}

    def resume(self, state: Mapping[str, Any]) -> None:
        self.epochs = [Epoch(e["number"], tuple(e["misfit"]), e["gaussians"])
                       for e in state["epochs"]]  # fmt: skip
        self.sums = [list(pair) for pair in state["sums"]]


def split(mixture: GaussianMixture) -> GaussianMixture:
    """Every Gaussian as two halves along its longest axis: same mass, mean and covariance."""
    axis = mixture.scales.argmax(1)
    longest = torch.arange(3, device=axis.device) == axis[:, None]
    axes = quaternions_to_matrices(mixture.quaternions)
    offsets = torch.einsum("gij,gj->gi", axes, longest * mixture.scales) * (1.0 - SPLIT**2) ** 0.5
    narrower = torch.where(longest, SPLIT * mixture.scales, mixture.scales)
    return concatenate(
        [
            replace(
                mixture, means=mixture.means + sign * offsets, scales=narrower,
                amplitudes=mixture.amplitudes / 2,
            )
            for sign in (1.0, -1.0)
        ]
    )  # fmt: skip

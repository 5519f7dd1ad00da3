"""Scale and number of Gaussians, and when to stop: chosen by likelihood of unseen particles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

from ..mixture import GaussianMixture
from ..statistics import QuadraticForm
from ._descend import Fit
from ._journal import NOWHERE, Journal
from ._schedule import Schedule
from ._statistics import fit

SCALES = (0.65, 0.9, 1.25, 1.75, 2.5, 3.5)  # pixels
FIRST = 0.9  # the scale that is tried first
FEWEST, MOST = 50, 200_000
WORTH = 5e-4  # relative held-out gain for which twice as many Gaussians are worth their time


@dataclass(frozen=True, slots=True)
class Choice:
    """What a fit is made with: ``gaussians`` of the whole map, first ``scale`` in pixels, ``steps``.

    ``history`` is that of the trial which showed it (see `Fit`); ``candidates`` are all trials: their
    number of Gaussians, first scale in pixels and best held-out likelihood gain.
    """

    gaussians: int
    scale: float
    steps: int
    history: tuple[tuple[int, float, float], ...]
    candidates: tuple[tuple[int, float, float], ...] = ()


@dataclass(slots=True)
class Selection:
    """Trials on fitted and held-out particles of one half-set, each made once and remembered.

    ``stream``: the random numbers of a trial, the same for each, so that trials differ in what is
    tried alone.
    """

    train: QuadraticForm
    held_out: QuadraticForm
    schedule: Schedule
    start: Callable[[int, float, torch.Generator], GaussianMixture]
    stream: Callable[[], torch.Generator]
    on_trial: Callable[[], None] = lambda: None
    journal: Journal = NOWHERE
    trials: dict[tuple[int, float], Fit] = field(default_factory=dict)

    def gain(self, gaussians: int, scale: float) -> float:
        """Best held-out likelihood gain of a trial with these settings."""
        key = gaussians, scale
        if key not in self.trials:
            self.trials[key] = fit(
                self.train, lambda: self.start(gaussians, scale, self.stream()), self.schedule,
                self.held_out, beat=max((t.held_out for t in self.trials.values()), default=-math.inf),
                journal=self.journal.of(f"{gaussians} of {scale}"),
            )  # fmt: skip
            self.on_trial()
        return self.trials[key].held_out

    def choose(self, gaussians: int, vary_number: bool, first: float = FIRST) -> Choice:
        """Climb from scale to scale, then double the number, while unseen particles agree.

        ``gaussians``: how many to try at scales up to one pixel; wider ones need fewer.
        ``first``: the scale to begin with, one of `SCALES`.
        """
        made = self.journal.load()
        if made is None:
            made = asdict(self._choose(gaussians, vary_number, first))
            self.journal.finish(made)
        rows = {name: tuple(map(tuple, made[name])) for name in ("history", "candidates")}
        return Choice(**{**made, **rows})

    def _choose(self, gaussians: int, vary_number: bool, first: float) -> Choice:
        def number(scale: float) -> int:
            return _bounded(gaussians / max(scale, 1.0) ** 3) if vary_number else gaussians

        at = _climb(
            lambda i: self.gain(number(SCALES[i]), SCALES[i]), SCALES.index(first), len(SCALES)
        )
        scale = SCALES[at]
        chosen = number(scale)
        while vary_number and 2 * chosen <= MOST:
            gain = self.gain(chosen, scale)
            if self.gain(2 * chosen, scale) - gain <= WORTH * abs(gain):
                break
            chosen *= 2
        trial = self.trials[chosen, scale]
        steps = max(trial.step, self.schedule.check_every)
        tried = tuple((k, s, one.held_out) for (k, s), one in self.trials.items())
        return Choice(chosen, scale, steps, trial.history, tried)


def _bounded(number: float) -> int:
    return max(FEWEST, min(MOST, round(number)))


def _climb(gain: Callable[[int], float], at: int, n: int) -> int:
    """Index of a local maximum of ``gain`` in [0, n), walking from ``at``."""
    for direction in (1, -1):
        moved = False
        while 0 <= at + direction < n and gain(at + direction) > gain(at):
            at += direction
            moved = True
        if moved:
            break
    return at

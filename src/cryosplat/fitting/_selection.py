"""Scale and number of Gaussians, and when to stop: chosen by likelihood of unseen particles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ..mixture import GaussianMixture
from ..statistics import QuadraticForm
from ._solver import Fit, Schedule, fit

SCALES = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # pixels
FIRST = 1  # the scale that is tried first
FEWEST, MOST = 50, 200_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What a fit is made with: ``gaussians``, the first ``scale`` in pixels, and ``steps``."""

    gaussians: int
    scale: float
    steps: int


@dataclass(slots=True)
class Selection:
    """Trials on fitted and held-out particles of one half-set, each made once and remembered."""

    train: QuadraticForm
    held_out: QuadraticForm
    schedule: Schedule
    start: Callable[[int, float, torch.Generator], GaussianMixture]
    seed: int
    on_trial: Callable[[], None] = lambda: None
    trials: dict[tuple[int, float], Fit] = field(default_factory=dict)

    def gain(self, gaussians: int, scale: float) -> float:
        """Best held-out likelihood gain of a trial with these settings."""
        key = gaussians, scale
        if key not in self.trials:
            generator = torch.Generator().manual_seed(self.seed)
            first = self.start(gaussians, scale, generator)
            self.trials[key] = fit(self.train, first, self.schedule, self.held_out)
            self.on_trial()
        return self.trials[key].held_out

    def choose(self, gaussians: int, vary_number: bool) -> Choice:
        """Climb from scale to scale, then from number to number, while unseen particles agree.

        ``gaussians``: how many to try first at a scale of one pixel; wider ones need fewer.
        """

        def number(scale: float) -> int:
            return _bounded(gaussians / scale**3) if vary_number else gaussians

        scale = SCALES[_climb(lambda i: self.gain(number(SCALES[i]), SCALES[i]), FIRST, len(SCALES))]
        chosen = number(scale)
        if vary_number:
            numbers = sorted({_bounded(chosen * 2.0**i) for i in range(-3, 5)})
            at = _climb(lambda i: self.gain(numbers[i], scale), numbers.index(chosen), len(numbers))
            chosen = numbers[at]
        steps = self.trials[chosen, scale].step
        return Choice(chosen, scale, max(steps, self.schedule.check_every))


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

"""Descent on a quadratic form: the whole data set in every step, no batches, no noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..mixture import TENSORS, GaussianMixture
from ..splatting import voxelize
from ..statistics import QuadraticForm
from ._parameters import MixtureParameters

FEWEST_STEPS = 15  # before a trial may be given up


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a mixture is fitted. Lengths in pixels of the grid that is fitted.

    ``rates``: Adam's step sizes for means, scales, quaternions and amplitudes, falling by ``decay``
    over ``steps``. ``scale_spread``: standard deviation of the prior that holds the logarithms of
    all scales together around their own mean; without it held-out likelihood is worse on every
    model measured. ``floor``: no scale falls below it.
    """

    steps: int = 60
    rates: tuple[float, float, float, float] = (0.2, 0.1, 0.1, 0.1)
    decay: float = 0.1
    scale_spread: float = 0.2
    floor: float = 0.4
    check_every: int = 5


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted mixture, its map, and how it got there.

    ``history``: (step, likelihood gain on the fitted particles, the same on the held-out ones) where
    a gain is ``-L(V)`` of the quadratic form; the last is NaN without held-out particles.
    ``step`` is the one the mixture was taken from.
    """

    mixture: GaussianMixture
    volume: Tensor
    step: int
    history: tuple[tuple[int, float, float], ...]

    @property
    def held_out(self) -> float:
        """Held-out likelihood gain at the chosen step."""
        return next(gain for step, _, gain in self.history if step == self.step)


def fit(
    form: QuadraticForm,
    start: GaussianMixture,
    schedule: Schedule,
    held_out: QuadraticForm | None = None,
    stop: int | None = None,
    beat: float = -math.inf,
    on_step: Callable[[], None] = lambda: None,
) -> Fit:
    """Fit a mixture to the statistics in ``form``, beginning at ``start``.

    With ``held_out`` the mixture with the best held-out likelihood is returned, and the descent ends
    once that has not improved for four checks, or could not reach ``beat`` at its present rate (the
    gain is taken to be concave in the steps); with ``stop`` it ends after so many steps.
    """
    model = MixtureParameters(start, form.grid.pixel_size, schedule.floor)
    optimiser = torch.optim.Adam(
        [
            {"params": [getattr(model, name)], "lr": rate, "rate": rate}
            for name, rate in zip(
                ("means", "scales", "quaternions", "amplitudes"), schedule.rates, strict=True
            )
        ],
        betas=(0.9, 0.99),
    )
    last = schedule.steps if stop is None else min(stop, schedule.steps)
    best: tuple[float, int, GaussianMixture, Tensor] | None = None
    history = []
    for step in range(last + 1):
        for group in optimiser.param_groups:
            group["lr"] = group["rate"] * schedule.decay ** (step / schedule.steps)
        mixture = model.mixture()
        volume = voxelize(mixture, form.grid)
        energy = form(volume)
        if step % schedule.check_every == 0 or step == last:
            detached = volume.detach()
            unseen = float("nan") if held_out is None else -float(held_out(detached))
            history.append((step, -float(energy.detach()), unseen))
            if held_out is None or best is None or unseen > best[0]:
                best = unseen, step, _detached(mixture), detached
            elif step - best[1] >= 4 * schedule.check_every:
                break
            if step >= FEWEST_STEPS and _out_of_reach(history, last, beat):
                break
        if step == last:
            break
        optimiser.zero_grad(set_to_none=True)
        (energy + _scale_prior(mixture, schedule)).backward()
        optimiser.step()
        on_step()
    assert best is not None
    return Fit(best[2], best[3], best[1], tuple(history))


def _out_of_reach(history: list[tuple[int, float, float]], last: int, beat: float) -> bool:
    """Whether held-out gain, at its present rate, stays below ``beat`` until the last step."""
    (before, _, lower), (step, _, higher) = history[-2:]
    return higher + max(higher - lower, 0.0) / (step - before) * (last - step) < beat


def _scale_prior(mixture: GaussianMixture, schedule: Schedule) -> Tensor:
    logarithms = torch.log(mixture.scales)
    return 0.5 * ((logarithms - logarithms.mean()) / schedule.scale_spread).square().sum()


def _detached(mixture: GaussianMixture) -> GaussianMixture:
    return replace(mixture, **{name: getattr(mixture, name).detach() for name in TENSORS})

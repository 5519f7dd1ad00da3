"""Descent on statistics: the whole data set in every step, no batches, no noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..grid import Grid
from ..mixture import GaussianMixture
from ..splatting import voxelize
from ..statistics import QuadraticForm
from ._descend import Fit, descend
from ._journal import NOWHERE, Journal
from ._schedule import Schedule
from ._watchers import BestSoFar, History, Moment, Watcher

PATIENCE = 4  # looks at held-out particles without gain
SCALE_SPREAD = 0.2


class StatisticsTerm:
    """``L(V)`` of a mixture's map under statistics, plus a prior on its scales.

    ``scale_spread``: standard deviation of the prior that holds the logarithms of all scales
    together around their own mean; without it held-out likelihood is worse on every model measured.
    ``held_out``: statistics of unseen particles, for `gains`.
    """

    def __init__(
        self,
        form: QuadraticForm,
        held_out: QuadraticForm | None = None,
        scale_spread: float = SCALE_SPREAD,
    ) -> None:
        self.form, self.held_out, self.scale_spread = form, held_out, scale_spread
        self._volume: Tensor | None = None
        self._gain = math.nan

    @property
    def grid(self) -> Grid:
        """The cube that is fitted."""
        return self.form.grid

    def __call__(self, mixture: GaussianMixture) -> Tensor:
        self._volume = None  # the last one makes room for this one
        volume = voxelize(mixture, self.grid)
        energy = self.form(volume)
        self._volume, self._gain = volume.detach(), -float(energy.detach())
        logarithms = torch.log(mixture.scales)
        deviations = (logarithms - logarithms.mean()) / self.scale_spread
        return energy + 0.5 * deviations.square().sum()

    def gains(self, now: Moment) -> tuple[float, float]:
        """Likelihood gains ``-L(V)`` of the last mixture, on fitted and on held-out particles."""
        if self.held_out is None or self._volume is None:
            return self._gain, math.nan
        return self._gain, -float(self.held_out(self._volume))


def fit(
    form: QuadraticForm,
    start: GaussianMixture | Callable[[], GaussianMixture],
    schedule: Schedule,
    held_out: QuadraticForm | None = None,
    *,
    watchers: Sequence[Watcher] = (),
    journal: Journal = NOWHERE,
) -> Fit:
    """Fit a mixture to the statistics in ``form``, beginning at ``start`` (see `descend`).

    The history holds likelihood gains, ``-L(V)``. With ``held_out`` the mixture with the highest
    held-out one is returned, and the descent ends once that has not risen for four looks.
    """
    term = StatisticsTerm(form, held_out)
    history = History(schedule.check_every, term.gains)
    if held_out is None:
        return descend(term, start, schedule, [history, *watchers], journal=journal)
    best = BestSoFar(history, PATIENCE)
    found = descend(term, start, schedule, [history, best, *watchers], journal=journal)
    return Fit(best.mixtures, best.step, found.history)

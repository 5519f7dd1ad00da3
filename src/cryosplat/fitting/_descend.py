"""The descent: the only loop in which mixtures are fitted. What is minimised is a `DataTerm`, how is
a `Schedule`, and who looks on are watchers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ..errors import InputError, SettingsError
from ..grid import Grid
from ..mixture import GaussianMixture
from ._journal import NOWHERE, Journal
from ._parameters import Encoding, Learner
from ._schedule import Schedule
from ._watchers import History, Moment, Resumable, Row, Watcher, detached, finite


class DataTerm(Protocol):
    """What is minimised: a mixture's value, of which torch knows the gradient.

    ``grid`` is the map's: lengths are learned in its pixels. The value is a scalar, differentiable
    by the tensors of the mixture; a term of several mixtures takes several.
    """

    @property
    def grid(self) -> Grid: ...

    def __call__(self, mixture: GaussianMixture, /) -> Tensor: ...


@runtime_checkable
class Stream(Protocol):
    """A term that changes from step to step, as mini-batches do, and can begin at any of them."""

    def seek(self, step: int) -> None:
        """The next call is that of ``step``, counted from 0."""
        ...


Start = GaussianMixture | Sequence[GaussianMixture]


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted mixtures, the ``step`` that they are of, and the ``history`` of gains up to the end."""

    mixtures: tuple[GaussianMixture, ...]
    step: int
    history: tuple[Row, ...]

    @property
    def mixture(self) -> GaussianMixture:
        """The first mixture, which is the only one of most fits."""
        return self.mixtures[0]

    @property
    def held_out(self) -> float:
        """Gain on what was held out, at the step of the mixtures."""
        return next(gain for step, _, gain in self.history if step == self.step)


def descend(
    term: DataTerm,
    start: Start | Callable[[], Start],
    schedule: Schedule,
    watchers: Sequence[Watcher] = (),
    *,
    encoding: Encoding | None = None,
    first: int = 0,
    journal: Journal = NOWHERE,
) -> Fit:
    """Minimise ``term`` from ``start`` on; returns where the last step has led.

    ``start``: one mixture, or all that the term takes; or a function that makes them, which is not
    called where the ``journal`` holds this descent already: it then goes on from there, and gives
    bit for bit on one CPU, with as many threads, what an unbroken descent gives.
    ``watchers`` look on at each step, the last included. ``encoding``: by default in pixels of the
    term's grid, and the mean amplitude. ``first``: number of the first step.

    Raises
    ------
    NotFiniteError
        The value, or a Gaussian, is NaN or infinite.
    SettingsError
        The term returns something else than a scalar that can be differentiated.
    """
    history = next((w for w in watchers if isinstance(w, History)), None)
    if history is None:
        history = History(schedule.check_every)
        watchers = [history, *watchers]
    kept = [watcher for watcher in watchers if isinstance(watcher, Resumable)]
    saved = journal.load()
    if saved is None:
        learner = _begun(term, start, schedule, encoding, first)
    else:
        learner = _resumed(saved, schedule, kept)
        if saved["finished"]:
            return Fit(detached(learner.mixtures()), learner.step, tuple(history.rows))
    if isinstance(term, Stream):
        term.seek(learner.step)

    def state() -> dict[str, Any]:
        return {
            "learner": learner.state(), "watchers": [w.state() for w in kept], "finished": False
        }  # fmt: skip

    while True:
        mixtures = learner.mixtures()
        value = term(*mixtures)
        _check_scalar(value, term)
        now = Moment(learner.step, mixtures, float(value.detach()), learner.step >= schedule.last)
        finite(now)
        ended = [watcher(now) for watcher in watchers]
        if any(ended) or now.last:
            break
        value.backward()
        learner.update()
        journal.keep(state)
    learner.forget()
    journal.finish(state() | {"finished": True})
    return Fit(detached(mixtures), learner.step, tuple(history.rows))


def _begun(
    term: DataTerm,
    start: Start | Callable[[], Start],
    schedule: Schedule,
    encoding: Encoding | None,
    first: int,
) -> Learner:
    start = start() if callable(start) else start
    starts = (start,) if isinstance(start, GaussianMixture) else start
    encoding = encoding or Encoding.of(starts, term.grid.pixel_size, schedule.floor)
    parameters = [encoding.encode(mixture) for mixture in starts]
    return Learner(parameters, [m.symmetry for m in starts], encoding, schedule, first)


def _resumed(saved: Mapping[str, Any], schedule: Schedule, kept: Sequence[Resumable]) -> Learner:
    try:
        for watcher, state in zip(kept, saved["watchers"], strict=True):
            watcher.resume(state)
        return Learner.of(saved["learner"], schedule)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"checkpoint: not the state of this descent ({error!r}).\n"
            f"  It was probably written by another version of cryosplat.\n"
            f"  Remedy: begin anew, without --resume."
        ) from error


def _check_scalar(value: object, term: DataTerm) -> None:
    if not (isinstance(value, Tensor) and value.ndim == 0 and value.requires_grad):
        what = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise SettingsError(
            f"descend: {type(term).__name__} returned {what}, expected a scalar tensor that can "
            f"be differentiated by the mixture.\n"
            f"  Remedy: compute it from the mixture's tensors by torch, without detach() or float()."
        )

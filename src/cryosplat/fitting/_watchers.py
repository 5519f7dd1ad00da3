"""What may look on while a descent runs: small objects that record, remember, or end it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from ..errors import NotFiniteError
from ..mixture import TENSORS, GaussianMixture

Row = tuple[int, float, float]
"""A step, the gain on what is fitted, and the gain on what is held out (NaN where nothing is)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a descent stands: after ``step`` steps, at ``mixtures`` with ``value``.

    ``last``: no step follows.
    """

    step: int
    mixtures: tuple[GaussianMixture, ...]
    value: float
    last: bool


Watcher = Callable[[Moment], bool | None]
"""Looks on at every step; the descent ends where one returns True."""


@runtime_checkable
class Resumable(Protocol):
    """What a checkpoint has to hold: plain values and tensors, nested in lists and dicts."""

    def state(self) -> dict[str, Any]:
        """All that later moments depend on."""
        ...

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        ...


def finite(now: Moment) -> None:
    """Raises `NotFiniteError` at the first Gaussian or value that is NaN or infinite."""
    for mixture in now.mixtures:
        for name in TENSORS:
            tensor = getattr(mixture, name).detach()
            if not bool(tensor.isfinite().all()):
                bad = int((~tensor.isfinite()).reshape(len(mixture), -1).any(1).sum())
                raise NotFiniteError(
                    f"descend: {bad} of {len(mixture)} Gaussians have {name} that are NaN or "
                    f"infinite after {now.step} steps.\n"
                    f"  Likely cause: a start that holds them, a gradient that is not finite, or "
                    f"steps that are too large.\n"
                    f"  Remedy: smaller rates, another start; `cryosplat check` looks at particles."
                )
    _check(now.value, "the value of the data term", now.step)


def _check(value: float, what: str, step: int) -> None:
    if not math.isfinite(value):
        raise NotFiniteError(
            f"descend: {what} is {value} after {step} steps, expected a finite number.\n"
            f"  Likely cause: particles whose pixels, CTF or noise are NaN or zero.\n"
            f"  Remedy: run `cryosplat check` on the particles, or smaller rates."
        )


class History:
    """Rows of the gains at every ``every``-th step and at the last.

    ``gains`` of a moment: on what is fitted and on what is held out; by default the fall of the
    value below zero, and nothing held out.
    """

    def __init__(
        self,
        every: int,
        gains: Callable[[Moment], tuple[float, float]] = lambda now: (-now.value, math.nan),
    ) -> None:
        self.every, self.gains = every, gains
        self.rows: list[Row] = []

    def __call__(self, now: Moment) -> None:
        if now.step % self.every == 0 or now.last:
            gain, unseen = self.gains(now)
            self.rows.append((now.step, gain, unseen))

    def looked_at(self, now: Moment) -> bool:
        """Whether there is a row of this moment."""
        return bool(self.rows) and self.rows[-1][0] == now.step

    def state(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def resume(self, state: Mapping[str, Any]) -> None:
        self.rows = [(int(step), float(gain), float(seen)) for step, gain, seen in state["rows"]]


class BestSoFar:
    """Remembers the mixtures with the highest gain on what is held out.

    Ends the descent where ``patience`` looks in a row found nothing better.
    """

    def __init__(self, history: History, patience: int) -> None:
        self.history, self.patience = history, patience
        self.step, self.gain = -1, -math.inf
        self.mixtures: tuple[GaussianMixture, ...] = ()

    def __call__(self, now: Moment) -> bool:
        if not self.history.looked_at(now):
            return False
        unseen = self.history.rows[-1][2]
        _check(unseen, "the likelihood of the held-out particles", now.step)
        if unseen > self.gain:
            self.step, self.gain, self.mixtures = now.step, unseen, detached(now.mixtures)
        return now.step - self.step >= self.patience * self.history.every

    def state(self) -> dict[str, Any]:
        mixtures = [
            {name: getattr(m, name) for name in TENSORS} | {"symmetry": m.symmetry}
            for m in self.mixtures
        ]
        return {"step": self.step, "gain": self.gain, "mixtures": mixtures}

    def resume(self, state: Mapping[str, Any]) -> None:
        self.step, self.gain = state["step"], state["gain"]
        self.mixtures = tuple(GaussianMixture(**tensors) for tensors in state["mixtures"])


def counted(advance: Callable[[int], None], per_step: float = 1.0) -> Watcher:
    """Tells ``advance`` how many units are done, ``per_step`` a step, those of an earlier run too."""
    done = 0

    def watch(now: Moment) -> None:
        nonlocal done
        now_done = round(now.step * per_step)
        advance(now_done - done)
        done = now_done

    return watch


def detached(mixtures: Sequence[GaussianMixture]) -> tuple[GaussianMixture, ...]:
    """The mixtures as values, without what they came from."""
    return tuple(
        replace(m, **{name: getattr(m, name).detach() for name in TENSORS}) for m in mixtures
    )

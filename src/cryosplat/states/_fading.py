"""Parts that come and go along a coordinate, where images of the other half-set say so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from ..fitting import Journal
from ..progress import FADING, Progress
from ._expectation import Assumptions
from ._judging import clear, gains
from ._learned import kept
from ._learning import Plan, learn
from ._preparation import Prepared
from .moving import Motion
from .values import Gain

ALONE = Plan(iterations=8, first=1500, hottest=1.0, cooling=0.0, decay=0.3)
TOGETHER = replace(ALONE, iterations=10)

Halves = tuple[tuple[Motion, Assumptions], tuple[Motion, Assumptions]]


def faded(
    halves: Halves, prepared: Prepared, progress: Progress, journal: Journal
) -> tuple[Halves, tuple[Gain, Gain]]:
    """The motion of both half-sets with amplitudes that follow its coordinates, or as it was.

    Amplitudes are learned alone at first, so that the gains (which are returned) are theirs; all else
    is learned on with them where both gains are clear, on images of the other half-set.
    """

    def learned(now: Halves, plan: Plan, name: str, only: Collection[str] | None = None) -> Halves:
        found = []
        with progress.stage(FADING, 2 * plan.iterations, "iterations") as stage:
            for half, (model, given) in enumerate(now):
                generator = torch.Generator().manual_seed(half)
                asked = given, prepared.seen, prepared.rows[half], plan, generator, stage.advance
                own = journal.of(f"{name} {half + 1}")
                found.append(kept(own, model, lambda m=model, a=asked: learn(m, *a, only)))
        return found[0], found[1]

    (first, a), (second, b) = halves
    alone = learned(((first.fading(), a), (second.fading(), b)), ALONE, "amplitudes", ("fades",))
    gain = gains(prepared, alone, halves)
    return (learned(alone, TOGETHER, "with amplitudes") if clear(gain) else halves), gain

"""More than a search begins with, where images of the other half-set ask for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

import torch

from ..fitting import Journal
from ..progress import Progress
from ._expectation import Assumptions
from ._judging import clear, gains
from ._learned import kept
from ._learning import Plan, learn
from ._preparation import Prepared
from .models import Model
from .values import Gain

ALONE = Plan(iterations=8, first=1500, hottest=1.0, cooling=0.0, decay=0.3)
TOGETHER = replace(ALONE, iterations=10)

M = TypeVar("M", bound=Model)
Halves = tuple[tuple[M, Assumptions], tuple[M, Assumptions]]


def freed(
    halves: Halves[M],
    more: Callable[[M], M],
    title: str,
    prepared: Prepared,
    progress: Progress,
    journal: Journal,
) -> tuple[Halves[M], tuple[Gain, Gain]]:
    """The states of both half-sets with the numbers that ``more`` gives them, or as they were.

    Those are learned alone at first, so that the gains (which are returned) are theirs; all else is
    learned on with them where both gains are clear, on images of the other half-set.
    """

    def learned(now: Halves[M], plan: Plan, name: str, only: Collection[str] | None) -> Halves[M]:
        found = []
        with progress.stage(title, 2 * plan.iterations, "iterations") as stage:
            for half, (model, given) in enumerate(now):
                generator = torch.Generator().manual_seed(half)
                asked = given, prepared.seen, prepared.rows[half], plan, generator, stage.advance
                own = journal.of(f"{name} {half + 1}")
                found.append(kept(own, model, lambda m=model, a=asked: learn(m, *a, only)))
        return found[0], found[1]

    (first, a), (second, b) = halves
    begun = (more(first), a), (more(second), b)
    alone = learned(begun, ALONE, "alone", set(begun[0][0].values) - set(first.values))
    gain = gains(prepared, alone, halves)
    return (learned(alone, TOGETHER, "together", None) if clear(gain) else halves), gain

"""Starts that are learned one after the other, and the best of them; what is done is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..fitting import Journal
from ..progress import EVERYONE, Progress
from ._expectation import Assumptions
from ._learning import Plan, evidence, learn
from ._preparation import Prepared
from .models import Model
from .observations import Observations

M = TypeVar("M", bound=Model)


def kept(journal: Journal, model: M, learn_it: Callable[[], Assumptions]) -> tuple[M, Assumptions]:
    """What ``learn_it`` makes of ``model``, or what the journal holds of it already."""
    saved = journal.load()
    if saved is None:
        given = learn_it()
        journal.finish(
            {"values": dict(model.values), "shares": given.shares, "absent": given.absent,
             "spread": given.spread}
        )  # fmt: skip
        journal.write()
        return model, given
    try:
        for name, value in model.values.items():
            if saved["values"][name].shape != value.shape:
                raise ValueError(f"{name} has another shape")
            model.values[name] = saved["values"][name].clone()
        return model, Assumptions(saved["shares"], float(saved["absent"]), float(saved["spread"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"checkpoint: not the state of this search ({error!r}).\n"
            f"  Remedy: begin anew, without --resume."
        ) from error


def best(
    starts: Iterable[tuple[Model, Assumptions]],
    seen: Observations,
    rows: NDArray,
    plan: Plan,
    seed: int,
    journal: Journal,
    on_iteration: Callable[[int], None] = lambda n: None,
) -> tuple[Model, Assumptions, list[float]]:
    """The start that explains the images ``rows`` best once all are learned, and what each came to.

    All have as many learnable numbers, so no images need to be left out to choose among them.
    """
    found: list[tuple[Model, Assumptions]] = []
    reached: list[float] = []
    for i, (model, given) in enumerate(starts):
        # each has its own random numbers, whether or not those before were learned in this run
        generator = torch.Generator().manual_seed(1000 * seed + i)
        found.append(
            kept(journal.of(f"start {i}"), model, lambda m=model, g=given, r=generator: learn(
                m, g, seen, rows, plan, r, on_iteration
            ))
        )  # fmt: skip
        reached.append(float(evidence(*found[-1], seen, rows).mean()))
    winner = max(range(len(found)), key=reached.__getitem__)
    return *found[winner], reached


def single_states(
    prepared: Prepared, plan: Plan, seed: int, progress: Progress, journal: Journal
) -> list[tuple[Model, Assumptions]]:
    """The map of each half-set learned on as states are that begin from it, which thus are no better
    off than one state is."""
    found = []
    with progress.stage("one map, as long as several", 2 * plan.iterations, "iterations") as stage:
        for half in (0, 1):
            one, rows = prepared.ones[half], prepared.rows[half]
            given = Assumptions.even(1, spread=one.given.spread)
            begun = [(one.model.copy(), given)]
            own = journal.of(f"one map {half + 1}")
            own_plan = replace(plan, hottest=prepared.hottest(half))
            model, given, _ = best(
                begun, prepared.seen, rows, own_plan, 2 * seed + half, own, stage.advance
            )
            found.append((model, given))
    return found


def learned_on(
    halves: Sequence[tuple[Model, Assumptions]],
    seen: Observations,
    rows: NDArray,
    plan: Plan,
    progress: Progress,
    journal: Journal,
) -> tuple[Model, Assumptions]:
    """The states of all particles: those of the half-set which explains them better, learned on."""
    theirs, given = max(halves, key=lambda pair: float(evidence(*pair, seen, rows).mean()))
    own, generator = theirs.copy(), torch.Generator().manual_seed(0)
    with progress.stage(EVERYONE, plan.iterations, "iterations") as stage:
        return kept(
            journal, own, lambda: learn(own, given, seen, rows, plan, generator, stage.advance)
        )

"""Classes: mixtures that share their Gaussians and have amplitudes of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..fitting import NOWHERE, Journal
from ..particles import Particles
from ..progress import CLASSES, Progress, SilentProgress
from ._expectation import Assumptions
from ._finer import refined
from ._judging import LEAST, class_agreement, gains, judged, matching, rival_gain
from ._learned import best, learned_on
from ._learning import Plan, evidence
from ._merging import Stage, merged_down
from ._posterior import posterior
from ._preparation import Prepared, prepare
from .models import Classes
from .observations import Observations
from .values import MOST_CLASSES, Gain, States, StateSettings, Verdict

SEARCH = Plan()
POLISH = Plan(iterations=14, first=2000, hottest=1.0, cooling=0.0, decay=0.3)
AGREED = 0.5  # kappa of the half-sets' classes


@dataclass(frozen=True, slots=True)
class Classification:
    """Classes of particles. ``scores``: gain over one map for each number of classes, on images of
    the other half-set, with its error; ``verdict``: whether there is more than one."""

    prepared: Prepared
    states: States
    verdict: Verdict
    scores: dict[int, Gain]
    starts: tuple[list[float], list[float]]

    @property
    def n(self) -> int:
        """How many classes."""
        return len(self.states.full)

    def own_weights(self) -> NDArray[np.float64]:
        """How far each particle shows each class (n, J), by the model of its own half-set."""
        half = self.prepared.particles.half_sets.numpy().astype(int) - 1
        own = self.states.by_halves[half, np.arange(len(half))]
        return own * (1.0 - self.states.absent)[:, None]


def classify(
    particles: Particles,
    settings: StateSettings,
    progress: Progress = SilentProgress(),
    *,
    classes: int | None = None,
    journal: Journal = NOWHERE,
) -> Classification:
    """Find ``classes`` classes, or as many as images of the other half-set are better explained by.

    Each half-set finds its own; the classes of all particles are learned from those. Raises as
    `prepare`.
    """
    prepared = prepare(particles, settings, progress)
    rival = rival_gain(prepared)
    paths, starts = _searched(prepared, settings, classes, progress, journal)
    scores = _scores(prepared, paths)
    n = classes or _enough(prepared, paths)
    stages = tuple(next(s for s in path if s.n == n) for path in paths)
    model, given = learned_on(
        [(s.model, s.given) for s in stages], prepared.seen, prepared.everyone, POLISH, progress,
        journal.of("all"),
    )  # fmt: skip
    model, given, seen = refined(
        model, given, prepared, settings.refine_box, progress, journal.of("finer")
    )
    assert isinstance(model, Classes)
    full = Stage(model, given)
    states = _states(prepared, full, seen, (stages[0], stages[1]))
    one, two = stages
    gain = gains(prepared, (one.model, two.model), (one.given, two.given))
    agreement = class_agreement(*states.by_halves) if n > 1 else 0.0
    if n == 1:
        gain = (Gain(0.0, 0.0), Gain(0.0, 0.0))
    more = (
        " The requested classes are written, but should not be trusted."
        if (classes or 1) > 1
        else ""
    )
    verdict = judged(gain, rival, agreement, AGREED, "several classes", more=more)
    return Classification(prepared, states, verdict, scores, (starts[0], starts[1]))


def _searched(
    prepared: Prepared, settings: StateSettings, classes: int | None, progress: Progress,
    journal: Journal,
) -> tuple[list[list[Stage]], list[list[float]]]:  # fmt: skip
    """Of each half-set, classes from the most to the fewest; and how well its starts did."""
    most = MOST_CLASSES if classes is None else min(MOST_CLASSES, classes + 2)
    most = max(most, classes or 1)
    paths, reached = [], []
    total = 2 * settings.starts * SEARCH.iterations
    with progress.stage(f"{CLASSES} {most} classes", total, "iterations") as stage:
        for half in (0, 1):
            one, rows = prepared.ones[half], prepared.rows[half]
            seed = 2 * settings.seed + half
            generator = torch.Generator().manual_seed(seed)
            plan = replace(SEARCH, hottest=prepared.hottest(half))
            begun = [
                (
                    Classes.begun(one.shared, one.encoding, most, generator),
                    Assumptions.even(most, spread=one.given.spread),
                )
                for _ in range(settings.starts)
            ]
            own = journal.of(f"half-set {half + 1}")
            model, given, values = best(begun, prepared.seen, rows, plan, seed, own, stage.advance)
            assert isinstance(model, Classes)
            paths.append(
                merged_down(Stage(model, given), prepared.seen, rows, classes or 1, generator)
            )
            reached.append(values)
    return paths, reached


def _differences(prepared: Prepared, paths: list[list[Stage]]) -> dict[int, NDArray[np.float64]]:
    """Nats over one map of each image, by the classes of the other half-set, for each number."""
    found: dict[int, list[NDArray[np.float64]]] = {}
    for half, path in enumerate(paths):
        rows, one = prepared.rows[1 - half], prepared.ones[half]
        single = evidence(one.model, one.given, prepared.seen, rows)
        for now in path:
            several = evidence(now.model, now.given, prepared.seen, rows)
            found.setdefault(now.n, []).append((several - single).numpy())
    return {n: np.concatenate(parts) for n, parts in found.items()}


def _scores(prepared: Prepared, paths: list[list[Stage]]) -> dict[int, Gain]:
    return {n: Gain.of(d) for n, d in sorted(_differences(prepared, paths).items())}


def _enough(prepared: Prepared, paths: list[list[Stage]]) -> int:
    """The fewest classes that images cannot be said to be worse explained by than by any number."""
    differences = _differences(prepared, paths)
    most = max(differences, key=lambda n: differences[n].mean())
    for n in sorted(differences):
        lost = Gain.of(differences[most] - differences[n])
        if lost.mean < max(LEAST, 2.0 * lost.error):
            return n
    return most


def _states(
    prepared: Prepared, full: Stage, seen: Observations, stages: tuple[Stage, Stage]
) -> States:
    """Classes in the order of their shares; those of the half-sets in the order of all's."""
    order = np.argsort(-full.given.shares.numpy(), kind="stable")
    own, absent = posterior(full.model, full.given, seen)
    own = own[:, order]
    by_halves, mixtures = [], []
    for now in stages:
        found = posterior(now.model, now.given, prepared.seen)[0]
        match = matching(own, found)
        by_halves.append(found[:, match])
        whole = now.model.mixtures()
        mixtures.append([whole[j] for j in match])
    whole = full.model.mixtures()
    return States(
        [whole[j] for j in order], (mixtures[0], mixtures[1]), full.given.shares.numpy()[order],
        own, np.stack(by_halves), absent,
    )  # fmt: skip

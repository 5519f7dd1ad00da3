"""Classes: mixtures that share their Gaussians and have amplitudes of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..fitting import NOWHERE, Journal
from ..notes import Note
from ..particles import Particles
from ..progress import Progress, SilentProgress
from ._expectation import Assumptions
from ._finer import finer, seen_in
from ._judging import LEAST, SURE, class_agreement, gains, matching, rival_gain
from ._learned import best, kept
from ._learning import Plan, evidence, learn
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
    full = _of_all(prepared, (stages[0], stages[1]), progress, journal)
    seen = prepared.seen
    if settings.refine_box is not None:
        full, seen = _refined(prepared, settings.refine_box, full, progress, journal)
    states = _states(prepared, full, seen, (stages[0], stages[1]))
    verdict = _verdict(prepared, (stages[0], stages[1]), states, rival, classes)
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
    with progress.stage(f"searching up to {most} classes", total, "iterations") as stage:
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


def _of_all(
    prepared: Prepared, stages: tuple[Stage, Stage], progress: Progress, journal: Journal
) -> Stage:
    """The classes of all particles: those of either half-set, learned on; the better of the two."""
    seen, rows = prepared.seen, prepared.everyone
    found = []
    with progress.stage("all particles", 2 * POLISH.iterations, "iterations") as stage:
        for half, now in enumerate(stages):
            generator = torch.Generator().manual_seed(half)
            model = now.model.copy()
            part = journal.of(f"all from {half + 1}")
            found.append(
                kept(part, model, lambda m=model, g=now.given, r=generator: learn(
                    m, g, seen, rows, POLISH, r, stage.advance
                ))
            )  # fmt: skip
    model, given = max(found, key=lambda one: float(evidence(one[0], one[1], seen, rows).mean()))
    assert isinstance(model, Classes)
    return Stage(model, given)


def _refined(
    prepared: Prepared, box: int, full: Stage, progress: Progress, journal: Journal
) -> tuple[Stage, Observations]:
    """The classes of all particles in a larger box, where the images have one."""
    seen = seen_in(prepared, box, full.n, progress)
    if seen is None:
        return full, prepared.seen
    model, given = finer(full.model, full.given, seen, prepared, progress, journal.of("finer"))
    assert isinstance(model, Classes)
    return Stage(model, given), seen


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


def _verdict(
    prepared: Prepared, stages: tuple[Stage, Stage], states: States, rival: Gain,
    asked: int | None,
) -> Verdict:  # fmt: skip
    models = stages[0].model, stages[1].model
    gain = gains(prepared, models, (stages[0].given, stages[1].given))
    first, second = states.by_halves
    agreement = class_agreement(first, second) if stages[0].n > 1 else 0.0
    least = min(gain, key=lambda g: g.mean)
    cause = ""
    if stages[0].n == 1 or least.mean < LEAST or least.deviations < SURE:
        cause = "images of the other half-set are not better explained by several classes"
    elif least.mean < rival.mean:
        cause = "wrong poses explain the images better than classes do"
    elif agreement < AGREED:
        cause = "the half-sets do not find the same classes"
    notes = []
    if cause:
        notes.append(Note(
            "states-not-found", "warning",
            f"No states found: {cause} (gain {gain[0]} and {gain[1]} nats per image, poses {rival}).",
            "Use the map of all particles; if you expect states, use more particles or better poses."
            + (" The requested classes are written, but should not be trusted."
               if (asked or 1) > 1 else ""),
        ))  # fmt: skip
    return Verdict(not cause, gain, agreement, rival, cause, tuple(notes))

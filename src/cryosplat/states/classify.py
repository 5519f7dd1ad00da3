"""Classes: mixtures that share their Gaussians and have amplitudes of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..fitting import NOWHERE, Journal
from ..particles import Particles
from ..progress import CLASSES, SHIFTED, Progress, SilentProgress
from ._expectation import Assumptions
from ._finer import refined
from ._freeing import Halves, freed
from ._judging import LEAST, class_agreement, clear, gains, judged, matching, rival_gain, shown
from ._learned import best, learned_on, single_states
from ._learning import Plan, evidence
from ._merging import Stage, merged_down
from ._posterior import posterior
from ._preparation import Prepared, prepare
from .models import Classes, Model
from .moving import Displaced
from .observations import Observations
from .values import MOST_CLASSES, Gain, States, StateSettings, Verdict

SEARCH = Plan()
POLISH = Plan(iterations=14, first=2000, hottest=1.0, cooling=0.0, decay=0.3)
AGREED = 0.5  # kappa of the half-sets' classes


@dataclass(frozen=True, slots=True)
class Classification:
    """Classes of particles. ``scores``: gain over one map for each number of classes, on images of
    the other half-set, with its error; ``verdict``: whether there is more than one. ``further_gains``:
    of parts that may lie elsewhere in each class, which they do if these are clear."""

    prepared: Prepared
    states: States
    verdict: Verdict
    scores: dict[int, Gain]
    further_gains: tuple[Gain, ...]
    starts: tuple[list[float], list[float]]

    @property
    def n(self) -> int:
        """How many classes."""
        return len(self.states.full)

    def further(self) -> tuple[str, bool]:
        """Whether parts lie elsewhere in each class, in a sentence; nothing where there are none."""
        if not self.further_gains:
            return "", False
        gain = "{} and {} nats per image of the other half-set".format(*self.further_gains)
        if clear(self.further_gains):
            return f"Parts lie elsewhere in each class: that gains {gain}.", True
        return f"No part lies elsewhere in another class: that would gain {gain}.", False

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
    if classes == 1:
        return _one_class(prepared, settings, progress, journal)
    paths, starts = _searched(prepared, settings, classes, progress, journal)
    differences = _differences(prepared, paths)
    n = classes or _enough(differences)
    first, second = _with(paths, n)
    halves, displaced = ((first.model, first.given), (second.model, second.given)), ()
    verdict = _verdict(prepared, paths, n if n > 1 else _likeliest(differences), n == classes)
    if verdict.found and n > 1:
        own = journal.of(f"displaced {n}")
        halves, displaced = freed(halves, Displaced.of, SHIFTED, prepared, progress, own)
    model, given = learned_on(
        halves, prepared.seen, prepared.everyone, POLISH, progress, journal.of("all")
    )  # fmt: skip
    model, given, seen = refined(
        model, given, prepared, settings.refine_box, verdict.found, progress, journal.of("finer")
    )
    assert isinstance(model, Classes)
    states = _states(prepared, Stage(model, given), seen, halves)
    scores = {n: Gain.of(d) for n, d in sorted(differences.items())}
    return Classification(prepared, states, verdict, scores, displaced, (starts[0], starts[1]))


def _one_class(
    prepared: Prepared, settings: StateSettings, progress: Progress, journal: Journal
) -> Classification:
    """All particles in one class, which is not looked for: there is nothing to judge."""
    ones = single_states(prepared, SEARCH, settings.seed, progress, journal)
    halves = tuple((_as_classes(model), given) for model, given in ones)
    model, given = learned_on(
        halves, prepared.seen, prepared.everyone, POLISH, progress, journal.of("all")
    )  # fmt: skip
    model, given, seen = refined(
        model, given, prepared, settings.refine_box, True, progress, journal.of("finer")
    )
    assert isinstance(model, Classes)
    states = _states(prepared, Stage(model, given), seen, (halves[0], halves[1]))
    none = Gain(0.0, 0.0)
    verdict = Verdict(True, (none, none), 1.0, rival_gain(prepared, ones))
    return Classification(prepared, states, verdict, {1: none}, (), ([], []))


def _as_classes(model: Model) -> Classes:
    means = model.values["means"]
    return Classes(model.values, model.encoding, means.new_zeros(len(means), 1))


def _with(paths: list[list[Stage]], n: int) -> tuple[Stage, Stage]:
    """The ``n`` classes of both half-sets."""
    first, second = (next(s for s in path if s.n == n) for path in paths)
    return first, second


def _likeliest(differences: dict[int, NDArray[np.float64]]) -> int:
    """The number of classes, above one, that explains images best."""
    return max((n for n in differences if n > 1), key=lambda n: differences[n].mean())


def _verdict(prepared: Prepared, paths: list[list[Stage]], n: int, asked: bool) -> Verdict:
    """On ``n`` classes, more than one; also where one is enough, so that what was measured is told."""
    several, one = _with(paths, n), _with(paths, 1)
    ones = [(s.model, s.given) for s in one]
    found = [posterior(s.model, s.given, prepared.seen)[0] for s in several]
    more = " The requested classes are written, but should not be trusted." if asked else ""
    return judged(
        gains(prepared, [(s.model, s.given) for s in several], ones), rival_gain(prepared, ones),
        class_agreement(found[0], found[1][:, matching(*found)]), AGREED, "several classes",
        shown(prepared, ones), more=more,
    )  # fmt: skip


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
            paths.append(merged_down(Stage(model, given), prepared.seen, rows, generator))
            reached.append(values)
    return paths, reached


def _differences(
    prepared: Prepared, paths: list[list[Stage]]
) -> dict[int, NDArray[np.float64]]:  # fmt: skip
    """Nats over one class of each image, by the classes of the other half-set, for each number.

    One class is what is left of several: it was learned on as these were, and longer.
    """
    found: dict[int, list[NDArray[np.float64]]] = {}
    for half, path in enumerate(paths):
        rows = prepared.rows[1 - half]
        each = {s.n: evidence(s.model, s.given, prepared.seen, rows).numpy() for s in path}
        for n, own in each.items():
            found.setdefault(n, []).append(own - each[1])
    return {n: np.concatenate(parts) for n, parts in found.items()}


def _enough(differences: dict[int, NDArray[np.float64]]) -> int:
    """The fewest classes that images cannot be said to be worse explained by than by any number."""
    most = max(differences, key=lambda n: differences[n].mean())
    for n in sorted(differences):
        lost = Gain.of(differences[most] - differences[n])
        if lost.mean < max(LEAST, 2.0 * lost.error):
            return n
    return most


def _states(prepared: Prepared, full: Stage, seen: Observations, halves: Halves[Classes]) -> States:
    """Classes in the order of their shares; those of the half-sets in the order of all's."""
    order = np.argsort(-full.given.shares.numpy(), kind="stable")
    own, absent = posterior(full.model, full.given, seen)
    own = own[:, order]
    by_halves, mixtures = [], []
    for half in halves:
        found = posterior(*half, prepared.seen)[0]
        match = matching(own, found)
        by_halves.append(found[:, match])
        whole = half[0].mixtures()
        mixtures.append([whole[j] for j in match])
    whole = full.model.mixtures()
    return States(
        [whole[j] for j in order], (mixtures[0], mixtures[1]), full.given.shares.numpy()[order],
        own, np.stack(by_halves), absent,
    )  # fmt: skip

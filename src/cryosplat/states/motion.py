"""Motion: Gaussians that move along coordinates, of which each particle has its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError
from ..fitting import NOWHERE, Journal
from ..mixture import GaussianMixture
from ..notes import Note
from ..particles import Particles
from ..progress import Progress, SilentProgress
from ._expectation import Assumptions
from ._finer import finer, seen_in
from ._judging import LEAST, SURE, gains, rival_gain
from ._learned import best, kept
from ._learning import Plan, evidence, learn
from ._posterior import posterior
from ._preparation import Prepared, prepare
from .coordinates import functions_at, nodes_of, summary_of, turned_to
from .models import Motion
from .observations import Observations
from .values import MOST_COORDINATES, Gain, States, StateSettings, Verdict

ANCHORS = 12
SEARCH = Plan()
POLISH = Plan(iterations=16, first=2000, hottest=1.0, cooling=0.0, decay=0.3)
AGREED = 0.3  # rank correlation of the half-sets' coordinates
RIGID = 0.8  # share of all displacements that one turn of everything explains


@dataclass(frozen=True, slots=True)
class Movement:
    """Particles along coordinates.

    ``nodes`` (J, c): where ``states`` are; ``coordinate`` and ``width`` (n, c): mean and standard
    deviation of each particle's; ``by_halves`` (2, n, c): the coordinate by the model of each
    half-set, turned to that of all; ``model``: the mixture with its motion.
    """

    prepared: Prepared
    states: States
    verdict: Verdict
    nodes: NDArray[np.float64]
    coordinate: NDArray[np.float64]
    width: NDArray[np.float64]
    by_halves: NDArray[np.float64]
    model: Motion
    starts: tuple[list[float], list[float]]

    def own_coordinate(self) -> NDArray[np.float64]:
        """The first coordinate of each particle (n,), by the model of its own half-set."""
        half = self.prepared.particles.half_sets.numpy().astype(int) - 1
        return self.by_halves[half, np.arange(len(half)), 0]

    def at(self, z: Tensor) -> list[GaussianMixture]:
        """The mixtures at coordinates (m, c)."""
        return self.model.at(functions_at(z))


def move(
    particles: Particles,
    settings: StateSettings,
    progress: Progress = SilentProgress(),
    *,
    coordinates: int = 1,
    journal: Journal = NOWHERE,
) -> Movement:
    """Find how the molecule moves along ``coordinates``, and where each particle is along them.

    Each half-set finds its own motion; that of all particles is learned from those. Raises as
    `prepare`, and `SettingsError` for other than 1 to 3 coordinates.
    """
    if not 1 <= coordinates <= MOST_COORDINATES:
        raise SettingsError(f"--coordinates {coordinates}: expected 1 to {MOST_COORDINATES}.")
    prepared = prepare(particles, settings, progress)
    rival = rival_gain(prepared)
    nodes = nodes_of(coordinates)
    found, starts = _searched(prepared, settings, nodes, progress, journal)
    model, given = _of_all(prepared, found, progress, journal)
    seen = prepared.seen
    if settings.refine_box is not None:
        model, given, seen = _refined(
            prepared, settings.refine_box, model, given, progress, journal
        )
    own, absent = posterior(model, given, seen)
    at = nodes.double().numpy()
    mean, width = summary_of(own, at)
    by_halves, posteriors, mixtures = [], [], []
    for half in found:
        theirs, nodes_of_half = posterior(half[0], half[1], prepared.seen)[0], half[0].mixtures()
        coordinate = summary_of(theirs, at)[0]
        if coordinates == 1 and np.corrcoef(coordinate[:, 0], mean[:, 0])[0, 1] < 0.0:
            theirs, coordinate, nodes_of_half = theirs[:, ::-1], -coordinate, nodes_of_half[::-1]
        by_halves.append(turned_to(mean, coordinate)[0])
        posteriors.append(theirs)
        mixtures.append(nodes_of_half)
    _, between = turned_to(by_halves[0], by_halves[1])
    verdict = _verdict(prepared, found, model, rival, max(0.0, between))
    states = States(
        model.mixtures(), (mixtures[0], mixtures[1]), given.shares.numpy(), own,
        np.stack(posteriors), absent,
    )  # fmt: skip
    return Movement(
        prepared, states, verdict, at, mean, width, np.stack(by_halves), model,
        (starts[0], starts[1]),
    )  # fmt: skip


Found = tuple[Motion, Assumptions]


def _searched(
    prepared: Prepared, settings: StateSettings, nodes: Tensor, progress: Progress, journal: Journal
) -> tuple[tuple[Found, Found], list[list[float]]]:
    found: list[Found] = []
    reached = []
    total = 2 * settings.starts * SEARCH.iterations
    basis = functions_at(nodes)
    with progress.stage("searching for motion", total, "iterations") as stage:
        for half in (0, 1):
            one, rows = prepared.ones[half], prepared.rows[half]
            seed = 2 * settings.seed + half
            generator = torch.Generator().manual_seed(seed)
            plan = replace(SEARCH, hottest=prepared.hottest(half))
            begun = [
                (
                    Motion.begun(
                        one.shared, one.encoding, basis, ANCHORS, generator, nodes.shape[1]
                    ),
                    Assumptions.even(len(nodes), spread=one.given.spread),
                )
                for _ in range(settings.starts)
            ]
            model, given, values = best(
                begun, prepared.seen, rows, plan, seed, journal.of(f"half-set {half + 1}"),
                stage.advance,
            )  # fmt: skip
            assert isinstance(model, Motion)
            found.append((model, given))
            reached.append(values)
    return (found[0], found[1]), reached


def _of_all(
    prepared: Prepared, halves: tuple[Found, Found], progress: Progress, journal: Journal
) -> Found:
    """The motion of all particles: that of either half-set, learned on; the better of the two."""
    seen, rows = prepared.seen, prepared.everyone
    found: list[Found] = []
    with progress.stage("all particles", 2 * POLISH.iterations, "iterations") as stage:
        for half, (theirs, given) in enumerate(halves):
            generator = torch.Generator().manual_seed(half)
            model = theirs.copy()
            part = journal.of(f"all from {half + 1}")
            learned = kept(part, model, lambda m=model, g=given, r=generator: learn(
                m, g, seen, rows, POLISH, r, stage.advance
            ))  # fmt: skip
            assert isinstance(learned[0], Motion)
            found.append((learned[0], learned[1]))
    return max(found, key=lambda pair: float(evidence(*pair, seen, rows).mean()))


def _refined(
    prepared: Prepared, box: int, model: Motion, given: Assumptions, progress: Progress,
    journal: Journal,
) -> tuple[Motion, Assumptions, Observations]:  # fmt: skip
    """The motion of all particles in a larger box, where the images have one."""
    seen = seen_in(prepared, box, model.n_states, progress)
    if seen is None:
        return model, given, prepared.seen
    found, given = finer(model, given, seen, prepared, progress, journal.of("finer"))
    assert isinstance(found, Motion)
    return found, given, seen


def rigid_share(model: Motion) -> float:
    """The share of all displacements that one turn and shift of everything explains."""
    mixtures = model.mixtures()
    places = torch.stack([m.means for m in mixtures]).double()
    weights = mixtures[0].amplitudes.double()
    weights = weights / weights.sum()
    centre = torch.einsum("g,jgc->jc", weights, places)
    middle = places.mean(0)
    arms = middle - weights @ middle
    left = moved = 0.0
    for at, own in zip(places, centre, strict=True):
        u, _, v = torch.linalg.svd(torch.einsum("g,gi,gj->ij", weights, arms, at - own))
        sign = torch.linalg.det(u @ v).sign()
        turn = u @ torch.diag(torch.stack([sign.new_ones(()), sign.new_ones(()), sign])) @ v
        left += float((weights * (at - own - arms @ turn).square().sum(1)).sum())
        moved += float((weights * (at - middle).square().sum(1)).sum())
    return 1.0 - left / max(moved, 1e-12)


def _verdict(
    prepared: Prepared, halves: tuple[Found, Found], model: Motion, rival: Gain, agreement: float
) -> Verdict:
    gain = gains(prepared, (halves[0][0], halves[1][0]), (halves[0][1], halves[1][1]))
    least = min(gain, key=lambda g: g.mean)
    rigid = rigid_share(model)
    cause = ""
    if least.mean < LEAST or least.deviations < SURE:
        cause = "images of the other half-set are not better explained by motion"
    elif least.mean < rival.mean or rigid > RIGID:
        cause = "the poses are wrong: turning the whole molecule explains the images as well"
    elif agreement < AGREED:
        cause = "the half-sets do not find the same motion"
    notes = []
    if cause:
        notes.append(Note(
            "states-not-found", "warning",
            f"No states found: {cause} (gain {gain[0]} and {gain[1]} nats per image, poses {rival}, "
            f"agreement of the half-sets {agreement:.2f}).",
            "Use the map of all particles; if you expect motion, use more particles or better poses.",
        ))  # fmt: skip
    return Verdict(not cause, gain, agreement, rival, cause, tuple(notes))

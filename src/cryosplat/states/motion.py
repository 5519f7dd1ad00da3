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
from ..particles import Particles
from ..progress import Progress, SilentProgress
from ._expectation import Assumptions
from ._finer import refined
from ._judging import gains, judged, rival_gain
from ._learned import best, learned_on
from ._learning import Plan
from ._posterior import coordinates_of, posterior
from ._preparation import Prepared, prepare
from .coordinates import functions_at, nodes_of, turned_to
from .models import Motion
from .undone import Traced, matched
from .values import MOST_COORDINATES, States, StateSettings, Verdict

ANCHORS = 12
SEARCH = Plan()
POLISH = Plan(iterations=16, first=2000, hottest=1.0, cooling=0.0, decay=0.3)
AGREED = 0.3  # rank correlation of the half-sets' coordinates
EDGES = 0.02  # share of the particles beyond the first and the last frame
RIGID = 0.8  # share of all displacements that one turn of everything explains


@dataclass(frozen=True, slots=True)
class Movement:
    """Particles along coordinates.

    ``nodes`` (J, c): where ``states`` are; ``coordinate`` and ``width`` (n, c): mean and standard
    deviation of each particle's; ``by_halves`` (2, n, c): the coordinate by the model of each
    half-set, turned to that of all; ``model``: the mixture with its motion; ``of_halves``: those of
    the half-sets, ``theirs`` (2, n, c): the coordinates as these have them.
    """

    prepared: Prepared
    states: States
    verdict: Verdict
    nodes: NDArray[np.float64]
    coordinate: NDArray[np.float64]
    width: NDArray[np.float64]
    by_halves: NDArray[np.float64]
    model: Motion
    of_halves: tuple[Motion, Motion]
    theirs: NDArray[np.float64]
    starts: tuple[list[float], list[float]]

    def own_coordinate(self) -> NDArray[np.float64]:
        """The first coordinate of each particle (n,), by the model of its own half-set."""
        half = self.prepared.particles.half_sets.numpy().astype(int) - 1
        return self.by_halves[half, np.arange(len(half)), 0]

    def centre(self) -> NDArray[np.float64]:
        """The medians of the coordinates (c,)."""
        return np.median(self.coordinate, axis=0)

    def ends(self) -> NDArray[np.float64]:
        """Where the first coordinate begins and ends (2, c), the others at their medians."""
        ends = np.tile(self.centre(), (2, 1))
        ends[:, 0] = np.quantile(self.coordinate[:, 0], [EDGES, 1.0 - EDGES])
        return ends

    def traced(self, at: NDArray[np.float64]) -> tuple[Traced, Traced]:
        """The state at coordinates ``at`` (c,) as each half-set has it by itself."""
        there = self.states.absent < 0.5
        first, second = (
            Traced(model, rows[there[rows]], theirs, matched(at, self.coordinate, theirs))
            for model, rows, theirs in zip(
                self.of_halves, self.prepared.rows, self.theirs, strict=True
            )
        )
        return first, second

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
    model, given = learned_on(
        found, prepared.seen, prepared.everyone, POLISH, progress, journal.of("all")
    )
    model, given, seen = refined(
        model, given, prepared, settings.refine_box, progress, journal.of("finer")
    )
    assert isinstance(model, Motion)
    own, absent = posterior(model, given, seen)
    at = nodes.double().numpy()
    mean, width = coordinates_of(model, given, seen, coordinates)
    by_halves, posteriors, mixtures, raw = [], [], [], []
    for half in found:
        theirs, nodes_of_half = posterior(half[0], half[1], prepared.seen)[0], half[0].mixtures()
        coordinate = coordinates_of(half[0], half[1], prepared.seen, coordinates)[0]
        raw.append(coordinate)
        if coordinates == 1 and np.corrcoef(coordinate[:, 0], mean[:, 0])[0, 1] < 0.0:
            theirs, coordinate, nodes_of_half = theirs[:, ::-1], -coordinate, nodes_of_half[::-1]
        by_halves.append(turned_to(mean, coordinate)[0])
        posteriors.append(theirs)
        mixtures.append(nodes_of_half)
    _, between = turned_to(by_halves[0], by_halves[1])
    gain = gains(prepared, (found[0][0], found[1][0]), (found[0][1], found[1][1]))
    turned = rigid_share(model) > RIGID
    verdict = judged(gain, rival, max(0.0, between), AGREED, "motion", turned)
    states = States(
        model.mixtures(), (mixtures[0], mixtures[1]), given.shares.numpy(), own,
        np.stack(posteriors), absent,
    )  # fmt: skip
    return Movement(
        prepared, states, verdict, at, mean, width, np.stack(by_halves), model,
        (found[0][0], found[1][0]), np.stack(raw), (starts[0], starts[1]),
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

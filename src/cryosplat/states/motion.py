"""Motion: Gaussians that move along coordinates, of which each particle has its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SettingsError
from ..fitting import NOWHERE, Journal
from ..mixture import GaussianMixture
from ..particles import Particles
from ..progress import FADING, Progress, SilentProgress
from ._expectation import Assumptions
from ._finer import finer_halves, refined
from ._freeing import Halves, freed
from ._judging import Learned, clear, gains, judged, rival_gain, shown
from ._learned import best, learned_on, single_states
from ._learning import Plan
from ._posterior import coordinates_of, posterior
from ._preparation import Prepared, prepare
from .coordinates import agreement_of, functions_at, nodes_of, turned_to
from .moving import ANCHORS, Motion
from .undone import Traced, matched
from .values import MOST_COORDINATES, Gain, States, StateSettings, Verdict

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
    the half-sets. ``further_gains``: of amplitudes that follow the coordinates, which they do if these
    are clear; none where that was not asked.
    """

    prepared: Prepared
    states: States
    verdict: Verdict
    nodes: NDArray[np.float64]
    coordinate: NDArray[np.float64]
    width: NDArray[np.float64]
    by_halves: NDArray[np.float64]
    model: Motion
    of_halves: Halves[Motion]
    further_gains: tuple[Gain, ...]
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

    def further(self) -> tuple[str, bool]:
        """Whether parts come and go, in a sentence; nothing where no motion was found."""
        if not (self.verdict.found and self.further_gains):
            return "", False
        first, second = self.further_gains
        gain = f"{first} and {second} nats per image of the other half-set"
        if "fades" not in self.model.values:
            return f"No part comes and goes: amplitudes that follow the motion gain {gain}.", False
        return (
            f"Parts come and go: a tenth of the mass falls to {100 * self.states.faintest():.0f} % or "
            f"less of what it is in other states (amplitudes that follow the motion gain {gain})."
        ), True

    def traced(
        self, at: NDArray[np.float64], progress: Progress, journal: Journal = NOWHERE
    ) -> tuple[Traced, Traced]:
        """The state at coordinates ``at`` (c,) as each half-set has it by itself, in a finer box."""
        there = self.states.absent < 0.5
        finer = finer_halves(self.of_halves, self.prepared, progress, journal)
        halves, seen = finer or (self.of_halves, self.prepared.seen)
        found = []
        for (model, given), every in zip(halves, self.prepared.rows, strict=True):
            assert isinstance(model, Motion)
            rows = every[there[every]]
            own, _ = coordinates_of(model, given, seen.select(rows), len(at))
            found.append(Traced(model, rows, own, matched(at, self.coordinate[rows], own)))
        return found[0], found[1]

    def at(self, z: Tensor) -> list[GaussianMixture]:
        """The mixtures at coordinates (m, c)."""
        return self.model.at(functions_at(z))


def move(
    particles: Particles,
    settings: StateSettings,
    progress: Progress = SilentProgress(),
    *,
    coordinates: int | None = 1,
    journal: Journal = NOWHERE,
) -> Movement:
    """Find how the molecule moves along ``coordinates``, and where each particle is along them.

    None: as many coordinates as explain images of the other half-set better than one fewer does, and
    are the same to both half-sets. Each half-set finds its own motion; that of all particles is learned
    from those. Raises as `prepare`, and `SettingsError` for other than 1 to 3 coordinates.
    """
    if coordinates is not None and not 1 <= coordinates <= MOST_COORDINATES:
        raise SettingsError(f"--coordinates {coordinates}: expected 1 to {MOST_COORDINATES}.")
    prepared = prepare(particles, settings, progress)
    found = _searched(prepared, settings, coordinates or 1, progress, journal)
    ones = single_states(prepared, SEARCH, settings.seed, progress, journal)
    if coordinates is None:
        found = _more(prepared, settings, found, ones, progress, journal)
    gain, fading = gains(prepared, found.halves, ones), ()
    if clear(gain) and found.agreement >= AGREED:
        own = journal.of(f"fading {found.n}")
        halves, fading = freed(found.halves, Motion.fading, FADING, prepared, progress, own)
        raw = [coordinates_of(*half, prepared.seen, found.n)[0] for half in halves]
        found = replace(found, halves=halves, raw=np.stack(raw))
    model, given = learned_on(
        found.halves, prepared.seen, prepared.everyone, POLISH, progress,
        journal.of(f"all along {found.n}"),
    )  # fmt: skip
    assert isinstance(model, Motion)
    rival, turned = rival_gain(prepared, ones), rigid_share(model) > RIGID
    verdict = judged(gain, rival, found.agreement, AGREED, "motion", shown(prepared, ones), turned)
    model, given, seen = refined(
        model, given, prepared, settings.refine_box, verdict.found, progress, journal.of("finer")
    )
    assert isinstance(model, Motion)
    own, absent = posterior(model, given, seen)
    at = nodes_of(found.n).double().numpy()
    mean, width = coordinates_of(model, given, seen, found.n)
    by_halves, posteriors, mixtures = [], [], []
    for half, coordinate in zip(found.halves, found.raw, strict=True):
        theirs, nodes_of_half = posterior(half[0], half[1], prepared.seen)[0], half[0].mixtures()
        if found.n == 1 and np.corrcoef(coordinate[:, 0], mean[:, 0])[0, 1] < 0.0:
            theirs, nodes_of_half = theirs[:, ::-1], nodes_of_half[::-1]
        by_halves.append(turned_to(mean, coordinate))
        posteriors.append(theirs)
        mixtures.append(nodes_of_half)
    states = States(
        model.mixtures(), (mixtures[0], mixtures[1]), given.shares.numpy(), own,
        np.stack(posteriors), absent,
    )  # fmt: skip
    return Movement(
        prepared, states, verdict, at, mean, width, np.stack(by_halves), model,
        found.halves, fading, found.starts,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Found:
    """Motion of both half-sets along ``n`` coordinates; ``raw`` (2, m, n): those of all particles by
    either; ``starts``: how well each start did."""

    halves: Halves[Motion]
    raw: NDArray[np.float64]
    starts: tuple[list[float], list[float]]

    @property
    def n(self) -> int:
        """How many coordinates."""
        return self.raw.shape[2]

    @property
    def agreement(self) -> float:
        """Of the half-sets, on the coordinate on which they agree least."""
        return agreement_of(self.raw[0], self.raw[1])


def _more(
    prepared: Prepared, settings: StateSettings, found: _Found, ones: Sequence[Learned],
    progress: Progress, journal: Journal,
) -> _Found:  # fmt: skip
    """Motion along as many coordinates as each explain more and are found by both half-sets."""
    tried, below = found, ones
    while True:
        gain = gains(prepared, tried.halves, below)
        progress.say(
            f"Coordinate {tried.n} gains {gain[0]} and {gain[1]} nats per image; agreement of the "
            f"half-sets {tried.agreement:.2f}."
        )
        if not clear(gain) or tried.agreement < AGREED:
            return found
        found, below = tried, tried.halves
        if found.n == MOST_COORDINATES:
            return found
        tried = _searched(prepared, settings, found.n + 1, progress, journal)


def _searched(
    prepared: Prepared, settings: StateSettings, n: int, progress: Progress, journal: Journal
) -> _Found:
    halves: list[tuple[Motion, Assumptions]] = []
    reached, raw = [], []
    total = 2 * settings.starts * SEARCH.iterations
    basis = functions_at(nodes_of(n))
    along = "" if n == 1 else f" along {n} coordinates"
    with progress.stage(f"searching for motion{along}", total, "iterations") as stage:
        for half in (0, 1):
            one, rows = prepared.ones[half], prepared.rows[half]
            seed = 2 * settings.seed + half
            generator = torch.Generator().manual_seed(seed)
            plan = replace(SEARCH, hottest=prepared.hottest(half))
            begun = [
                (
                    Motion.begun(one.shared, one.encoding, basis, ANCHORS, generator, n),
                    Assumptions.even(len(basis), spread=one.given.spread),
                )
                for _ in range(settings.starts)
            ]
            own = journal.of(f"half-set {half + 1} along {n}")
            model, given, values = best(begun, prepared.seen, rows, plan, seed, own, stage.advance)
            assert isinstance(model, Motion)
            halves.append((model, given))
            reached.append(values)
            raw.append(coordinates_of(model, given, prepared.seen, n)[0])
    return _Found((halves[0], halves[1]), np.stack(raw), (reached[0], reached[1]))


def rigid_share(model: Motion) -> float:
    """The share of all displacements that one turn and shift of everything explains."""
    mixtures = model.mixtures()
    places = torch.stack([m.means for m in mixtures]).double()
    weights = model.shared().amplitudes.double()
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

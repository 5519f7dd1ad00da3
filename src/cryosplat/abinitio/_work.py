"""The parts of the search, each kept once it is done: first maps, half-sets, the poses of all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..fitting import Journal
from ..grid import Grid
from ..mixture import TENSORS, GaussianMixture, mean_of
from ..progress import Progress, Stage
from ..splatting import voxelize
from . import _first, _second
from ._assignment import explained
from ._centring import blob_of
from ._first import First, FirstLevel, first_map
from ._images import SmallImages
from ._orientations import count_at, evenly
from ._scores import score_of
from ._search import (
    CHUNKED,
    WIDE_CROSS,
    Candidates,
    Hypotheses,
    Template,
    apart,
    searched_everywhere,
    searched_near,
)
from ._second import (
    Half,
    SecondLevel,
    believed,
    reached_by,
    refined,
    unplaced,
    weighted,
)
from .values import Score, Show, Snapshot, unseen

FIRST, HALVES, ALL = "initial map", "half-sets from map", "poses of all images"
GROWN = "half-sets further, in"
ON = SecondLevel(limits=(9.0, 10.0, 11.0, 12.5, 14.0), everywhere=0, more=4)
SHARPENED = FirstLevel(batches=(400, 2000), least_temperature=0.2)
SNAPSHOTS = 5  # of the first level
SHOWN_EVERY = 10  # steps of it
PLACES, OF = 8, 100  # that lie apart: in which an image may be, of so many likeliest orientations
APART = 1.5  # spacings of these
CLOSER = 0.7  # times as wide is each search about such a place


@dataclass(frozen=True, slots=True)
class Start:
    """A first map, its score, and the gains of the held-out images."""

    number: int
    first: First
    score: Score
    gains: Tensor
    history: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A start that was carried on: both half-sets, without the held-out images."""

    start: Start
    mixtures: tuple[GaussianMixture, GaussianMixture]
    fsc: Tensor
    score: Score
    history: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """The images, which of them are ``held`` out (n,), their half-sets and first centres."""

    images: SmallImages
    held: Tensor
    half_sets: Tensor
    centres: Tensor
    deviation: float
    show: Show = unseen

    def start(
        self, number: int, seed: int, sharp: bool, journal: Journal, progress: Progress
    ) -> Start:
        """The first map number ``number``."""
        level = SHARPENED if sharp else FirstLevel()
        grid = Grid(_first.BOX, self.images.side / _first.BOX)
        own = journal.of(f"start {number}")
        rows = (~self.held).nonzero().squeeze(1)
        generator = generator_of(seed, 2, number)
        history: list[Snapshot] = []
        saved = own.load()
        with progress.stage(f"{FIRST} {number + 1}", level.steps, "steps") as stage:

            def watch(step: int, mixture: GaussianMixture, temperature: float) -> None:
                stage.advance()
                every = level.steps // SNAPSHOTS
                if step % SHOWN_EVERY == SHOWN_EVERY - 1:
                    title = f"{FIRST} {number + 1}, step {step + 1}"
                    self.show(title, voxelize(mixture, grid).detach().cpu(), grid.pixel_size)
                if step % every == every - 1:
                    volume = voxelize(mixture, grid).detach().cpu()
                    history.append(Snapshot(f"step {step + 1}", volume))

            if saved is None:
                images, centres = self.images.select(rows), self.centres[rows]
                first = first_map(images, centres, self.deviation, level, generator, watch)
                own.finish(packed_maps((first.mixture,), history) | {"centres": first.centres})
                own.write()
            else:
                (mixture,), history = unpacked_maps(saved)
                first = First(mixture, saved["centres"])
        limit = level.limits[1]
        template = Template.of(voxelize(first.mixture, grid), _first.PADDING, limit, self.deviation)
        rotations = evenly(count_at(level.spacing / limit))
        held = self.held.nonzero().squeeze(1)
        profile = blob_of(self.images.select(rows), self.centres[rows], limit)
        score, gains = score_of(
            self.images.select(held), template, rotations, self.centres[held], 0.04, profile
        )
        progress.say(
            f"Initial map {number + 1}: {score.gain:.2f} nats per unseen image over noise, "
            f"{score.shape:.2f} ± {score.doubt:.2f} over a round blob."
        )
        return Start(number, first, score, gains, tuple(history))

    @property
    def grid(self) -> Grid:
        """Of the levels after the first."""
        return Grid(_second.BOX, self.images.side / _second.BOX)

    def carry(self, start: Start, seed: int, journal: Journal, progress: Progress) -> Branch:
        """Both half-sets refined from a start, each by itself."""
        level = SecondLevel()
        centres = self.centres.clone()
        centres[~self.held] = start.first.centres
        own = journal.of(f"half-sets from {start.number}")
        saved = own.load()
        title = f"{HALVES} {start.number + 1}"
        with progress.stage(title, level.rounds, "rounds") as stage:
            if saved is None:
                begin = [Half(start.first.mixture, unplaced(centres[m])) for m in self._members()]
                generators = [generator_of(seed, h, start.number) for h in (0, 1)]
                mixtures, fsc, history = self._refined(
                    begin, level, generators, stage, before=f"{title}, "
                )
                own.finish(packed_maps(mixtures, history) | {"fsc": fsc})
                own.write()
            else:
                (first, second), history = unpacked_maps(saved)
                mixtures, fsc = (first, second), saved["fsc"]
        held = self.held.nonzero().squeeze(1)
        found = self._poses(
            held, mean_of(mixtures), 2.0 * fsc / (1.0 + fsc), level,
            generator_of(seed, 4, start.number),
        )  # fmt: skip
        score = replace(start.score, gain=float(explained(found.evidence).double().mean()))
        progress.say(f"From map {start.number + 1}: {score.gain:.2f} nats per unseen image.")
        return Branch(start, mixtures, fsc, score, tuple(history))

    def grown(
        self, branch: Branch, mixtures: tuple[GaussianMixture, GaussianMixture], poses: Hypotheses,
        seed: int, progress: Progress,
    ) -> Branch:  # fmt: skip
        """Both half-sets refined further from ``mixtures``, with the symmetry that these have.

        ``poses``: of all images in their frame, from which single poses are sought.
        """
        device, name = self.images.device, mixtures[0].symmetry
        begin = [
            Half(mixture.to(device), poses.select(rows).to(device).candidates())
            for mixture, rows in zip(mixtures, self._members(), strict=True)
        ]
        generators = [generator_of(seed, number) for number in (5, 6)]
        with progress.stage(f"{GROWN} {name}", ON.rounds, "rounds") as stage:
            (first, second), fsc, history = self._refined(
                begin, ON, generators, stage, after=f" in {name}"
            )
        found = first.to("cpu"), second.to("cpu")
        return replace(branch, mixtures=found, fsc=fsc, history=(*branch.history, *history))

    def _members(self) -> list[Tensor]:
        """The images of each half-set that are not held out."""
        return [(~self.held & (self.half_sets == h)).nonzero().squeeze(1) for h in (1, 2)]

    def _refined(
        self, begin: Sequence[Half], level: SecondLevel, generators: Sequence[torch.Generator],
        stage: Stage, before: str = "", after: str = "",
    ) -> tuple[tuple[GaussianMixture, GaussianMixture], Tensor, list[Snapshot]]:  # fmt: skip
        """The half-sets' mixtures, their FSC, and a snapshot of each round; what is said ``before`` a
        round's name where its map is shown, and ``after`` it."""
        history: list[Snapshot] = []

        def watch(number: int, halves: tuple[Half, Half], fsc: Tensor) -> None:
            stage.advance()
            title = f"round {number + 1}{after}"
            volume = voxelize(mean_of([half.mixture for half in halves]), self.grid).detach().cpu()
            history.append(Snapshot(title, volume))
            self.show(f"{before}{title}", volume, self.grid.pixel_size)

        images = [self.images.select(rows) for rows in self._members()]
        halves, fsc = refined(
            (images[0], images[1]), (begin[0], begin[1]), self.deviation, level,
            (generators[0], generators[1]), watch,
        )  # fmt: skip
        return (halves[0].mixture, halves[1].mixture), fsc, history

    def gains_of(self, mixture: GaussianMixture, fsc: Tensor) -> Tensor:
        """What each image kept apart gains by a map (n,), all orientations taken together.

        ``fsc``: that of the map with another of as much noise. Comparable from map to map, unlike
        the gain about the best few poses. Centres are sought widely: an image that is looked at beside
        its centre prefers whatever map is smoother.
        """
        level = SecondLevel()
        rows = self.held.nonzero().squeeze(1)
        limit = min(level.limits[level.everywhere], reached_by(fsc, level.worth))
        volume = weighted(voxelize(mixture.to(self.images.device), self.grid), believed(fsc))
        template = Template.of(volume, _second.PADDING, limit, self.deviation)
        rotations = evenly(count_at(level.spacing / limit))
        step = level.shift_step / limit
        images, centres = self.images.select(rows), self.centres[rows]
        found = searched_everywhere(images, template, rotations, centres, step, 1, WIDE_CROSS)
        return explained(found.evidence).double().cpu()

    def finish(self, branch: Branch, seed: int, progress: Progress) -> Hypotheses:
        """Poses of all images, the held-out ones too, each against the map of its own half-set."""
        level = SecondLevel()
        generator = generator_of(seed, 3, 0)
        parts, order = [], []
        with progress.stage(ALL, len(self.images), "images") as stage:
            for number, mixture in enumerate(branch.mixtures):
                rows = (self.half_sets == number + 1).nonzero().squeeze(1)
                for some in rows.split(CHUNKED):
                    parts.append(self._poses(some, mixture, branch.fsc, level, generator))
                    order.append(some)
                    stage.advance(len(some))
        return Hypotheses.concatenate(parts).to("cpu").select(torch.cat(order).argsort())

    def _poses(
        self, rows: Tensor, mixture: GaussianMixture, fsc: Tensor, level: SecondLevel,
        generator: torch.Generator,
    ) -> Hypotheses:  # fmt: skip
        """Poses of the images ``rows`` against a map, from all orientations to fine ones.

        At low frequency an image may be in several places; each is followed to the finest.

        ``fsc``: that of the map with another of as much noise, per shell.
        """
        volume = weighted(voxelize(mixture.to(self.images.device), self.grid), believed(fsc))
        images, fine = self.images.select(rows), min(level.limits[-1], reached_by(fsc, level.worth))
        coarse = min(level.limits[level.everywhere], fine)
        template = Template.of(volume, _second.PADDING, coarse, self.deviation)
        angle = level.spacing / coarse
        everywhere = searched_everywhere(
            images, template, evenly(count_at(angle)), self.centres[rows],
            level.shift_step / coarse, OF, WIDE_CROSS,
        )  # fmt: skip
        places = []
        for place in apart(everywhere, APART * angle, PLACES):
            width = angle
            for limit in (0.5 * (coarse + fine), fine, fine, fine, fine):
                sharper, step = replace(template, limit=limit), level.shift_step / limit
                place = searched_near(
                    images, sharper, place, width, step, generator, Candidates.best
                )
                width *= CLOSER
            places.append(place)
        return Hypotheses.of(places)


def generator_of(*numbers: int) -> torch.Generator:
    """Random numbers of their own for a part of the work."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def packed_maps(mixtures: Sequence[GaussianMixture], history: Sequence[Snapshot]) -> dict[str, Any]:
    """What a journal keeps of maps that are done."""
    return {
        "mixtures": [{name: getattr(m, name) for name in TENSORS} for m in mixtures],
        "titles": [shot.title for shot in history], "maps": [shot.map for shot in history],
    }  # fmt: skip


def unpacked_maps(saved: Any) -> tuple[list[GaussianMixture], list[Snapshot]]:
    """What `packed_maps` packed."""
    shots = [Snapshot(t, m) for t, m in zip(saved["titles"], saved["maps"], strict=True)]
    return [GaussianMixture(**values) for values in saved["mixtures"]], shots

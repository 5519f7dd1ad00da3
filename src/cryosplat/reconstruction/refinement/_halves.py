"""Both half-sets at one set of poses: statistics, mixtures, maps, and passes over their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from ...alignment import ReadyImages
from ...arrays import Columns
from ...batch import Batch
from ...devices import device_of
from ...fitting import Journal, Schedule, density, effective_voxels, fit, start_in_density
from ...grid import Grid
from ...mixture import GaussianMixture
from ...noise import NoiseModel
from ...particles import Particles
from ...poses import Poses
from ...progress import ACCUMULATE, Progress, Stage
from ...settings import ReconstructionSettings
from ...splatting import voxelize
from ...statistics import QuadraticForm, Statistics, accumulate
from .._maps import Maps
from .._worth import KEPT, judged
from .values import OpticsChanges

STEPS = 40  # of a fit between two passes over the images
SCALE = 0.9  # pixels: first width of Gaussians
VOXELS_PER_GAUSSIAN = 4
FEWEST = 50
DEVICE_BYTES = 2**27  # of images that another device works on together
STRIDE = 99_991  # between the seeds of the half-sets
R = TypeVar("R")
T = TypeVar("T")
EachT = TypeVar("EachT", bound=Tensor | Columns)
"""With a row of each image."""


class Keepable(Protocol):
    """What a journal can keep."""

    def to_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        ...


@dataclass(frozen=True, slots=True)
class HalfSets:
    """The particles of both half-sets; no fit and no pass lets one see the map of the other."""

    particles: Particles
    noise: NoiseModel
    settings: ReconstructionSettings
    weights: Tensor | None = None

    def weighed(self, weights: Tensor, scales: Tensor) -> HalfSets:
        """The same with ``weights`` and ``scales`` (n,) of the particles' signals."""
        optics = self.particles.optics
        scaled = replace(self.particles, optics=replace(optics, scale=optics.scale * scales))
        return replace(self, particles=scaled, weights=weights)

    def through(self, changes: OpticsChanges) -> HalfSets:
        """The same images, whose optics are changed."""
        optics = changes.applied(self.particles.optics)
        return replace(self, particles=replace(self.particles, optics=optics))

    def kept(self, rows: Tensor) -> Tensor:
        """Which of the particles ``rows`` are rather the particle than not, (m,) bool."""
        if self.weights is None:
            return torch.ones(len(rows), dtype=torch.bool)
        return self.weights[rows] >= KEPT

    def worth(
        self, poses: Poses, sign: float, maps: Sequence[Tensor], progress: Progress
    ) -> tuple[Tensor, Tensor]:
        """Weights and scales (n,) of the particles, each by the map of its own half-set, or ones.

        ``maps`` with protein bright, ``sign``: of the images.
        """
        n = len(poses)
        ones = torch.ones(n, dtype=torch.float64)
        if self.settings.particle_weights != "auto":
            return ones, ones
        posed = replace(self.particles, poses=poses)
        none = torch.zeros(0, dtype=torch.int64)
        both = Maps(0.5 * (maps[0] + maps[1]), maps[0], maps[1])
        found = judged(posed, both, sign, self.grid, self.noise, none, progress)
        if found is None or not found.matters:
            return ones, ones
        return found.weights, found.scales

    @property
    def device(self) -> torch.device:
        """Where images are held against maps, and maps are fitted."""
        return device_of(self.settings.device)

    @property
    def grid(self) -> Grid:
        """Of the maps."""
        return Grid(self.particles.box_size, self.particles.pixel_size)

    def members(self, half: int) -> Tensor:
        """Positions of the particles of half-set 0 or 1."""
        return (self.particles.half_sets == half + 1).nonzero().squeeze(1)

    def batches(self, poses: Poses, rows: Tensor | None = None) -> Iterator[Batch]:
        """The images ``rows`` at other poses."""
        on_device = self.device.type != "cpu"
        size = max(1, DEVICE_BYTES // (4 * self.particles.box_size**2)) if on_device else None
        for batch in self.particles.batches(rows, size):
            yield replace(batch, poses=poses.select(batch.index))

    def heeding(self, stage: Stage, journal: Journal, state: Keepable) -> Callable[[int], None]:
        """What is called after every block of images: it shows progress, and heeds signals."""

        def on_batch(n: int) -> None:
            stage.advance(n)
            journal.keep(state.to_dict)

        return on_batch

    def statistics(
        self, poses: Poses, progress: Progress, journal: Journal, state: Keepable
    ) -> list[Statistics]:
        """Of each half-set, with the images' sign."""
        with progress.stage(ACCUMULATE, len(poses), "images") as stage:
            return accumulate(
                self.batches(poses), self.particles.half_sets.long() - 1, 2, self.grid, self.noise,
                self.heeding(stage, journal, state), self.settings.symmetry, self.weights,
                self.device,
            )  # fmt: skip

    def fitted(
        self, statistics: list[Statistics], half: int, side: int, journal: Journal, number: int,
        stage: Stage,
    ) -> Tensor:  # fmt: skip
        """The map (d, d, d) of a mixture fitted to the statistics of one half-set, protein bright."""
        form = QuadraticForm(statistics[half], side)
        symmetry = self.settings.symmetry

        def start() -> GaussianMixture:
            positive = density(form)
            count = max(FEWEST, round(effective_voxels(positive) / VOXELS_PER_GAUSSIAN))
            generator = torch.Generator().manual_seed(self.settings.seed + STRIDE * (half + 1))
            return start_in_density(form, positive, count, SCALE, generator, symmetry)

        own = journal.of(f"round {number}, half {half + 1}")
        mixture = fit(form, start, Schedule(steps=STEPS), journal=own).mixture
        stage.advance(1)
        return voxelize(mixture, self.grid).detach().cpu()

    def over(
        self, poses: Poses, rows: Tensor, work: Callable[[R, Tensor], T],
        on_batch: Callable[[int], None],
        ready: Callable[[Batch, NoiseModel, torch.device], R] = ReadyImages.of,
    ) -> Iterator[tuple[T, Tensor]]:  # fmt: skip
        """What ``work`` makes of every block of the images ``rows``, and the block's positions.

        ``ready`` prepares a block; ``work`` is told its positions too.
        """
        device = self.device
        noise = self.noise.to(device)
        for batch in self.batches(poses, rows):
            yield work(ready(batch, noise, device), batch.index), batch.index
            on_batch(len(batch))

    def each(
        self, poses: Poses, rows: Tensor, work: Callable[[R, Tensor], EachT],
        on_batch: Callable[[int], None],
        ready: Callable[[Batch, NoiseModel, torch.device], R] = ReadyImages.of,
    ) -> EachT:  # fmt: skip
        """What ``work`` makes of each of the images ``rows``, as `over`, in their order."""
        results, seen = zip(*self.over(poses, rows, work, on_batch, ready), strict=True)
        place = torch.empty(len(self.particles), dtype=torch.int64)
        place[torch.cat(seen)] = torch.arange(len(rows))
        whole: Any  # as the results are
        if isinstance(results[0], Columns):
            whole = type(results[0]).concatenate(results).select(place[rows])
        else:
            whole = torch.cat(results)[place[rows]]
        return whole


def sample(rows: Tensor, most: int) -> Tensor:
    """At most ``most`` of some positions, evenly spread."""
    n = min(len(rows), most)
    return rows[torch.arange(n) * len(rows) // max(n, 1)]

"""What a reconstruction will cost: said before it begins, and corrected while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .gridding import sums_bytes
from .progress import (
    ACCUMULATE,
    CLASSES,
    EVERYONE,
    FADING,
    FINER,
    FINER_HALVES,
    FIT_ALL,
    FIT_HALF,
    FIT_IMAGES,
    FIT_ROUND,
    JUDGE,
    MOTION,
    ONE_MAP,
    OPTICS,
    SHIFTED,
    SOLVENT,
    STATE_MAPS,
    SUBSTITUTE,
    SYMMETRY,
    TURN,
    UNDONE,
    WEIGH,
)
from .settings import MEMBERS, STEPS, STEPS_OF_HALF, ReconstructionSettings
from .statistics import gridding_passes

PROGRAM_BYTES = 0.9e9  # interpreter, libraries, compiled kernels
SETS = 4  # two half-sets, each with a held-out share
KEPT, AGAIN = 6, 2  # statistics kept for the controls; half-sets without phases
MAPS_WRITTEN = 10

# Seconds, of one thread where threads share the work; benchmarks/README.md, docs/solvers.md
ONCE = 8.0  # contrast, pictures of the report: threads hardly help
PER_VOXEL = 1.0e-5  # baseline, residual, FSC, local resolution
PER_IMAGE, PER_PIXEL, PER_TURN = 0.15e-3, 0.055e-6, 0.03e-6  # read, gridded, gridded once more
PER_SOLVENT, PER_SYMMETRY = 3.5, 1.5
PER_STEP, PER_STEP_VOXEL, PER_STEP_GAUSSIAN = 3.5e-3, 50e-9, 2.3e-6  # the first one of Python
SIDE, GAUSSIANS = 0.9, 0.015  # of the box that is fitted; of its voxels, in one member
PER_BATCH, PER_SPLAT, PER_SPLAT_PIXEL, PER_SPLAT_GAUSSIAN = 6.5e-3, 0.05e-3, 0.056e-6, 0.35e-6
PER_TURN_IMAGE, PER_TURN_PIXEL, TURNS = 25e-3, 0.3e-6, 1.8  # later rounds turn few images
BATCH = 1500
FINER_CLASSES, FINER_MOTION, FINER_HALF, FINER_BOX = (11.0, 4e-3), (17.0, 11e-3), (15.0, 15e-3), 64
A_MAP, A_START, CLASS_ALL, MOTION_ALL = (1.8, 0.6e-3), (10.5, 3.9e-3), (1.2, 0.5e-3), (2.7, 1e-3)
PER_PLACED_IMAGE, STATE_MAPS_ONCE = 4e-3, 5.0  # states: seconds once, and of an image or its pixel
PER_STATE_PIXEL, PER_UNDONE_PIXEL = 0.1e-6, 1e-6
PER_JUDGED_IMAGE, PER_JUDGED_PIXEL, PER_ROUND_VOXEL = 0.5e-3, 1e-6, 1e-5

REST = ""
"""Of the stages: what is done between them."""
KINDS = (
    (ACCUMULATE, WEIGH, SUBSTITUTE),
    (FIT_ALL, FIT_HALF),
)
"""Beginnings of the titles of stages that are faster or slower together."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Peak memory and file sizes in bytes, and wall time in seconds, all rough.

    ``stages``: by the beginning of a stage's title, the seconds that one takes and how many there are.
    """

    memory: float
    disk: float
    stages: Mapping[str, tuple[float, float]]

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(seconds * times for seconds, times in self.stages.values())


def expected_cost(
    n: int,
    box_size: int,
    threads: int,
    settings: ReconstructionSettings = ReconstructionSettings(),
    rounds: int = 0,
) -> Cost:
    """The cost of reconstructing ``n`` particles of ``box_size`` pixels with ``threads`` threads.

    ``rounds`` of the refinement of poses before it. Memory is that of the Fourier tiles of all sets,
    or of those of the controls beside all statistics, or of the statistics and a fit's padded
    transforms, whichever is most. How large the molecule is in its box is not known beforehand.
    """
    voxels = float(box_size**3)
    tiles = sums_bytes(2 * box_size)
    statistics = KEPT * (4.0 + 16.0) * voxels
    padded = 3 * 8 * 4.0 * voxels
    return Cost(
        memory=PROGRAM_BYTES
        + max(SETS * tiles + padded, statistics + AGAIN * tiles + padded, statistics + 2 * padded),
        disk=MAPS_WRITTEN * 4.0 * voxels * 1.1,
        stages=_stages(n, box_size, max(1, threads), settings, rounds),
    )


def _stages(
    n: int, box_size: int, threads: int, settings: ReconstructionSettings, rounds: int
) -> dict[str, tuple[float, float]]:
    """The stages of `Cost`."""
    voxels, pixels = box_size**3 / threads, box_size**2 / threads  # a thread's share
    fits = 1 if settings.quick else 2
    turns = gridding_passes(settings.symmetry) - 1
    read = n * (PER_IMAGE / threads + pixels * PER_PIXEL)
    gridded = read + n * pixels * PER_TURN * turns
    stages: dict[str, tuple[float, float]] = {
        REST: (ONCE + voxels * PER_VOXEL, 1), ACCUMULATE: (gridded, 1)
    }  # fmt: skip
    if settings.particle_weights == "auto":
        stages[WEIGH] = (read, 1)
    if settings.solvent == "auto":
        stages[SOLVENT] = (PER_SOLVENT, 1)
    if not settings.quick:
        stages[SUBSTITUTE] = (gridded, 1)
    if settings.symmetry != "C1":
        stages[SYMMETRY] = (PER_SYMMETRY, 1)
    usual = GAUSSIANS * box_size**3
    if settings.solver == "images":
        how = settings.images.resolved(n, box_size)
        each = PER_BATCH / how.batch_size + PER_SPLAT + pixels * PER_SPLAT_PIXEL
        each += (settings.gaussians or usual) / threads * PER_SPLAT_GAUSSIAN
        stages[FIT_IMAGES] = (n * (how.epochs or 1) * each, fits)
    else:
        gaussians = settings.gaussians or MEMBERS * usual
        members = max(1, min(MEMBERS, int(gaussians / usual)))
        step = members * (PER_STEP + SIDE**3 * voxels * PER_STEP_VOXEL)
        step += gaussians / threads * PER_STEP_GAUSSIAN
        stages[FIT_ALL] = ((settings.steps or STEPS) * step, 1)
        stages[FIT_HALF] = ((settings.steps or STEPS_OF_HALF) * step, 2 * fits)
    if rounds:
        stages[TURN] = n * (PER_TURN_IMAGE / threads + pixels * PER_TURN_PIXEL), min(TURNS, rounds)
        stages[JUDGE] = n * (PER_JUDGED_IMAGE / threads + pixels * PER_JUDGED_PIXEL), rounds + 1
        stages[OPTICS] = n * (PER_JUDGED_IMAGE / threads + pixels * PER_JUDGED_PIXEL), 2 * rounds
        stages[FIT_ROUND] = ONCE / 16 + voxels * PER_ROUND_VOXEL, rounds + 1
    return stages


def expected_states(n: int, box_size: int, threads: int, starts: int, motion: bool) -> Cost:
    """The time to look for classes, or for a motion, of ``n`` particles in boxes of ``box_size``."""
    seen, pixels = min(n, 2 * BATCH), n * box_size**2 / threads  # of each half-set at most a batch
    work, most = ((min(box_size, side) / FINER_BOX) ** 3 for side in (FINER_BOX, 2 * FINER_BOX))
    one, start, everyone, finer, halves = (
        (once + more * seen) / threads
        for once, more in (
            A_MAP, A_START, MOTION_ALL if motion else CLASS_ALL,
            FINER_MOTION if motion else FINER_CLASSES, FINER_HALF,
        )
    )  # fmt: skip
    stages = {
        REST: (ONCE, 1), ONE_MAP: (one, 1), MOTION if motion else CLASSES: (starts * start, 1),
        FADING if motion else SHIFTED: (everyone, 1), EVERYONE: (everyone, 1),
        FINER: (most * finer, 1), STATE_MAPS: (STATE_MAPS_ONCE + pixels * PER_STATE_PIXEL, 1),
    }  # fmt: skip
    if motion:
        stages[FINER_HALVES] = work * halves, 1
        stages[REST] = ONCE + one + work * n * PER_PLACED_IMAGE / threads, 1
        stages[UNDONE] = pixels * PER_UNDONE_PIXEL, 1
    return Cost(0.0, 0.0, stages)


class Forecast:
    """The time that a run will take, as its stages tell how fast they are.

    ``clock`` in seconds. Stages are those of `Cost`; others count as time between them.
    """

    LOUD = 1.25  # a forecast that is off by this factor is corrected
    LEAST = 10.0  # seconds to go that are worth a word

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self._stages, self._clock = dict(cost.stages), clock
        self._done = dict.fromkeys(self._stages, 0.0)  # stages of each name
        self._taken: dict[str, float] = dict.fromkeys(self._stages, 0.0)
        self._begin, self.said = clock(), cost.seconds

    def corrected(
        self, title: str, seconds: float, share: float = 1.0
    ) -> tuple[float, float] | None:
        """Seconds in all and to go, where they turn out to be others than was said.

        After a ``share`` of the stage ``title`` took ``seconds``; one that has ended, of a ``share``
        of 1, is remembered.
        """
        title = title.rpartition(": ")[2]  # "round 2: refining poses"
        name = next((name for name in self._stages if name and title.startswith(name)), None)
        if name is None or share <= 0.0:
            return None
        done, taken = dict(self._done), dict(self._taken)
        done[name] += 1.0
        taken[name] += seconds / share
        if share >= 1.0:
            self._done, self._taken = done, taken
        left = self._left(done, taken) + (1.0 / share - 1.0) * seconds
        total = self._clock() - self._begin + left
        if left < self.LEAST or self.said / self.LOUD < total < self.said * self.LOUD:
            return None
        self.said = total
        return total, left

    def _left(self, done: Mapping[str, float], taken: Mapping[str, float]) -> float:
        """Seconds of the stages that have not begun, at the pace of those of their kind."""
        planned = sum(each * times for name, (each, times) in self._stages.items() if name)
        finished = sum(
            each * min(done[name], times) for name, (each, times) in self._stages.items()
        )
        left = self._stages.get(REST, (0.0, 1))[0] * (1.0 - finished / max(planned, 1e-9))
        for name, (each, times) in self._stages.items():
            if name:
                kind = next((kind for kind in KINDS if name in kind), (name,))
                known = [other for other in kind if other in self._stages and done[other]]
                expected = sum(self._stages[other][0] * done[other] for other in known)
                pace = sum(taken[other] for other in known) / expected if expected else 1.0
                left += max(times - done[name], 0.0) * each * pace
        return left

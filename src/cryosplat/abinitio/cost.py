"""What a search for poses will cost, said before it begins."""

from __future__ import annotations

from ..estimate import ONCE, PER_IMAGE, PER_PIXEL, PROGRAM_BYTES, REST, Cost
from ._images import PREPARE, half_plane
from ._second import BOX, SecondLevel
from ._work import ALL, FIRST, HALVES
from .values import AbinitSettings

# Seconds of one thread where threads share the work; benchmarks/README.md
PER_START = 30.0  # whose batches do not grow with the images
PER_EVERYWHERE, PER_NEAR, PER_POSE = 1.1e-3, 0.4e-3, 1.5e-3  # an image of a round, and at the end
STARTS = 2  # that are usual
MAPS_WRITTEN = 4


def search_cost(n: int, box_size: int, threads: int, settings: AbinitSettings) -> Cost:
    """The cost of finding the poses of ``n`` particles of ``box_size`` pixels."""
    level, threads = SecondLevel(), max(1, threads)
    near = level.rounds - level.more // 2 - level.everywhere - 1
    rounds = n * (level.everywhere + 1) * PER_EVERYWHERE  # the first looks more widely
    rounds += (min(n, 2 * level.images) * near + n) * PER_NEAR
    read = n * (PER_IMAGE + box_size**2 * PER_PIXEL) / threads
    return Cost(
        memory=PROGRAM_BYTES + n * len(half_plane(0.5 * BOX)) * 3 * 12.0,
        disk=(MAPS_WRITTEN * 4.0 * box_size**3 + n * 400.0) * 1.1,
        stages={
            REST: (ONCE, 1),
            PREPARE: (read, 1),
            FIRST: (PER_START / threads, min(settings.starts, STARTS)),
            HALVES: (rounds / threads, min(settings.carried, STARTS)),
            ALL: (n * PER_POSE / threads, 1),
        },
    )

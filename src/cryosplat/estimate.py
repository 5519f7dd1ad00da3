"""What a reconstruction will cost, said before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from .gridding import sums_bytes
from .statistics import gridding_passes

IMAGES_PER_SECOND = 1500.0  # read and gridded, 128 px, 2 threads
SPREAD_PER_SECOND = 4500.0  # gridded alone
FIT_SECONDS, FIT_POWER = 140.0, 2.2  # fits, choices and controls; 128 px, 2 threads
SPEED_BOX, SPEED_THREADS = 128, 2
PROGRAM_BYTES = 0.9e9  # interpreter, libraries, compiled kernels
SETS = 4  # two half-sets, each with a held-out share
KEPT, AGAIN = 6, 2  # statistics kept for the controls; half-sets without phases
MAPS_WRITTEN = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """Peak memory and file sizes in bytes, wall time in seconds; all rough."""

    memory: float
    disk: float
    seconds: float


def expected_cost(n: int, box_size: int, threads: int, symmetry: str = "C1") -> Cost:
    """The cost of reconstructing ``n`` particles of ``box_size`` pixels with ``threads`` threads.

    Memory is that of the Fourier tiles of all sets, or of those of the controls beside all
    statistics, or of the statistics and a fit's padded transforms, whichever is most. Time grows
    with n d^2 for the images, which are gridded once for every rotation of the ``symmetry`` that is
    none of the grid's, and a little faster than d^2 for the fits.
    """
    voxels = float(box_size**3)
    tiles = sums_bytes(2 * box_size)
    statistics = KEPT * (4.0 + 16.0) * voxels
    padded = 3 * 8 * 4.0 * voxels
    slower = SPEED_THREADS / max(1, threads)
    again = gridding_passes(symmetry) - 1
    each = 1.0 / IMAGES_PER_SECOND + again / SPREAD_PER_SECOND
    images = n * each * (box_size / SPEED_BOX) ** 2
    fits = FIT_SECONDS * (box_size / SPEED_BOX) ** FIT_POWER
    return Cost(
        memory=PROGRAM_BYTES
        + max(SETS * tiles + padded, statistics + AGAIN * tiles + padded, statistics + 2 * padded),
        disk=MAPS_WRITTEN * 4.0 * voxels * 1.1,
        seconds=(images + fits) * slower,
    )

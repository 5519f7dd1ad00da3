"""Each kernel against its bound, and against the best other implementation at hand.

``python -m benchmarks.kernels`` writes ``benchmarks/results/kernels.json`` and the table of
``benchmarks/README.md``. A bound is the larger of bytes over bandwidth and operations over the
machine's measured ceiling (`ceilings.py`); what is counted is told by the function that counts it
(`gridding_cases.py`, `map_cases.py`, `splat_cases.py`).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numba import get_num_threads

from . import ceilings, gridding_cases, machine, map_cases, splat_cases, table
from .run import write_json

LOG = logging.getLogger("benchmark")
HERE = Path(__file__).resolve().parent


SIZES = {  # images (box, number), Gaussians (number, side), cubes
    "full": (((128, 1000), (256, 250)), ((8000, 128), (30000, 256)), (80, 128, 160)),
    "small": (((64, 200),), ((2000, 64),), (64,)),
}
SPLATS = {  # images, Gaussians, side, scales in pixels: what fills a molecule of that side
    "full": (
        (16, 30000, 256, (1.0, 1.5)), (16, 2048, 256, (3.0, 4.0)), (1, 30000, 256, (1.0, 1.5)),
    ),
    "small": ((4, 2000, 64, (1.0, 1.5)),),
}  # fmt: skip


def main() -> None:
    """Measure every kernel and write the results."""
    parser = argparse.ArgumentParser(description="Each kernel against its bound.")
    parser.add_argument("--small", action="store_true", help="small sizes, for trying it out")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(get_num_threads())
    described = machine.describe()
    limits = ceilings.measure()
    LOG.info(limits.text())
    size = "small" if given.small else "full"
    images, models, cubes = SIZES[size]
    cases: list[Callable[[], list[dict[str, Any]]]] = []
    cases += [partial(gridding_cases.spreading, box, n, limits) for box, n in images]
    cases += [partial(gridding_cases.accumulation, box, n, limits) for box, n in images]
    cases += [partial(map_cases.voxelisation, k, side, limits) for k, side in models]
    cases += [partial(splat_cases.splats, *splat, limits) for splat in SPLATS[size]]
    cases += [partial(map_cases.toeplitz, side, limits) for side in cubes]
    rows = []
    for case in cases:
        new = case()
        rows += new
        for row in new:
            LOG.info("%s, %s: %.4g s", row["kernel"], row["size"], row["time_s"])
    content = {
        "machine": described,
        "bounds": limits.text(),
        "gridding_error": gridding_cases.error(),
        "kernels": rows,
    }
    given.results.mkdir(parents=True, exist_ok=True)
    write_json(given.results / "kernels.json", content)
    table.rewrite(HERE / "README.md", given.results)


if __name__ == "__main__":
    main()

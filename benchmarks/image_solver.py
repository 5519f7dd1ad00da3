"""Images a second and peak memory of the image-space solver, against the number of Gaussians.

``python -m benchmarks.image_solver`` writes ``benchmarks/results/image_solver.json``. A stack of
images is written to a temporary folder, and one epoch over it is timed: reading, projection, CTF,
loss, gradient and update, for one mixture and for three (all particles and both half-sets). Each
case is a process of its own, whose peak memory is that of the whole fit.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numba import get_num_threads

from cryosplat.batch import Batch
from cryosplat.fitting import ImageData, fit_images
from cryosplat.grid import Grid
from cryosplat.io.mrc import StackFile, write_stack
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel
from cryosplat.optics import Optics, OpticsGroup
from cryosplat.poses import random_poses
from cryosplat.settings import ImageSchedule

from . import machine
from .run import write_json

LOG = logging.getLogger("benchmark")
HERE = Path(__file__).resolve().parent
PIXEL = 1.3  # Angstrom
GAUSSIANS = (2048, 8192, 30_000)
BOXES = (192, 256)
RADIUS = 0.25  # of the molecule, in boxes


def molecule(k: int, box: int, generator: torch.Generator) -> GaussianMixture:
    """``k`` Gaussians that fill a ball, about as wide as their distance allows, in Angstrom."""
    directions = torch.nn.functional.normalize(torch.randn(k, 3, generator=generator), dim=1)
    radii = RADIUS * box * torch.rand(k, 1, generator=generator) ** (1 / 3)
    volume = 4.19 * (RADIUS * box) ** 3 / k
    width = max(0.45 * volume ** (1 / 3), 0.7)  # pixels
    spread = 0.8 + 0.4 * torch.rand(k, 3, generator=generator)
    quaternions = torch.nn.functional.normalize(torch.randn(k, 4, generator=generator), dim=1)
    amplitudes = torch.full((k,), 1e4 / k)
    return GaussianMixture(
        directions * radii * PIXEL, width * spread * PIXEL, quaternions, amplitudes
    )


def images(stack: Path, n: int, box: int, generator: torch.Generator) -> ImageData:
    """Images in ``stack`` with random poses, shifts and CTFs, as the solver reads them."""
    file = StackFile(stack)
    poses = random_poses(n, generator, 5.0)
    defocus = 1e4 + 1e4 * torch.rand(n, generator=generator, dtype=torch.float64)
    zero = torch.zeros(n, dtype=torch.float64)
    group = OpticsGroup("g", PIXEL, box, 300e3, 2.7e7, 0.1)
    optics = Optics((group,), zero.long(), defocus, defocus - 500.0, zero + 0.3, zero, zero,
                    zero + 1.0)  # fmt: skip

    def read(index: torch.Tensor) -> Iterator[Batch]:
        for part in index.split(64):
            pixels = torch.from_numpy(file.read(part.numpy()))
            yield Batch(part, pixels, poses.select(part), optics.select(part))

    noise = NoiseModel((torch.full((box // 2 + 1,), float(box**2), dtype=torch.float64),), False)
    return ImageData(read, 1 + torch.arange(n) % 2, Grid(box, PIXEL), noise)


def case(stack: Path, k: int, n_mixtures: int, batch_size: int) -> dict[str, object]:
    """One epoch over a stack, the first batches (compilation) left out."""
    torch.set_num_threads(get_num_threads())
    n, box = StackFile(stack).n_images, StackFile(stack).shape[0]
    generator = torch.Generator().manual_seed(1)
    data = images(stack, n, box, generator)
    schedule = ImageSchedule(epochs=2, batch_size=batch_size)
    marks: list[tuple[float, float]] = []
    fit_images(
        data, [molecule(k, box, generator)] * n_mixtures, schedule,
        on_images=lambda _: marks.append((time.perf_counter(), time.process_time())),
    )  # fmt: skip
    half = len(marks) // 2
    wall, cpu = (b - a for a, b in zip(marks[half - 1], marks[-1], strict=True))
    steps = np.diff([m[0] for m in marks[half - 1 :]])
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "box": box, "gaussians": k, "mixtures": n_mixtures, "batch": batch_size,
        "images_per_s": round(n / wall, 1),
        "images_per_s_of_the_faster_half_of_steps": round(
            batch_size / float(np.quantile(steps, 0.25)), 1
        ),
        "core_ms_per_image": round(1e3 * cpu / n, 3),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3),
    }  # fmt: skip


def in_a_process(*arguments: object) -> dict[str, object]:
    """`case` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.image_solver", "--case", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parent)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description="Images a second of the image-space solver.")
    parser.add_argument("--images", type=int, default=640, help="in the stack")
    parser.add_argument("--boxes", type=int, nargs="+", default=BOXES)
    parser.add_argument("--gaussians", type=int, nargs="+", default=GAUSSIANS)
    parser.add_argument("--mixtures", type=int, nargs="+", default=(1, 3))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--case", nargs=4, metavar=("STACK", "GAUSSIANS", "MIXTURES", "BATCH"))
    given = parser.parse_args()
    if given.case:
        stack, *numbers = given.case
        print(json.dumps(case(Path(stack), *map(int, numbers))))
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    described, rows = machine.describe(), []
    with tempfile.TemporaryDirectory() as folder:
        for box in given.boxes:
            stack = Path(folder) / f"{box}.mrcs"
            generator = np.random.default_rng(box)
            pixels = generator.standard_normal((given.images, box, box), np.float32)
            write_stack(stack, pixels, PIXEL)
            del pixels
            for k in given.gaussians:
                for mixtures in given.mixtures:
                    rows.append(in_a_process(stack, k, mixtures, given.batch))
                    LOG.info("%s", rows[-1])
            stack.unlink()
    given.results.mkdir(parents=True, exist_ok=True)
    write_json(given.results / "image_solver.json", {"machine": described, "cases": rows})


if __name__ == "__main__":
    main()

"""Images a second and memory of whole training steps: read, project, CTF, loss, gradient, update.

The steps are those of `benchmarks/image_solver.py`. Every measurement is a process of its own,
``python speed.py STACK GAUSSIANS MIXTURES BATCH``, which prints a line of JSON; it tells its peak
memory itself, because on Linux a child's resource usage begins with its parent's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .studies import Bench

STATUS = Path("/proc/self/status")
KINDS = ((1, 16), (3, 16), (1, 1))
"""Mixtures (of all particles; that and one of each half-set), and images a step."""
EMPTY = (32, 64, 16)  # box, images and Gaussians of a fit that needs no memory to speak of


def speed(bench: Bench) -> Iterator[dict[str, Any]]:
    """Images a second and memory against Gaussians, for two box sizes."""
    yield {"problem": {"n": bench.size.speed_n}}
    with tempfile.TemporaryDirectory(dir=bench.data) as scratch:
        box, n, k = EMPTY
        program = measured(stack(Path(scratch), box, n), k, 1, 16)["peak_mib"]
        for box in bench.size.speed_boxes:
            images = stack(Path(scratch), box, bench.size.speed_n)
            for k in bench.size.speed_numbers:
                for mixtures, batch in KINDS if k == bench.size.speed_numbers[0] else KINDS[:2]:
                    row = measured(images, k, mixtures, batch)
                    yield {**row, "program_mib": program}
            images.unlink()


def stack(folder: Path, box: int, n: int) -> Path:
    """A stack of noise; what an image shows makes no difference to the time."""
    import numpy as np

    from cryosplat.io.mrc import write_stack

    from ..image_solver import PIXEL

    random, path = np.random.default_rng(box), folder / f"{box}.mrcs"
    parts = (
        random.standard_normal((min(64, n - i), box, box), np.float32) for i in range(0, n, 64)
    )
    write_stack(path, parts, PIXEL)
    return path


def measured(images: Path, k: int, mixtures: int, batch: int) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, str(images), str(k), str(mixtures), str(batch)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    row = json.loads(done.stdout.splitlines()[-1])
    name = f"{row['box']} px, {k:,} Gaussians, {mixtures} mixtures, {batch} a step"
    return {"name": name, **row}


def peak_memory() -> float | None:
    """Largest resident set of this process in MiB; None where the system does not say."""
    if not STATUS.exists():
        return None
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024.0, 1)


def main(images: str, k: int, mixtures: int, batch: int) -> None:
    """Print what `image_solver.case` measures, and the memory it took."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ..image_solver import case

    row = case(Path(images), k, mixtures, batch)
    row.pop("peak_gb")
    sys.stdout.write(json.dumps({**row, "peak_mib": peak_memory()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], *(int(a) for a in sys.argv[2:5]))

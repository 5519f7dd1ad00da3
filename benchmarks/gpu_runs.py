"""Whole reconstructions on the CPU and on a CUDA device, of the same particles, in one go."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.simulation import SimulationSettings, phantom, simulate_particles

LOG = logging.getLogger("benchmark")
PROGRAM = (sys.executable, "-m", "cryosplat")
LONGEST = 120.0  # seconds of a run
FRACTIONS = (0.25, 0.5, 0.75, 0.9)  # of Nyquist, where the FSC is told


@dataclass(frozen=True, slots=True)
class Problem:
    """Particles of the made-up protein: ``n`` of ``box`` pixels, ``pixel_size`` in Angstrom."""

    name: str
    n: int
    box: int
    pixel_size: float
    options: tuple[str, ...] = ()


WARM_UP = Problem("compilation of kernels", 100, 32, 6.0, ("--gaussians", "100", "--steps", "3"))
"""The first run on a machine compiles; it is told, not counted."""
PROBLEMS = (
    WARM_UP,
    replace(WARM_UP, name="again", options=(*WARM_UP.options, "--solver", "images")),
    Problem("4,000 x 128 px", 4000, 128, 1.4),
    Problem("4,000 x 128 px, images", 4000, 128, 1.4, ("--solver", "images", "--quick")),
    Problem("3,000 x 256 px, quick", 3000, 256, 0.8, ("--quick",)),
)


def runs(
    problems: tuple[Problem, ...], devices: Sequence[str], folder: Path
) -> list[dict[str, Any]]:
    """Each problem on each device: seconds by the clock, stages, FSC with truth and between maps."""
    rows = []
    for problem in problems:
        source = folder / f"set-{problem.n}-{problem.box}"
        if not source.exists():
            settings = SimulationSettings(problem.n, 0.05, angle_error=0.01, shift_error=0.3)
            grid, generator = Grid(problem.box, problem.pixel_size), torch.Generator()
            simulate_particles(phantom(), grid, settings, source, generator.manual_seed(7))
        truth = _map(source / "truth.mrc")
        row: dict[str, Any] = {"problem": problem.name, "options": list(problem.options)}
        maps = {}
        for device in devices:
            out = folder / f"run-{len(rows)}-{device}"
            command = [*PROGRAM, "reconstruct", str(source / "particles.star"), "-o", str(out),
                       "--overwrite", "--device", device, *problem.options]  # fmt: skip
            try:
                taken = _call(command, LONGEST)
            except subprocess.TimeoutExpired:
                row[device] = {"longer_than_s": LONGEST}
                continue
            except RuntimeError as error:
                row[device] = {"failed": str(error)}
                continue
            maps[device] = _map(out / "map.mrc")
            summary = json.loads((out / "run.json").read_text())
            row[device] = {
                "wall_s": round(taken, 2), "device": summary.get("device"),
                "timings": {k: round(v, 2) for k, v in summary["timings"].items()},
                "resolution": summary["resolution"], "gaussians": summary["gaussians"],
                "fsc_with_truth": _told(fourier_shell_correlation(maps[device], truth)),
            }  # fmt: skip
            LOG.info("%s on %s: %.1f s", problem.name, device, taken)
        if len(maps) == 2:
            row["fsc_between"] = _told(fourier_shell_correlation(*maps.values()))
            row["times_faster"] = round(row["cpu"]["wall_s"] / row["cuda"]["wall_s"], 2)
        rows.append(row)
    return rows


def _map(path: Path) -> Tensor:
    return torch.from_numpy(read_map(path).data)


def _told(curve: Tensor) -> list[float]:
    return [round(float(curve[round(f * (len(curve) - 1))]), 4) for f in FRACTIONS]


def _call(command: list[str], longest: float) -> float:
    """Seconds that a command takes; its output is shown where it fails."""
    begun = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=longest)
    if done.returncode not in (0, 1):  # 1: an alarm was raised
        raise RuntimeError(
            f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return time.perf_counter() - begun

"""The paper's solver and the statistics solver on the same particles, one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryosplat.fitting import ImageData, Schedule, density, fit, start_in_density
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel, estimate_noise
from cryosplat.particles import Particles, read_particles
from cryosplat.settings import ImageSchedule
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, accumulate

from .. import sets
from ..scoring import read_map, score
from .fits import Clock, curve, fitted
from .problem import Problem
from .results import PAPER
from .studies import Bench

Row = dict[str, Any]
Took = dict[str, float]
CASES = (("spike", 8000), ("hb64", 2000), ("groel", 4000))
"""Sets of `sets.SETS`, problem D first, and how many Gaussians both solvers are given."""
QUICK_SET = sets.ParticleSet("quick", "4hhb_hemoglobin.pdb", 32, 3.2, 300, 0.1)

STEPS = (5, 10, 15, 20, 30, 40, 60)
FIRST_WIDTH = 0.9  # pixels, for the statistics solver
IMAGES_WIDTH = 1.0  # pixels, for images


@dataclass(frozen=True, slots=True)
class Case:
    """Particles on disk, their noise and truth, and what it took to measure the noise."""

    particles: Particles
    noise: NoiseModel
    noise_took: Took
    folder: Path
    gaussians: int

    def problem(self) -> Problem:
        """For fits to images."""
        grid = Grid(self.particles.box_size, self.particles.pixel_size)
        data = ImageData(self.particles.batches, self.particles.half_sets, grid, self.noise)
        return Problem(data, read_map(self.folder / "truth.mrc"), {})


def solvers(bench: Bench) -> Iterator[Row]:
    """Preset ``paper`` from its random start beside the statistics solver, set by set."""
    known = {s.name: s for s in (*sets.SETS, QUICK_SET)}
    quick = bench.size.n < 1000
    for name, k in ((QUICK_SET.name, 100),) if quick else CASES:
        folder = bench.data / name
        cryosplat = [str(Path(sys.executable).with_name("cryosplat"))]
        try:
            simulator = sets.simulate(known[name], folder, bench.shared, cryosplat)
        except FileNotFoundError as error:
            yield {"set": name, "name": name, "missing": str(error)}
            continue
        yield {"problem": {**asdict(known[name]), "simulator": simulator}}
        for row in of_set(folder, k):
            yield {"set": name, **row}


def of_set(folder: Path, k: int) -> Iterator[Row]:
    """All fits of one set of particles."""
    particles = read_particles(folder / "particles.star")
    clock = Clock()
    noise = estimate_noise(particles.batches(torch.arange(0, len(particles), 4)))
    case = Case(particles, noise, clock.seconds(), folder, k)
    problem = case.problem()
    ladder = Ladder(case, problem)
    last: Row = {}
    for steps in STEPS:
        last = ladder.climbed(steps)
        yield last
    preset = ImageSchedule.paper()
    paper = later(fitted(problem, k, preset), case.noise_took)
    yield {"name": PAPER, **paper}
    yield ladder.warm(paper["mixture"], {key: paper[key] for key in ("seconds", "cpu_s")})
    done = {key: last[key] for key in ("seconds", "cpu_s")}
    for name, schedule, start, before in (
        ("images, paper's rates, 16 a step", replace(preset, batch_size=16), None, case.noise_took),
        ("images, default", ImageSchedule(), ladder.start(IMAGES_WIDTH), ladder.took),
        ("images, from the statistics' mixture", ImageSchedule(), last["mixture"], done),
    ):
        yield {"name": name, **later(fitted(problem, k, schedule, start=start), before)}
    yield whole_program(folder)


def later(row: Row, before: Took) -> Row:
    """The row of a fit before which so much time had passed."""
    epochs = [
        {**e, **{key: round(e[key] + taken, 2) for key, taken in before.items()}}
        for e in row["epochs"]
    ]  # fmt: skip
    times = {key: epochs[-1][key] for key in before}
    return {**row, "epochs": epochs, "before_s": before["seconds"], **times}


class Ladder:
    """Fits of more and more steps to one set's statistics; ``took`` until a fit can begin."""

    def __init__(self, case: Case, problem: Problem) -> None:
        grid, clock = problem.data.grid, Clock()
        one = torch.zeros(len(case.particles), dtype=torch.int64)
        (statistics,) = accumulate(case.particles.batches(), one, 1, grid, case.noise)
        self.problem, self.gaussians = problem, case.gaussians
        self.form = QuadraticForm(statistics, grid.box_size)
        self.positive = density(self.form)
        self.took = clock.seconds(case.noise_took)

    def start(self, width: float) -> GaussianMixture:
        """Gaussians of ``width`` pixels at positions drawn from the voxel solution."""
        generator = torch.Generator().manual_seed(3)
        return start_in_density(self.form, self.positive, self.gaussians, width, generator)

    def climbed(self, steps: int) -> Row:
        """A fit of so many steps, and what it takes from the first image on."""
        clock = Clock()
        found = fit(self.form, self.start(FIRST_WIDTH), Schedule(steps=steps))
        return self._row(f"statistics, {steps} steps", found.mixture, clock, self.took) | {
            "steps": steps
        }

    def warm(self, mixture: GaussianMixture, took: Took) -> Row:
        """The longest fit, from a mixture that images have made."""
        clock = Clock()
        found = fit(self.form, mixture, Schedule(steps=STEPS[-1]))
        before = {key: took[key] + self.took[key] for key in took}
        return self._row("statistics, from the paper's mixture", found.mixture, clock, before)

    def _row(self, name: str, mixture: GaussianMixture, clock: Clock, before: Took) -> Row:
        seconds = clock.seconds(before)
        return {
            "name": name,
            "gaussians": len(mixture),
            "before_s": round(before["seconds"], 2),
            **seconds,
            "fsc": curve(mapped(mixture, self.problem), self.problem),
            "mixture": mixture,
        }


def mapped(mixture: GaussianMixture, problem: Problem) -> Tensor:
    """The mixture's map on the particles' grid."""
    return voxelize(mixture, problem.data.grid).detach()


def whole_program(folder: Path) -> Row:
    """``cryosplat reconstruct --quick``: three maps, voxel baseline, report."""
    command = str(Path(sys.executable).with_name("cryosplat"))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        log, measure = Path(scratch) / "log", Path(sets.__file__).with_name("measure.py")
        done = subprocess.run(
            [sys.executable, str(measure), str(log), command, "reconstruct",
             str(folder / "particles.star"), "-o", str(out), "--quick"],
            check=True, capture_output=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        took = json.loads(done.stdout)
        run = json.loads((out / "run.json").read_text())
        fsc = score(out / "map.mrc", folder / "truth.mrc")["unmasked"]
    first = ("noise", "accumulate", "contrast", "baseline", "selection, all particles",
             "fit, all particles")  # fmt: skip
    return {
        "name": "statistics, the whole program",
        "gaussians": run["gaussians"][0],
        "program_s": took["wall_s"],
        "program_cpu_s": took["cpu_s"],
        "seconds": round(sum(run["timings"].get(stage, 0.0) for stage in first), 2),
        "fsc": fsc,
    }

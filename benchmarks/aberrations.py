"""FSC with the truth where optics are imperfect: with the correction, without it, and of clean images.

``python -m benchmarks.aberrations`` writes ``benchmarks/results/aberrations.json``. All sets have
the poses, defoci and, box for box, the noise of the clean one. Each is read from its star file twice:
as it is, and with the columns of the imperfection removed; and becomes a voxel map and a mixture of
Gaussians, whose FSC with the truth is taken in the truth's own soft mask.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from cryosplat.fitting import Schedule, density, fit, start_in_density
from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.io.star import read_star, write_star
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.maps.mask import soft_mask
from cryosplat.mixture import GaussianMixture, mean_of
from cryosplat.noise import estimate_noise
from cryosplat.particles import read_particles
from cryosplat.simulation import (
    SimulationSettings,
    anisotropic_magnification,
    mixture_from_atoms,
    simulate_particles,
    tetrafoil,
    trefoil,
)
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics, accumulate
from cryosplat.validation.baseline import voxel_maps

from .machine import describe
from .run import write_json

LOG = logging.getLogger("benchmark")
HERE = Path(__file__).resolve().parent
GRID = Grid(64, 1.3)
MODEL, B_FACTOR = "4hhb_hemoglobin.pdb", 60.0
SNR, DEFOCUS = 0.3, (5000.0, 15000.0)
SEED, OTHER_SEED = 11, 12
GAUSSIANS, WIDTH = 2000, 1.2  # of each fit, and their first width in pixels
MEMBERS = 3  # fits whose mean is judged
JUDGED = 0.3  # FSC of the clean set above which shells are compared
IMPERFECT = ("rlnBeamTilt", "rlnOddZernike", "rlnEvenZernike", "rlnMagMat", "rlnCtfDataAre")


def _neutral(optics: pd.DataFrame) -> pd.DataFrame:
    return optics.drop(columns=[c for c in optics if c.startswith(IMPERFECT)])


def _one_pixel_size(optics: pd.DataFrame) -> pd.DataFrame:
    return optics.assign(rlnImagePixelSize=GRID.pixel_size)


@dataclass(frozen=True, slots=True)
class Case:
    """An imperfection: its settings, how to forget it, and the share of the map's Nyquist frequency
    that all images reach in all directions."""

    settings: dict[str, Any]
    forgotten: Callable[[pd.DataFrame], pd.DataFrame] = _neutral
    reach: float = 1.0

    @property
    def last(self) -> int:
        """The last shell that all images fill."""
        return math.floor(self.reach * GRID.box_size / 2 - 0.5)


TILT = {"beam_tilt": (0.8e-3, 0.6e-3)}
TREFOIL = {"odd": trefoil(math.radians(120.0), 0.3, GRID.pixel_size)}
TETRAFOIL = {"even": tetrafoil(math.radians(120.0), 0.2, GRID.pixel_size)}
STRETCH = {"magnification": anisotropic_magnification(0.02, math.radians(30.0))}
CALIBRATION = {"image_grids": (GRID, Grid(64, 1.33))}
DETECTORS = {"image_grids": (GRID, Grid(52, 1.6))}
STRETCHED = 0.99 / 1.01
CASES = {
    "beam tilt of 1 mrad": Case(TILT),
    "trefoil, 120° at Nyquist": Case(TREFOIL),
    "tetrafoil, 120° at Nyquist": Case(TETRAFOIL),
    "magnification, 2 % anisotropic": Case(STRETCH, reach=STRETCHED),
    "all four": Case({**TILT, **TREFOIL, **TETRAFOIL, **STRETCH}, reach=STRETCHED),
    "pixels of 1.30 and 1.33 Å": Case(CALIBRATION, _one_pixel_size, 1.3 / 1.33),
    "64 px of 1.3 Å and 52 px of 1.6 Å": Case(DETECTORS, _one_pixel_size, 1.3 / 1.6),
    "phase-flipped": Case({"processing": "phase-flipped"}),
    "premultiplied": Case({"processing": "premultiplied"}),
}


@dataclass(frozen=True, slots=True)
class Truth:
    """The simulated map, its soft mask, and the mixtures that all fits begin with."""

    volume: Tensor
    mask: Tensor
    starts: tuple[GaussianMixture, ...] = ()

    def fsc(self, volume: Tensor) -> Tensor:
        """FSC with the truth, both in the truth's mask."""
        return fourier_shell_correlation(volume * self.mask, self.volume * self.mask)


def _read(star: Path) -> list[Statistics]:
    particles = read_particles(star)
    noise = estimate_noise(particles.batches())
    return accumulate(particles.batches(), particles.half_sets.long() - 1, 2, GRID, noise)


def _starts(halves: list[Statistics]) -> tuple[GaussianMixture, ...]:
    form = QuadraticForm(halves[0] + halves[1], GRID.box_size)
    generator, positive = torch.Generator().manual_seed(SEED), density(form)
    return tuple(
        start_in_density(form, positive, GAUSSIANS, WIDTH, generator) for _ in range(MEMBERS)
    )


def _curves(halves: list[Statistics], truth: Truth) -> dict[str, list[float]]:
    """FSC with the truth of the voxel map and of the mean of fitted mixtures."""
    voxels = voxel_maps((halves[0], halves[1]))[0]
    form = QuadraticForm(halves[0] + halves[1], GRID.box_size)
    mixture = mean_of([fit(form, start, Schedule()).mixture for start in truth.starts])
    maps = {"voxel": voxels, "mixture": voxelize(mixture, GRID).detach()}
    return {name: truth.fsc(volume).tolist() for name, volume in maps.items()}


def _simulated(model: Path, n: int, seed: int, folder: Path, settings: dict[str, Any]) -> Path:
    source = mixture_from_atoms(model, B_FACTOR)
    wanted = SimulationSettings(n, SNR, defocus=DEFOCUS, **settings)
    generator = torch.Generator().manual_seed(seed)
    return simulate_particles(source, GRID, wanted, folder, generator)


def _truth(star: Path) -> Truth:
    volume = torch.from_numpy(read_map(star.with_name("truth.mrc")).data.copy())
    return Truth(volume, soft_mask(volume, GRID))


def _forgetting(star: Path, case: Case) -> Path:
    tables = read_star(star)
    tables["optics"] = case.forgotten(tables["optics"])
    path = star.with_name("forgotten.star")
    write_star(path, tables)
    return path


def _below(clean: list[float], found: list[float], last: int) -> dict[str, float]:
    """By how much an FSC lies below the clean one, over all shells where that is above `JUDGED`."""
    a, b = torch.tensor(clean)[: last + 1], torch.tensor(found)[: last + 1]
    shells = ((a > JUDGED) & (torch.arange(len(a)) > 0)).nonzero()[:, 0]
    difference = (a - b)[shells]
    worst = int(difference.argmax())
    shell = int(shells[worst])
    return {
        "worst": float(difference[worst]),
        "at_angstrom": GRID.side / shell,
        "mean": float(difference.mean()),
        "largest": float(difference.abs().max()),
        "shells": len(shells),
        "to_angstrom": GRID.side / last,
    }


def _compared(clean: dict[str, list[float]], found: dict[str, list[float]], last: int) -> Any:
    return {name: _below(clean[name], found[name], last) for name in clean} | {"fsc": found}


def measured(model: Path, n: int, folder: Path, names: list[str]) -> dict[str, Any]:
    """The clean set, another set of clean particles as the yardstick, and all cases."""
    star = _simulated(model, n, SEED, folder / "clean", {})
    truth, halves = _truth(star), _read(star)
    truth = replace(truth, starts=_starts(halves))
    clean = _curves(halves, truth)
    star = _simulated(model, n, OTHER_SEED, folder / "other", {})
    other = replace(_truth(star), starts=truth.starts)
    results: dict[str, Any] = {
        "clean": clean,
        "other_clean": _compared(clean, _curves(_read(star), other), Case({}).last),
        "cases": {},
    }
    for name in names:
        begun, case = time.perf_counter(), CASES[name]
        place = folder / "case"
        star = _simulated(model, n, SEED, place, case.settings)
        own = replace(_truth(star), starts=truth.starts)
        row = {
            "corrected": _compared(clean, _curves(_read(star), own), case.last),
            "uncorrected": _compared(
                clean, _curves(_read(_forgetting(star, case)), own), case.last
            ),
        }
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
        results["cases"][name] = row
        LOG.info(
            "%s: %s, %.0f s", name,
            {k: {m: round(v[m]["worst"], 4) for m in clean} for k, v in row.items()},
            time.perf_counter() - begun,
        )  # fmt: skip
    return results


def table(results: dict[str, Any]) -> str:
    """The table of docs/aberrations.md."""

    def cell(one: dict[str, Any]) -> str:
        return f"{one['worst']:+.3f} ({one['mean']:+.4f})"

    lines = [
        "| images | voxels, corrected | mixture, corrected | voxels, not | mixture, not |",
        "|---|---|---|---|---|",
    ]
    voxel, mixture = (f"±{results['other_clean'][m]['largest']:.3f}" for m in ("voxel", "mixture"))
    lines.append(f"| clean, other particles | {voxel} | {mixture} | | |")
    for name, row in results["cases"].items():
        cells = [
            cell(row[k][m]) for k in ("corrected", "uncorrected") for m in ("voxel", "mixture")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results, or print the table of those there are."""
    parser = argparse.ArgumentParser(description="FSC with the truth, with and without correction.")
    parser.add_argument("--models", type=Path, default=HERE.parent / "shared/data/models")
    parser.add_argument("--n", type=int, default=10_000, help="particles of each set")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER")
    parser.add_argument("--table", action="store_true", help="print the table and do nothing else")
    given = parser.parse_args()
    path = given.results / "aberrations.json"
    if given.table:
        print(table(json.loads(path.read_text())))
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    described = describe()
    with tempfile.TemporaryDirectory() as scratch:
        results = measured(given.models / MODEL, given.n, Path(scratch), given.cases)
    setting = {
        "model": MODEL, "b_factor": B_FACTOR, "box": GRID.box_size, "pixel_size": GRID.pixel_size,
        "particles": given.n, "snr": SNR, "defocus": DEFOCUS, "gaussians": MEMBERS * GAUSSIANS,
        "steps": Schedule().steps, "mask": "the truth's soft mask",
    }  # fmt: skip
    given.results.mkdir(parents=True, exist_ok=True)
    write_json(path, {"machine": described, "setting": setting, **results})
    print(table(results))


if __name__ == "__main__":
    main()

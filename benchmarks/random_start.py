"""What a random start reaches: fits to one set of statistics from random positions and from density.

usage: python -m benchmarks.random_start [--shared FOLDER] [--seeds 8] [--only NAME ...] [--page-only]

Five molecules in small boxes, 1,500 particles each with exact poses. To the statistics of all
particles single mixtures are fitted: from the density of the statistics (``--start statistics``),
from random positions with frequency marching (``--start random``), and from random positions at full
resolution at once, which no option offers. FSC with the truth is read at a quarter, half and three
quarters of Nyquist. Writes benchmarks/results/random_start.json after every molecule, and the table
in docs/method.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cryosplat.fitting import Schedule, density, fit, march, start_at_random, start_in_density
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import estimate_noise
from cryosplat.particles import read_particles
from cryosplat.splatting import voxelize
from cryosplat.statistics import QuadraticForm, Statistics, accumulate

from .machine import ROOT, describe
from .scoring import read_map, shell_correlation
from .sets import ParticleSet, simulate
from .table import put_between

RESULT = ROOT / "benchmarks" / "results" / "random_start.json"
PAGE = ROOT / "docs" / "method.md"
START, END = (
    "<!-- random-start: written by benchmarks/random_start.py -->",
    "<!-- end of random-start -->",
)
DENSITY, MARCHING, AT_ONCE = STARTS = "density", "random, marching", "random, at once"
SHARES = 0.25, 0.5, 0.75  # of the Nyquist frequency
EQUAL = 0.02  # FSC that a fit may lie below the median of those from density, at every share
GAUSSIANS, WIDTH, STEPS = 2000, 0.9, 60  # width in pixels
LONGER = 4  # times as many steps for random positions at full resolution

SETS = (
    ParticleSet("haemoglobin", "4hhb_hemoglobin.pdb", 56, 1.8, 1500, 0.05),
    ParticleSet("IgG", "1igy_IgG1.pdb", 48, 4.0, 1500, 0.05),
    ParticleSet("GroEL", "1MNF_groel.pdb.gz", 56, 3.6, 1500, 0.05),
    ParticleSet("spike", "6vxx.pdb", 64, 3.6, 1500, 0.05),
    ParticleSet("apoferritin", "apoferritin_ca_sym.pdb", 48, 3.6, 1500, 0.05),
)


def statistics_of(folder: Path) -> Statistics:
    """The statistics of all particles in a folder."""
    particles = read_particles(folder / "particles.star")
    noise = estimate_noise(particles.batches(torch.arange(0, len(particles), 2)))
    grid = Grid(particles.box_size, particles.pixel_size)
    every = torch.zeros(len(particles), dtype=torch.int64)
    return accumulate(particles.batches(), every, 1, grid, noise)[0]


def fitted(known: Statistics, start: str, seed: int) -> GaussianMixture:
    """One mixture, fitted from one start."""
    grid, schedule = known.grid, Schedule(steps=STEPS)
    form, generator = QuadraticForm(known, grid.box_size), torch.Generator().manual_seed(seed)
    if start == DENSITY:
        first = start_in_density(form, density(form), GAUSSIANS, WIDTH, generator)
    elif start == MARCHING:
        first = march(known, grid.box_size, GAUSSIANS, WIDTH, schedule, generator)
    else:
        first = start_at_random(form, GAUSSIANS, 0.15 * grid.side, WIDTH, generator)
        schedule = replace(schedule, steps=LONGER * STEPS)
    return fit(form, first, schedule).mixture


def measured(known: Statistics, truth: Path, start: str, seed: int) -> dict[str, Any]:
    """One fit: its FSC with the truth at `SHARES` and at every shell, and the processor's time."""
    before = time.process_time()
    volume = voxelize(fitted(known, start, seed), known.grid).numpy()
    took = time.process_time() - before
    curve = shell_correlation(volume, read_map(truth))
    nyquist = len(curve) - 1
    return {
        "fsc": {f"{share:g}": round(float(curve[round(share * nyquist)]), 4) for share in SHARES},
        "curve": [round(float(v), 4) for v in curve],
        "cpu_s": round(took, 2),
    }


def as_good(result: dict[str, Any], reference: list[dict[str, Any]]) -> bool:
    """Whether a fit is within `EQUAL` of the median of those from density, at every share."""
    medians = {s: statistics.median(r["fsc"][s] for r in reference) for s in result["fsc"]}
    return all(value >= medians[share] - EQUAL for share, value in result["fsc"].items())


def table(results: dict[str, Any]) -> str:
    """The Markdown table of docs/method.md, and the sentence above it."""
    lines = [
        "| particles | start | FSC with the truth at 1/4 of Nyquist | at 1/2 | at 3/4 | "
        "as good as density | CPU (s) |",
        "|---|---|---|---|---|---|---:|",
    ]
    reached = {start: [0, 0] for start in STARTS}
    for s in SETS:
        runs = results["sets"].get(s.name, {})
        reference = list(runs.get(DENSITY, {}).values())
        for start, of_start in runs.items():
            these = list(of_start.values())
            cells = [_range([r["fsc"][f"{share:g}"] for r in these]) for share in SHARES]
            good = sum(as_good(r, reference) for r in these)
            reached[start][0] += good
            reached[start][1] += len(these)
            name = f"{s.name}, {s.box_size} px of {s.pixel_size:g} Å" if start == DENSITY else ""
            seconds = statistics.median(r["cpu_s"] for r in these)
            lines.append(
                f"| {name} | {start} | {' | '.join(cells)} | {good} of {len(these)} | {seconds:.0f} |"
            )
    machine = results["machine"]
    (good, n), (at_once, m) = reached[MARCHING], reached[AT_ONCE]
    head = (
        f"With frequency marching **{good} of {n}** random starts end as good as starts in the "
        f'density; at full resolution at once, {at_once} of {m} do. "As good" is an FSC at most '
        f"{EQUAL:g} below the median from density at all three frequencies. Ranges are over seeds; "
        f"{SETS[0].n:,} particles at SNR {SETS[0].snr:g}, exact poses, {GAUSSIANS:,} Gaussians, one "
        f"fit of {STEPS} steps each ({LONGER * STEPS} at once). {machine['processor']}, "
        f"{machine['cores']} cores, commit `{machine['commit']}`, {machine['date'][:10]}."
    )
    return textwrap.fill(head, 98, break_on_hyphens=False) + "\n\n" + "\n".join(lines)


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def main() -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    shared = os.environ.get("CRYOSPLAT_SHARED", ROOT.parent / "shared")
    parser.add_argument("--shared", type=Path, default=Path(shared))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=[s.name for s in SETS])
    parser.add_argument("--page-only", action="store_true")
    given = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"sets": {}}
    for s in (s for s in SETS if s.name in given.only and not given.page_only):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / s.name
            results["machine"] = describe()
            results["simulator"] = simulate(s, folder, given.shared, None)
            known, truth = statistics_of(folder), folder / "truth.mrc"
            results["sets"][s.name] = {start: {} for start in STARTS}
            for start in STARTS:
                for seed in range(given.seeds):
                    row = measured(known, truth, start, seed)
                    results["sets"][s.name][start][str(seed)] = row
                    print(f"{s.name}, {start}, seed {seed}: {row['fsc']}", flush=True)
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
    if PAGE.exists():
        put_between(PAGE, START, END, table(results))


if __name__ == "__main__":
    main()

"""What symmetry gives: the same particles without it and with it, and what a wrong one is called.

usage: python -m benchmarks.symmetry --models FOLDER [--only NAME ...] [--n 1500]
``--models``: the folder of the atomic models named in symmetric_models.py. Writes
benchmarks/results/symmetry.json; molecules that are there already are replaced.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.io.ply import read_ply
from cryosplat.maps.fsc import fourier_shell_correlation, resolution
from cryosplat.particles import Particles, read_particles, split_half_sets
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction import reconstruct
from cryosplat.reconstruction._symmetry import look_at_symmetry
from cryosplat.run_folder import RunFolder, write_run
from cryosplat.settings import ReconstructionSettings
from cryosplat.symmetry import order_of
from cryosplat.validation.symmetry_check import SymmetryCheck

from .machine import describe
from .symmetric_models import MOLECULES, Molecule, write_truth

RESULT = Path(__file__).parent / "results" / "symmetry.json"
SNR, ANGLE_ERROR, SHIFT_ERROR = 0.01, 0.5, 0.3
GAUSSIANS = 8000  # of the whole map, with and without symmetry
VOXELS = "voxels, unmasked"
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the Nyquist frequency, at which the FSC is told
FEW = 100, 300, 1500  # particles that are asked about a symmetry
OTHERS = {
    "haemoglobin": ("D2", "C3"), "spike": ("C6", "D3"), "GroEL": ("C7", "D8"),
    "apoferritin": ("D4", "T"),
}  # fmt: skip
"""Further symmetries the particles are asked about; C7 and D4 are there, the others are not."""


def measured(molecule: Molecule, models: Path, n: int) -> dict[str, Any]:
    """One molecule: particles, both runs, and what particles say of several symmetries."""
    with tempfile.TemporaryDirectory() as scratch:
        truth = Path(scratch) / "truth.mrc"
        write_truth(molecule, models, truth)
        star = _simulated(truth, Path(scratch) / "particles", n)
        runs = {
            name: _run(star, truth, Path(scratch) / name, name)
            for name in ("C1", molecule.symmetry)
        }
        asked = [
            _asked(star, name, few)
            for name in (molecule.symmetry, *OTHERS[molecule.name])
            for few in FEW
            if few <= n
        ]
    grid = molecule.grid
    curves = [torch.tensor(runs[name].pop("voxel_fsc")) for name in ("C1", molecule.symmetry)]
    return {
        "symmetry": molecule.symmetry,
        "operators": order_of(molecule.symmetry),
        "particles": {
            "n": n, "box_size": grid.box_size, "pixel_size": grid.pixel_size, "snr": SNR,
            "angle_error_deg": ANGLE_ERROR, "shift_error": SHIFT_ERROR,
        },
        "runs": runs,
        "signal_gained": _gain(*curves),
        "control": asked,
    }  # fmt: skip


def _simulated(truth: Path, out: Path, n: int) -> Path:
    command = [
        Path(sys.executable).with_name("cryosplat"), "simulate", truth, "-o", out, "--n", n,
        "--snr", SNR, "--angle-error-deg", ANGLE_ERROR, "--shift-error", SHIFT_ERROR, "--seed", 7,
    ]  # fmt: skip
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return out / "particles.star"


def _run(star: Path, truth: Path, out: Path, symmetry: str) -> dict[str, Any]:
    settings = ReconstructionSettings(gaussians=GAUSSIANS, symmetry=symmetry, quick=True)
    wall, cpu = time.perf_counter(), time.process_time()
    with RunFolder.create(out) as folder:
        run = write_run(folder, reconstruct(read_particles(star), settings))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    volume, true = (torch.from_numpy(read_map(p).data.copy()) for p in (run.map, truth))
    summary, curves = json.loads(run.summary.read_text()), run.read_fsc_csv()[1]
    grid = Grid(volume.shape[0], summary["pixel_size"])
    fsc = fourier_shell_correlation(volume, true)
    stored = len(read_ply(run.gaussians).amplitudes)
    return {
        "resolution": summary["resolution"],
        "half_maps": summary["resolutions"]["half-maps, corrected"],
        "voxels": summary["resolutions"]["voxels, corrected"],
        "voxel_fsc": curves[VOXELS],
        "fsc_with_truth": {f"{s:g}": round(float(fsc[_shell(grid, s)]), 3) for s in SHARES},
        "resolution_with_truth": resolution(fsc, grid, 0.5).angstrom,
        "gaussians": summary["gaussians"][0],
        "stored": stored,
        "parameters": 11 * stored,
        "ply_bytes": run.gaussians.stat().st_size,
        "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "timings": {name: round(s, 1) for name, s in summary["timings"].items()},
        "alarms": [f["code"] for f in summary["findings"] if f["severity"] == "alarm"],
    }


def _gain(alone: torch.Tensor, tied: torch.Tensor) -> float:
    """By what factor symmetry raised the voxels' signal over noise, F / (1 - F): median of shells.

    As many operators as the group has would be all that can be gained.
    """
    told = (alone > 0.1) & (alone < 0.95) & (tied < 0.995)
    told[0] = False
    ratio = (tied / (1.0 - tied)) / (alone / (1.0 - alone))
    return round(float(ratio[told].median()), 2)


def _shell(grid: Grid, share: float) -> int:
    return round(share * (grid.box_size // 2 - 1))


def _asked(star: Path, symmetry: str, n: int) -> dict[str, Any]:
    particles = _first(read_particles(star), n)
    found = look_at_symmetry(particles, symmetry, 0, SilentProgress())
    assert isinstance(found, SymmetryCheck)
    return {
        "symmetry": symmetry,
        "particles": n,
        "rivals": {
            rival.symmetry: [round(rival.nats, 1), round(rival.error, 1)] for rival in found.rivals
        },
        "strongest": found.strongest.symmetry,
        "deviations": round(found.strongest.deviations, 1),
    }


def _first(particles: Particles, n: int) -> Particles:
    chosen = particles[torch.arange(n)]
    if chosen.has_half_sets:
        return chosen
    return replace(split_half_sets(chosen, torch.Generator().manual_seed(0)), notes=())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of molecules")
    parser.add_argument("--n", type=int, default=1500, help="particles of each")
    given = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"molecules": {}}
    for molecule in MOLECULES:
        if given.only and molecule.name not in given.only:
            continue
        entry = measured(molecule, given.models, given.n)
        found["molecules"][molecule.name] = entry
        found["machine"] = describe()
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
        print(molecule.name, json.dumps(entry["runs"]), flush=True)


if __name__ == "__main__":
    main()

"""Are the numbers that a run prints true? Predicted against measured, and every way to spoil a run.

usage: python -m benchmarks.trust --particles SET/particles.star [...]      (truth.mrc beside each)
       python -m benchmarks.trust --sabotage
Writes benchmarks/results/trust.json; sets and sabotages that are there already are replaced.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cryosplat.io.mrc import read_map
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.particles import read_particles
from cryosplat.reconstruction import reconstruct
from cryosplat.run_folder import RunFolder, write_run
from cryosplat.settings import ReconstructionSettings

from .machine import describe

RESULT = Path(__file__).parent / "results" / "trust.json"
JUDGED = 0.3  # measured FSC above which a prediction is compared
HALF = "half-map with truth, from cross"
FULL = {
    "from_half_maps": "map with truth, from half-maps",
    "from_cross": "map with truth, from cross",
    "predicted": "map with truth, predicted",
}


def predicted_and_measured(star: Path) -> dict[str, Any]:
    """One set through the whole recipe, its predictions beside what the truth says."""
    truth = torch.from_numpy(read_map(star.parent / "truth.mrc").data.copy())
    with tempfile.TemporaryDirectory() as scratch:
        cpu = time.process_time()
        with RunFolder.create(Path(scratch) / "run") as folder:
            run = write_run(folder, reconstruct(read_particles(star), ReconstructionSettings()))
        cpu = time.process_time() - cpu
        full, *halves = (_measured(p, truth) for p in (run.map, run.half1, run.half2))
        summary = json.loads(run.summary.read_text())
        frequencies, curves = run.read_fsc_csv()
    half = 0.5 * (halves[0] + halves[1])
    below = (full[1:] < 0.5).nonzero()
    limit = int(below[0]) if len(below) else len(full) - 1
    headline = summary["resolution"]
    shell = round(1.0 / headline / frequencies[1]) if headline else 0
    return {
        "half_map_from_cross": _deviation(curves[HALF], half),
        "full_map": {key: _deviation(curves[name], full) for key, name in FULL.items()},
        "headline_shell": shell, "headline_angstrom": headline,
        "headline_from": summary["resolution_from"], "measured_above_half_to_shell": limit,
        "headline_is_safe": shell <= limit,
        "findings": [f["code"] for f in summary["notes"]],
        "noise_substitution": summary["noise_substitution"],
        "seconds_controls": summary["timings"]["controls"],
        "seconds_total": summary["timings"]["total"], "cpu_seconds": cpu,
        "curves": {"half_measured": half.tolist(), "full_measured": full.tolist()}
        | {name: curves[name] for name in (HALF, *FULL.values())},
    }  # fmt: skip


def _measured(path: Path, truth: torch.Tensor) -> torch.Tensor:
    return fourier_shell_correlation(torch.from_numpy(read_map(path).data.copy()), truth)


def _deviation(predicted: list[float], measured: torch.Tensor) -> dict[str, float]:
    """Predicted minus measured over the shells before the measured curve falls below `JUDGED`."""
    below = (measured[1:] < JUDGED).nonzero()
    last = int(below[0]) + 1 if len(below) else len(measured)
    error = torch.tensor(predicted, dtype=torch.float64)[1:last] - measured[1:last]
    worst = int(error.abs().argmax())
    return {
        "worst": float(error[worst]), "at_shell": worst + 1, "too_high_at_most": float(error.max()),
        "mean_absolute": float(error.abs().mean()), "shells": last - 1,
    }  # fmt: skip


def sabotaged() -> dict[str, Any]:
    """What the findings say of sound particles and of each way to spoil them."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import sabotage  # type: ignore[import-not-found]

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fixed = replace(sabotage.QUICK, gaussians=1000)
        makers = sabotage.sound_phantom, sabotage.sound_blobs, sabotage.sound_dark
        sound = [make(folder / make.__name__).particles for make in makers]
        particles = sound[0]
        cases = {
            **{m.__name__: (p, sabotage.QUICK) for m, p in zip(makers, sound, strict=True)},
            "too few Gaussians": (particles, replace(sabotage.QUICK, gaussians=16)),
            "stopped after 3 steps": (particles, replace(fixed, steps=3)),
            "wrong CTF sign for a tenth": (sabotage.wrong_sign(particles, folder / "sign"), fixed),
            "a tenth duplicated": (sabotage.duplicated(particles, 0.1), fixed),
            "three tenths extracted again": (
                sabotage.duplicated_with_other_pixels(particles, 0.3, folder / "again"), fixed,
            ),
            "identical halves": (sabotage.identical_halves(particles), fixed),
            "pure noise": (sabotage.pure_noise(particles, folder / "noise"), fixed),
            "permuted poses": (sabotage.permuted_poses(particles), fixed),
        }  # fmt: skip
        for number, (name, (spoilt, settings)) in enumerate(cases.items()):
            result = sabotage.run(spoilt, folder / f"run{number}", settings).result
            angstrom = result.comparison.headline.angstrom
            found[name] = {
                "findings": [[n.severity, n.code] for n in result.notes],
                "resolution": angstrom if angstrom < float("inf") else None,
            }
            print(name, found[name], flush=True)
    return found


def main() -> None:
    """Measure what was asked for and add it to the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--particles", nargs="*", type=Path, default=[])
    parser.add_argument("--sabotage", action="store_true")
    arguments = parser.parse_args()
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {"sets": {}}
    results["machine"] = describe()
    for star in arguments.particles:
        outcome = predicted_and_measured(star)
        results["sets"][star.parent.name] = outcome
        print(star.parent.name, outcome["half_map_from_cross"], outcome["full_map"]["predicted"])
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.sabotage:
        results["sabotage"] = sabotaged()
        RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

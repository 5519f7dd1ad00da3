"""Everything that a run may hold, made up but in shape: for tests of report and viewer."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from cryosplat.io.mrc import read_map, write_map
from cryosplat.io.ply import read_ply, write_ply
from cryosplat.run_folder import RunFolder, RunSummary

N_AXES = 256


def write_summary(folder: RunFolder, values: dict[str, Any]) -> None:
    """``run.json`` with these values."""
    folder.write_summary(RunSummary.model_validate(values))


def change_summary(folder: RunFolder, **values: object) -> None:
    """Give some keys of ``run.json`` other values."""
    write_summary(folder, json.loads(folder.summary.read_text()) | values)


def fill_run(folder: RunFolder, seed: int = 1) -> None:
    """Add every optional key, curve and file to the run in ``folder``."""
    generator = np.random.default_rng(seed)
    summary = json.loads(folder.summary.read_text())
    frequencies, curves = folder.read_fsc_csv()
    pixel = summary["pixel_size"]
    s = np.array(frequencies)
    half = np.array(curves["half-maps, corrected"])
    noisy = 0.02 * generator.normal(size=len(s))
    begin = int(0.6 * len(s))
    invented = np.where(np.arange(len(s)) < begin, half, 0.18 * np.exp(-8 * (s - s[begin])) + noisy)
    curves |= {
        "half-maps, loose mask": (0.97 * half).tolist(),
        "half-maps, tight mask": np.clip(1.03 * half, None, 1.0).tolist(),
        "noise substitution, half-maps": invented.tolist(),
        "half-maps, corrected for invented": np.where(
            np.arange(len(s)) < begin, half, (half - invented) / np.maximum(1 - invented, 1e-9)
        ).tolist(),
        "map with model": (1.0 / (1.0 + np.exp(30 * (s - 0.8 * s[-1])))).tolist(),
    }
    folder.write_fsc_csv(frequencies, curves)
    local = _local_resolution(folder, pixel)
    axes = _sphere(N_AXES)
    slant = np.abs(axes[:, 2])
    summary |= {
        "notes": NOTES,
        "noise_substitution": {
            "from_shell": begin, "from_angstrom": 1 / s[begin], "invented": 0.18, "skipped": False
        },
        "masks": {
            "loose": {"0.5": 6.3, "0.143": 5.2}, "tight": {"0.5": 6.0, "0.143": 4.9},
        },
        "guinier": _guinier(s, generator),
        "directional": {
            "cfar": 0.71, "scf": 0.93, "axes": axes.tolist(),
            "resolutions": (5.6 + 0.9 * slant + 0.05 * generator.normal(size=N_AXES)).tolist(),
            "areas": (4.0 - slant).tolist(),
            "frequencies": s.tolist(), "cone_fsc_mean": half.tolist(),
            "cone_fsc_min": (half - 0.25 * s / s[-1] - 0.02).tolist(),
            "cone_fsc_max": np.clip(half + 0.1 * s / s[-1], None, 1).tolist(),
        },
        "views": {"axes": _sphere(800).tolist(), "counts": _counts(generator)},
        "local_resolution": local,
        "uncertainty": {"matched": 0.64, "median_position": 0.62, "median_amplitude": 0.21},
        "model": {"resolution_0.5": 5.9},
    }  # fmt: skip
    write_summary(folder, summary)
    _gaussians(folder, generator)
    volume = read_map(folder.map).data
    write_map(folder.sharpened, volume, pixel)
    with folder.residues.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["chain", "residue", "name", "rscc"])
        for chain in "ABCDEF":
            values = np.clip(0.8 + 0.1 * generator.normal(size=120), -0.2, 1)
            writer.writerows([chain, i + 1, "ALA", f"{v:.3f}"] for i, v in enumerate(values))


NOTES = [
    {
        "code": "halves-share-particles", "severity": "alarm",
        "text": "The half-sets share 212 particles, so their maps are not independent and the FSC "
        "between them is too high.",
        "remedy": "Remove the duplicates, or keep them on one side, and run again.",
    },
    {
        "code": "cross-below-half", "severity": "warning",
        "text": "Half-maps agree to 5.00 Å, but the voxel baseline confirms only 5.71 Å: the prior "
        "of the Gaussians may inflate the half-map FSC.",
        "remedy": "",
    },
    {"code": "fine", "severity": "note", "text": "Views cover the whole sphere.", "remedy": ""},
]  # fmt: skip


def _gaussians(folder: RunFolder, generator: np.random.Generator) -> None:
    """The run's Gaussians, or a few new ones, with uncertainties."""
    if folder.gaussians.exists():
        ply = read_ply(folder.gaussians)
        arrays = ply.means, ply.scales, ply.quaternions, ply.amplitudes
    else:
        k = 60
        turns = generator.normal(size=(k, 4))
        arrays = (
            3.0 * generator.normal(size=(k, 3)), generator.uniform(0.8, 2.5, (k, 3)),
            turns / np.linalg.norm(turns, axis=1, keepdims=True), generator.uniform(0.5, 2, k),
        )  # fmt: skip
    k = len(arrays[0])
    sigmas = {
        "sigma_position": generator.gamma(4.0, 0.16, k), "sigma_amplitude": generator.gamma(4, 0.05, k)
    }  # fmt: skip
    write_ply(folder.gaussians, *arrays, extra=sigmas)


def _sphere(n: int) -> np.ndarray:
    """n directions on Fibonacci's spiral."""
    z = 1 - (2 * np.arange(n) + 1) / n
    turn = np.arange(n) * math.pi * (3 - math.sqrt(5))
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], 1)


def _counts(generator: np.random.Generator) -> list[int]:
    z = _sphere(800)[:, 2]
    return generator.poisson(1.2 + 5.0 * np.exp(-((np.abs(z) - 0.2) ** 2) / 0.05)).tolist()


def _guinier(s: np.ndarray, generator: np.random.Generator) -> dict[str, Any]:
    squared = s[1:] ** 2
    line = -90.0 / 4
    log = 1.5 + line * squared + 0.8 * np.exp(-squared / 0.003)
    log += 0.03 * generator.normal(size=len(squared))
    return {
        "b_factor": -90.0, "fit_range_angstrom": [10.0, 1.2 / s[-1]],
        "frequencies_squared": squared.tolist(), "log_amplitude": log.tolist(),
        "log_amplitude_weighted": (log - 0.5 * (squared / squared[-1]) ** 3).tolist(),
        "line": [line, 1.5],
    }  # fmt: skip


def _local_resolution(folder: RunFolder, pixel: float) -> dict[str, float]:
    """A map that worsens from the centre outwards; 0 outside the mask."""
    mask = read_map(folder.mask).data
    box = mask.shape[0]
    axis = np.arange(box) - box // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) * pixel
    volume = (5.0 + 3.5 * (radius / radius.max() * 1.8) ** 2).astype(np.float32)
    volume[mask <= 0] = 0.0
    write_map(folder.local_resolution, volume, pixel)
    write_map(folder.local_resolution_voxels, 1.15 * volume, pixel)
    inside = volume[mask > 0.5]
    low, middle, high = (float(v) for v in np.quantile(inside, (0.05, 0.5, 0.95)))
    return {"median": middle, "q05": low, "q95": high, "window_angstrom": 34.0}


def plain_run(path: Path, box: int = 24, pixel: float = 2.5) -> RunFolder:
    """A small finished run with nothing optional: three blobs, noisy halves, falling curves."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    generator = np.random.default_rng(3)
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8.0)
        for a, b, c in ((4, 2, 0), (-3, 4, 1), (0, -3, -4))
    )
    radius = np.sqrt(x**2 + y**2 + z**2)
    write_map(folder.mask, np.clip(box / 2 - radius, 0, 1).astype(np.float32), pixel)
    for target, noise in (
        (folder.map, 0.01), (folder.half1, 0.03), (folder.half2, 0.03), (folder.voxel_map, 0.08),
    ):  # fmt: skip
        noisy = volume + noise * generator.normal(size=volume.shape)
        write_map(target, noisy.astype(np.float32), pixel)
    s = np.arange(box // 2 + 1) / (box * pixel)
    half = 1 / (1 + np.exp(60 * (s - 0.13)))
    curves = {
        "half-maps, unmasked": 0.95 * half, "half-maps, masked": half,
        "half-maps, corrected": half, "voxels, masked": 0.8 * half,
        "voxels, corrected": 0.8 * half, "cross, masked": 0.9 * half,
        "half-map with truth, from cross": np.sqrt(half),
    }  # fmt: skip
    folder.write_fsc_csv(s.tolist(), {name: curve.tolist() for name, curve in curves.items()})
    steps = range(0, 45, 5)
    trial = [[i, -math.exp(-i / 5), -math.exp(-i / 5) - 1e-3 * i] for i in steps]
    write_summary(
        folder,
        {
            "particles": "/data/particles.star", "n_particles": 1200, "n_half": [600, 600],
            "box_size": box, "pixel_size": pixel, "contrast": {"used": "bright"},
            "gaussians": [100, 90, 95], "smallest_scale_allowed": 0.6, "scale_at_floor": 0.25,
            "resolution": 6.5, "resolution_at_nyquist": False,
            "resolution_from": "cross",
            "resolutions": {
                "half-maps, corrected": {"0.5": 7.7, "0.143": 6.0},
                "half-map with truth, from cross": {"0.5": 6.5, "0.143": 5.0},
            },
            "trials": [trial] * 3, "timings": {"accumulate": 1.5, "fit": 2.5, "total": 4.5},
            "peak_memory_bytes": 5e8, "settings": {"seed": 0, "gaussians": None},
            "provenance": {
                "date": "2026-01-02T03:04:05+00:00", "command": "cryosplat reconstruct a.star -o r",
                "working_directory": "/data", "versions": {"cryosplat": "0.1.0", "torch": "2"},
                "machine": {"system": "Linux", "cores": 2},
            },
        }
    )  # fmt: skip
    return folder

"""Poses that are off, refined by cryosplat and by RELION's auto-refine from the same table.

usage: python -m benchmarks.poses [--models spike ...] [--errors 0.7 ...] [--data FOLDER]
Simulates each set by ``make_hard_particles.py`` (independent of cryosplat) with exact poses, spoils
them, and refines the table by both programs: RELION by local searches (``--sigma_ang``), its half-sets
apart, from the map of the given poses. Errors are those about the best common frame (CryoBench's
definition); FSC is with the truth in that frame, under a mask made from the truth. Writes
benchmarks/results/poses.json after every run and the table in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import finufft
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryosplat.particles import Particles, read_particles, write_particles
from cryosplat.poses import Poses

from . import scoring
from .hard import MODELS, simulate, worst
from .machine import describe
from .run import write_json
from .sets import ParticleSet
from .table import put_between

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "poses.json"
START, END = "<!-- poses: written by poses.py -->", "<!-- end of poses -->"
ERRORS = {"0": (0.0, 0.0), "0.7": (0.7, 0.4), "2": (2.0, 1.0), "5": (5.0, 3.0)}
"""Degrees about each axis and Angstrom along each axis: standard deviations."""
ROUNDS = 4  # of the common frame, from the half that agrees best
PROGRAMS = {"cryosplat": "cryosplat", "relion": "relion_refine_mpi"}
Array = NDArray[np.float64]


def spoilt(exact: Particles, degrees: float, angstrom: float) -> Particles:
    """The particles with normal errors on their poses."""
    rng = np.random.default_rng(11)
    turns = Rotation.from_rotvec(rng.normal(size=(len(exact), 3)) * np.deg2rad(degrees))
    moves = rng.normal(size=(len(exact), 2)) * angstrom
    rotations = torch.from_numpy(turns.as_matrix()) @ exact.poses.rotations.double()
    return replace(exact, poses=Poses(rotations, exact.poses.shifts + torch.from_numpy(moves)))


def frame(found: Poses, exact: Poses) -> tuple[Array, Array]:
    """The rotation G with ``T ~ E G``, and the origin (3,) in Angstrom that the shifts share."""
    e, t = found.rotations.double().numpy(), exact.rotations.double().numpy()
    near, turn = np.ones(len(e), dtype=bool), np.eye(3)
    for _ in range(ROUNDS):
        u, _, v = np.linalg.svd(np.einsum("nij,nik->jk", e[near], t[near]))
        turn = u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v
        errors = _degrees(e @ turn @ t.transpose(0, 2, 1))
        near = errors <= np.median(errors)
    moved = (found.shifts.double() - exact.shifts.double()).numpy()
    origin = np.linalg.lstsq(e[:, :2].reshape(-1, 3), moved.ravel(), rcond=None)[0]
    return turn, origin


def errors_of(found: Poses, exact: Poses) -> dict[str, float]:
    """Medians of the errors in degrees and in Angstrom, in the best common frame."""
    turn, origin = frame(found, exact)
    e, t = found.rotations.double().numpy(), exact.rotations.double().numpy()
    angles = _degrees(e @ turn @ t.transpose(0, 2, 1))
    moved = (found.shifts.double() - exact.shifts.double()).numpy() - e[:, :2] @ origin
    shifts = np.linalg.norm(moved, axis=1)
    return {
        "degrees": round(float(np.median(angles)), 3),
        "angstrom": round(float(np.median(shifts)), 3),
    }


def _degrees(rotations: Array) -> Array:
    cosine = 0.5 * (np.trace(rotations, axis1=1, axis2=2) - 1.0)
    return np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))


def in_frame(
    volume: NDArray[np.float32], turn: Array, origin: Array, pixel_size: float
) -> NDArray[np.float32]:
    """A map turned and moved by trigonometric interpolation, without loss."""
    d = len(volume)
    f = np.fft.fftshift(np.fft.fftfreq(d))
    k = np.stack(np.meshgrid(f, f, f, indexing="ij")[::-1], -1).reshape(-1, 3) @ turn.T
    z, y, x = (np.ascontiguousarray(2.0 * np.pi * k[:, axis]) for axis in (2, 1, 0))
    values = finufft.nufft3d2(z, y, x, volume.astype(complex), eps=1e-6, isign=-1)
    values = values * np.exp(2j * np.pi * (k @ origin) / pixel_size)
    spectrum = np.fft.ifftshift(values.reshape(d, d, d))
    return np.fft.fftshift(np.fft.ifftn(spectrum).real).astype(np.float32)


def fsc(path: Path, truth: Path, found: Poses, exact: Poses, pixel_size: float) -> list[float]:
    """FSC of a map with the truth in the frame of the true poses, under the truth's mask."""
    turn, origin = frame(found, exact)
    turned = in_frame(scoring.read_map(path), turn, origin, pixel_size)
    true = scoring.read_map(truth)
    mask = scoring.truth_mask(true)
    return [round(float(v), 4) for v in scoring.shell_correlation(turned * mask, true * mask)]


def measured(command: list[str], folder: Path, log: str) -> dict[str, Any]:
    """What a command took."""
    script = [sys.executable, str(HERE / "measure.py"), str(folder / log), *command]
    done = subprocess.run(script, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def by_cryosplat(folder: Path, s: ParticleSet, errors: str) -> dict[str, Any]:
    """Refinement and reconstruction; the poses that are used, and the map."""
    out, table = f"{errors}_cryosplat", f"given_{errors}.star"
    shutil.rmtree(folder / out, ignore_errors=True)
    program = str(Path(sys.executable).with_name("cryosplat"))
    found = measured([program, "refine", table, "-o", out, "--quick"], folder, f"{out}.log")
    poses = folder / out / "particles.star"
    return found | {"poses": poses if poses.exists() else folder / table, "map": f"{out}/map.mrc"}


def by_relion(folder: Path, s: ParticleSet, errors: str) -> dict[str, Any]:
    """Auto-refine by local searches, from the map of the given poses."""
    out, table, first_map = f"{errors}_relion", f"given_{errors}.star", f"{errors}.mrc"
    reference = ["relion_reconstruct", "--i", table, "--ctf", "--o", first_map]
    first = measured([*reference, "--angpix", str(s.pixel_size)], folder, f"{out}_map.log")
    degrees = ERRORS[errors][0]
    order = 3 if degrees > 3.0 else 4 if degrees > 1.0 else 5
    diameter = 0.85 * s.box_size * s.pixel_size
    shutil.rmtree(folder / out, ignore_errors=True)
    (folder / out).mkdir()
    command = [
        "mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3", "relion_refine_mpi",
        "--auto_refine", "--split_random_halves", "--i", table, "--o", f"{out}/run",
        "--ref", first_map, "--ini_high", str(round(8.0 * s.pixel_size, 1)),
        "--particle_diameter", str(round(diameter)), "--ctf", "--flatten_solvent", "--zero_mask",
        "--oversampling", "1", "--healpix_order", str(order), "--auto_local_healpix_order",
        str(order), "--sigma_ang", str(max(degrees, 1.0)), "--offset_range", "3",
        "--offset_step", "1", "--low_resol_join_halves", "40", "--norm", "--scale", "--pad", "2",
        "--sym", "C1", "--j", "1", "--dont_combine_weights_via_disc", "--preread_images",
    ]  # fmt: skip
    found = measured(command, folder, f"{out}.log")
    for name in ("wall_s", "cpu_s"):
        found[name] = round(found[name] + first[name], 2)
    return found | {"poses": folder / out / "run_data.star", "map": f"{out}/run_class001.mrc"}


RUNS = {"cryosplat": by_cryosplat, "relion": by_relion}


def refined(
    name: str, folder: Path, s: ParticleSet, errors: str, exact: Particles
) -> dict[str, Any]:
    """One program on one table: what it took, and the errors of its poses and map."""
    if shutil.which(PROGRAMS[name]) is None and name != "cryosplat":
        return {"missing": f"{PROGRAMS[name]} is not installed"}
    found = RUNS[name](folder, s, errors)
    if found["exit_code"] not in (0, 1):  # 1: the run raised an alarm
        return {"failed": f"exit {found['exit_code']}"}
    back = read_particles(found.pop("poses"))
    rows = {int(image.split("@")[0]): i for i, image in enumerate(back.names)}
    order = torch.tensor([rows[int(image.split("@")[0])] for image in exact.names])
    poses = back.poses.select(order)
    path = folder / found.pop("map")
    curve = fsc(path, folder / "truth.mrc", poses, exact.poses, s.pixel_size)
    return errors_of(poses, exact.poses) | found | {"fsc": curve}


def table(results: dict[str, Any]) -> str:
    """One row a set and error."""
    lines = [
        "cryosplat / RELION: medians of the poses' errors, FSC with the truth under a mask made from "
        "the truth; *worst* is the lowest difference over the shells where either exceeds 0.2.",
        "",
        "| molecule | given errors | degrees | Å | shell 8 | 16 | 24 | 30 | worst | CPU (s) |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in results["runs"].values():
        given, pair = entry["given"], [entry.get(name, {}) for name in PROGRAMS]
        known = [p if "fsc" in p else None for p in pair]
        both = all(known)
        cells = [_pair(known, name) for name in ("degrees", "angstrom")]
        cells += [
            " / ".join("-" if p is None else f"{p['fsc'][k]:.3f}" for p in known)
            for k in (8, 16, 24, 30)
        ]
        cells.append("{:+.3f} ({})".format(*worst(*(p["fsc"] for p in pair))) if both else "")
        cells.append(" / ".join("-" if p is None else f"{p['cpu_s']:.0f}" for p in known))
        lines.append(
            f"| {entry['molecule']} | {given['degrees']:.2f}°, {given['angstrom']:.2f} Å "
            f"| {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def _pair(known: list[dict[str, Any] | None], name: str) -> str:
    return " / ".join("-" if p is None else f"{p[name]:.2f}" for p in known)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["spike", "haemoglobin"])
    parser.add_argument("--errors", nargs="+", choices=ERRORS, default=["0.7", "2", "5"])
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--snr", type=float, default=0.03)
    parser.add_argument(
        "--shared", type=Path, default=os.environ.get("CRYOSPLAT_SHARED", "../shared")
    )
    parser.add_argument(
        "--data", type=Path, default=Path(tempfile.gettempdir()) / "cryosplat-poses"
    )
    asked = parser.parse_args()
    results: dict[str, Any] = {"runs": {}}
    if RESULT.exists():
        results = json.loads(RESULT.read_text())
    for model in asked.models:
        file, pixel = MODELS[model]
        s = ParticleSet(f"{model}-{asked.snr:g}", file, 64, pixel, asked.n, asked.snr, seed=21)
        folder = asked.data.resolve() / s.name
        simulate(s, "clean", folder, Path(asked.shared).resolve())
        exact = read_particles(folder / "particles.star")
        for errors in asked.errors:
            given = spoilt(exact, *ERRORS[errors])
            write_particles(given, folder / f"given_{errors}.star")
            name = f"{s.name}-{errors}"
            entry = results["runs"].get(name, {}) | {
                "molecule": model, "box": s.box_size, "pixel_size": pixel, "n": s.n, "snr": s.snr,
                "seed": s.seed, "given": errors_of(given.poses, exact.poses),
            }  # fmt: skip
            results["runs"][name] = entry
            for program in asked.programs:
                entry[program] = refined(program, folder, s, errors, exact)
                results["machine"] = describe()
                write_json(RESULT, results)
            print(table({"runs": {name: entry}}).splitlines()[-1], flush=True)
    put_between(HERE / "README.md", START, END, table(results))


if __name__ == "__main__":
    main()

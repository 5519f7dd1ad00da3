"""The map beside RELION's on sets with the faults of real particles, one fault at a time and together.

usage: python -m benchmarks.hard [--models spike ...] [--faults junk ...] [--data FOLDER]
Simulates each set by ``make_hard_particles.py`` (independent of cryosplat), runs
``relion_reconstruct`` and ``cryosplat reconstruct`` on it, scores both with the truth, writes
benchmarks/results/hard.json after every set and the table in benchmarks/README.md.

``ice`` is no fault but the world as it is: multislice through explicit water and counted electrons, by
``make_ice_particles.py``. It needs abTEM, in the Python given by --ice-python. Its truth is the
molecule in vacuum, so that its first shells are not scored.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import peers, scoring
from .machine import describe
from .run import write_json
from .sets import ParticleSet
from .table import put_between

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "hard.json"
START, END = "<!-- hard: written by hard.py -->", "<!-- end of hard -->"
ABOVE = 0.2  # shells count where either map's FSC with the truth exceeds this

MODELS = {
    "spike": ("6vxx.pdb", 3.2),
    "haemoglobin": ("4hhb_hemoglobin.pdb", 1.8),
    "groel": ("1MNF_groel.pdb.gz", 3.6),
    "igg": ("1igy_IgG1.pdb", 3.2),
    "apoferritin": ("apoferritin_ca_sym.pdb", 2.8),
}  # file, pixel size in Angstrom for a box of 64
FAULTS = {
    "clean": (),
    "junk": ("--junk", ".4"),
    "scale": ("--scale", ".5"),
    "colour": ("--color",),
    "neighbours": ("--neighbours",),
    "views": ("--views", "4"),
    "wrong": ("--angle-err", "1.5", "--shift-err", ".4", "--defocus-err", "400"),
    "everything": (
        "--junk", ".2", "--scale", ".3", "--color", "--neighbours", "--views", "1.5",
        "--angle-err", "1", "--shift-err", ".5", "--defocus-err", "200",
    ),
}  # fmt: skip
ICE_SETS = {
    "spike": (88, 1000, 13),
    "haemoglobin": (64, 1200, 12),
    "groel": (80, 1200, 11),
    "igg": (80, 1200, 14),
}  # pixels of 2.6 Angstrom, particles, seed
ICE_PIXEL = 2.6
ICE = ("--dose", "20", "--angle-err", "1", "--shift-err", "0.7")
ICE_SHELL = 5  # the first that is scored


def particle_set(model: str, fault: str, n: int) -> ParticleSet | None:
    """The set of a molecule with a fault; None where there is none."""
    file, pixel = MODELS[model]
    if fault != "ice":
        return ParticleSet(f"{model}-{fault}", file, 64, pixel, n, 0.03, seed=21)
    if model not in ICE_SETS:
        return None
    box, n, seed = ICE_SETS[model]
    return ParticleSet(f"{model}-ice", file, box, ICE_PIXEL, n, 0.0, b_factor=120.0, seed=seed)


def simulate(
    s: ParticleSet, fault: str, folder: Path, shared: Path, ice_python: str = sys.executable
) -> None:
    """Make the set unless it is there already."""
    options = ICE if fault == "ice" else FAULTS[fault]
    wanted = json.dumps([s.name, s.pixel_size, s.box_size, s.n, s.snr, s.seed, options])
    stamp = folder / "set.json"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    common = (
        str(shared / "data" / "models" / s.model), str(folder), "--box", str(s.box_size),
        "--apix", str(s.pixel_size), "--num", str(s.n), "--b", f"{s.b_factor:g}",
        "--seed", str(s.seed), *options,
    )  # fmt: skip
    if fault == "ice":
        tool, more = [ice_python, "make_ice_particles.py"], ("--cache", str(folder.parent / "ice"))
    else:
        tool, more = [sys.executable, "make_hard_particles.py"], ("--snr", str(s.snr))
    command = [tool[0], str(shared / "tools" / tool[1]), *common, *more]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    stamp.write_text(wanted)


def without_junk(folder: Path) -> Path:
    """The folder of the same set's particles that are no junk; the images stay where they are."""
    junk = np.load(folder / "hidden.npz")["junk"]
    out = folder / "good"
    out.mkdir(exist_ok=True)
    lines = (folder / "particles.star").read_text().splitlines(keepends=True)
    rows = [i for i, line in enumerate(lines) if "@" in line]
    left_out = {rows[i] for i in np.flatnonzero(junk)}
    kept = "".join(line for i, line in enumerate(lines) if i not in left_out)
    (out / "particles.star").write_text(kept.replace("@", "@../"))
    return out


def measure(peer: peers.Peer, s: ParticleSet, folder: Path, truth: Path) -> dict[str, Any]:
    """What one program took on one set and its FSC with the truth, map by map."""
    executable = peers.find(peer, None)
    if executable is None:
        return {"missing": f"{peer.executable} is not installed"}
    taken = peers.run(peer, executable, s, folder)
    if "failed" in taken:
        return taken
    out = folder / peer.name
    found = {
        "cpu_s": taken["cpu_s"],
        "peak_gb": taken["peak_gb"],
        "fsc": {name: scoring.score(out / file, truth) for name, file in peer.maps.items()},
    }
    run = out / "run" / "run.json"
    if run.exists():
        told = json.loads(run.read_text())
        found["headline"] = told["resolution"]
        found["alarms"] = [n["code"] for n in told["notes"] or () if n["severity"] == "alarm"]
    return found


def quick(peer: peers.Peer) -> peers.Peer:
    """cryosplat without its controls, RELION without half-maps: neither changes the map."""

    def stages(s: ParticleSet, folder: Path, out: Path) -> list[peers.Stage]:
        first = peer.stages(s, folder, out)[0]
        more = ("--quick",) if peer.name == "cryosplat" else ()
        return [replace(first, arguments=(*first.arguments, *more))]

    return replace(peer, stages=stages)


def worst(ours: list[float], theirs: list[float], first: int = 1) -> tuple[float, int]:
    """The lowest difference where either exceeds ABOVE, from shell ``first`` on, and its shell."""
    pairs = list(enumerate(zip(ours, theirs, strict=True)))[first:]
    return min(((a - b, k) for k, (a, b) in pairs if max(a, b) > ABOVE), default=(0.0, 0))


def first_below(curve: list[float], first: int = 1, level: float = 0.5) -> int:
    """The first shell from ``first`` where the curve is below ``level``; its length if none is."""
    return next((k for k, v in enumerate(curve) if k >= first and v < level), len(curve))


def table(results: dict[str, Any]) -> str:
    """One row a set."""
    lines = [
        "FSC with the truth under a mask made from the truth, cryosplat / RELION; *worst* is the "
        f"lowest difference over the shells where either exceeds {ABOVE:g}; *headline* is the "
        "resolution the run reports, *truth* where its unmasked map's FSC with the truth falls "
        "below 0.5.",
        "",
        "| molecule | fault | shell 8 | 16 | 24 | 30 | worst | against its voxels | headline (Å) "
        "| truth (Å) | CPU (s) |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in results["sets"].values():
        ours, relion = entry["cryosplat"], entry.get("relion", {})
        if "fsc" not in ours:
            lines.append(f"| {entry['molecule']} | {entry['fault']} | {ours} |" + " |" * 8)
            continue
        curve = ours["fsc"]["map"]["truth_masked"]
        voxels = ours["fsc"]["voxel baseline"]["truth_masked"]
        theirs = relion["fsc"]["map"]["truth_masked"] if "fsc" in relion else None
        first = ICE_SHELL if entry["fault"] == "ice" else 1
        cells = [
            f"{curve[k]:.3f}" + (f" / {theirs[k]:.3f}" if theirs else "") for k in (8, 16, 24, 30)
        ]
        margins = [
            "{:+.3f} ({})".format(*worst(curve, other, first)) if other else ""
            for other in (theirs, voxels)
        ]
        headline = "none" if ours["headline"] is None else f"{ours['headline']:.1f}"
        side = entry["box"] * entry["pixel_size"]
        end = side / first_below(ours["fsc"]["map"]["unmasked"], first)
        lines.append(
            f"| {entry['molecule']} | {entry['fault']} | {' | '.join(cells + margins)} "
            f"| {headline} | {end:.1f} | {ours['cpu_s']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--faults", nargs="+", choices=[*FAULTS, "ice"], default=list(FAULTS))
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument(
        "--shared", type=Path, default=os.environ.get("CRYOSPLAT_SHARED", "../shared")
    )
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "cryosplat-hard")
    parser.add_argument("--ice-python", default=sys.executable, help="a Python that has abTEM")
    given = parser.parse_args()
    results: dict[str, Any] = {"sets": {}}
    if RESULT.exists():
        results = json.loads(RESULT.read_text())
    programs = [quick(p) for p in peers.PEERS if p.name in ("relion", "cryosplat")]
    for model in given.models:
        for fault in given.faults:
            s = particle_set(model, fault, given.n)
            if s is None:
                continue
            folder = given.data.resolve() / s.name
            simulate(s, fault, folder, Path(given.shared).resolve(), given.ice_python)
            truth = folder / "truth.mrc"
            entry: dict[str, Any] = {
                "molecule": model, "fault": fault, "box": s.box_size, "pixel_size": s.pixel_size,
                "n": s.n, "snr": s.snr, "seed": s.seed,
                "options": " ".join(ICE if fault == "ice" else FAULTS[fault]),
            }  # fmt: skip
            entry |= {p.name: measure(p, s, folder, truth) for p in programs}
            results["sets"][s.name] = entry
            if fault == "junk":
                good = without_junk(folder)
                results["sets"][f"{s.name}-removed"] = {**entry, "fault": "junk removed"} | {
                    p.name: measure(p, s, good, truth) for p in programs
                }
            results["machine"] = describe()
            write_json(RESULT, results)
            print(table({"sets": {s.name: entry}}).splitlines()[-1], flush=True)
    put_between(HERE / "README.md", START, END, table(results))


if __name__ == "__main__":
    main()

"""Poses from nothing: the map of ``cryosplat abinit`` against the truth, on clean and faulty sets.

usage: python -m benchmarks.abinit [--models spike ...] [--faults clean ...] [--seeds 1 ...]
Simulates each set by ``make_hard_particles.py`` (independent of cryosplat), runs ``cryosplat abinit``
on one thread, aligns its map with the truth, and writes benchmarks/results/abinit.json after every set
and the table in benchmarks/README.md. Sets that are there already are left alone; ``--again`` measures
them anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .aligning import aligned
from .machine import describe
from .peers import MEASURE
from .run import write_json
from .scoring import read_map
from .table import put_between

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "abinit.json"
START, END = "<!-- abinit: written by abinit.py -->", "<!-- end of abinit -->"
BOX, N, SHIFT = 64, 4000, 10.0  # pixels; particles; Angstrom either way
SHELLS = 2, 5, 8, 10, 12
PASSED = {5: 0.9, 10: 0.5}  # FSC with the truth by shell
PASSED_FAULTY = {5: 0.8}

MODELS = {
    "spike": ("6vxx.pdb", 4.0),
    "haemoglobin": ("4hhb_hemoglobin.pdb", 1.6),
    "groel": ("1MNF_groel.pdb.gz", 4.0),
    "igg": ("1igy_IgG1.pdb", 3.6),
    "apoferritin": ("apoferritin_ca_sym.pdb", 3.2),
}  # file, pixel size in Angstrom
FAULTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "clean .05": (0.05, ()),
    "clean .02": (0.02, ()),
    "junk": (0.05, ("--junk", ".4")),
    "views": (0.05, ("--views", "4")),
    "colour": (0.05, ("--color",)),
    "neighbours": (0.05, ("--neighbours",)),
    "scale": (0.05, ("--scale", ".5")),
    "everything": (
        0.06,
        ("--junk", ".4", "--views", "4", "--color", "--neighbours", "--scale", ".5"),
    ),
    "noise": (1e-6, ()),
}  # SNR, options of the simulator
NOTHING = ("noise",)
"""Sets without a molecule, of which nothing may be found."""


def simulate(model: str, fault: str, seed: int, folder: Path, shared: Path) -> None:
    """Make the set unless it is there already."""
    file, pixel = MODELS[model]
    snr, options = FAULTS[fault]
    wanted = json.dumps([file, pixel, BOX, N, SHIFT, snr, seed, options])
    stamp = folder / "set.json"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, str(shared / "tools" / "make_hard_particles.py"),
        str(shared / "data" / "models" / file), str(folder), "--box", str(BOX),
        "--apix", str(pixel), "--num", str(N), "--snr", str(snr), "--b", "80",
        "--shift", str(SHIFT), "--seed", str(seed), *options,
    ]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    stamp.write_text(wanted)


def measure(folder: Path, seed: int) -> dict[str, Any]:
    """What one run took, what it says, and the FSC of its map with the truth."""
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    program = Path(sys.executable).with_name("cryosplat")
    command = [
        sys.executable, str(MEASURE), str(folder / "log.txt"), str(program), "abinit",
        "particles.star", "-o", "run", "--seed", str(seed), "--threads", "1", "--overwrite",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    taken = json.loads(done.stdout)
    if taken["exit_code"] not in (0, 1):
        tail = (folder / "log.txt").read_text(errors="replace").strip().splitlines()[-4:]
        return {"failed": f"exit {taken['exit_code']}", "log_tail": tail}
    told = json.loads((out / "run.json").read_text())
    found = {
        **{name: taken[name] for name in ("cpu_s", "wall_s", "peak_gb", "load_before")},
        "found": told["abinit"]["found"],
        "starts": told["abinit"]["starts"],
        "chosen": told["abinit"]["chosen"],
    }
    if found["found"]:
        curve, hand = aligned(read_map(out / "map.mrc"), read_map(folder / "truth.mrc"))
        found |= {"fsc": [round(float(v), 4) for v in curve], "hand": hand}
        found["headline"] = told["resolution"]
    return found


def passed(entry: dict[str, Any]) -> bool:
    """Whether the map is what the benchmark asks for; of a set without a molecule, none."""
    if entry["fault"] in NOTHING:
        return entry.get("found") is False
    least = PASSED if entry["fault"].startswith("clean") else PASSED_FAULTY
    return "fsc" in entry and all(entry["fsc"][k] > value for k, value in least.items())


def table(results: dict[str, Any]) -> str:
    """One row a set, and how many passed."""
    sets = list(results["sets"].values())
    clean = [passed(e) for e in sets if e["fault"].startswith("clean")]
    faulty = [passed(e) for e in sets if not e["fault"].startswith("clean")]
    seconds = np.array([e.get("cpu_s", np.nan) for e in sets])
    lines = [
        "FSC of the map of `cryosplat abinit` with the truth, after alignment, either hand. *Passed*: "
        "above 0.9 at shell 5 and 0.5 at shell 10; with a fault, above 0.8 at shell 5; of noise, "
        f"that nothing is found. Clean: {sum(clean)} of {len(clean)}; with a fault: {sum(faulty)} of "
        f"{len(faulty)}. CPU time of one thread: median {np.nanmedian(seconds):.0f} s, at most "
        f"{np.nanmax(seconds):.0f} s.",
        "",
        "| molecule | set | seed | " + " | ".join(f"shell {k}" for k in SHELLS)
        + " | gain / shape of the chosen map (nats) | passed | CPU (s) |",
        "|---|---|---:|" + "---:|" * len(SHELLS) + "---:|---|---:|",
    ]  # fmt: skip
    for e in sets:
        if "failed" in e:
            lines.append(f"| {e['molecule']} | {e['fault']} | {e['seed']} | {e['failed']} |")
            continue
        nothing = "nothing found"
        cells = [f"{e['fsc'][k]:.2f}" for k in SHELLS] if "fsc" in e else [nothing] * len(SHELLS)
        start = e["starts"][e["chosen"]]
        lines.append(
            f"| {e['molecule']} | {e['fault']} | {e['seed']} | {' | '.join(cells)} "
            f"| {start['gain']:.1f} / {start['shape']:.1f} | {'yes' if passed(e) else 'no'} "
            f"| {e['cpu_s']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Simulate, run, score, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS)[:2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--again", action="store_true", help="measure sets that are there, too")
    parser.add_argument(
        "--shared", type=Path, default=os.environ.get("CRYOSPLAT_SHARED", "../shared")
    )
    data = Path(tempfile.gettempdir()) / "cryosplat-abinit"
    parser.add_argument("--data", type=Path, default=data)
    given = parser.parse_args()
    results: dict[str, Any] = {"sets": {}}
    if RESULT.exists():
        results = json.loads(RESULT.read_text())
    for seed in given.seeds:
        for fault in given.faults:
            for model in given.models:
                name = f"{model} {fault} {seed}"
                if name in results["sets"] and not given.again:
                    continue
                folder = given.data.resolve() / name.replace(" ", "-")
                simulate(model, fault, seed, folder, Path(given.shared).resolve())
                entry = {"molecule": model, "fault": fault, "seed": seed}
                entry |= measure(folder, seed)
                entry["commit"] = describe()["commit"]
                results["sets"][name] = entry
                results["machine"] = describe()
                write_json(RESULT, results)
                print(table({"sets": {name: entry}}).splitlines()[-1], flush=True)
    put_between(HERE / "README.md", START, END, table(results))


if __name__ == "__main__":
    main()

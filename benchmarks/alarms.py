"""Does every fault get its own name? One table of faults and of what a run says of each.

usage: python -m benchmarks.alarms [--work FOLDER] [--only NAME ...]
Runs each fault on two molecules, and honest sets of five, with ``--quick``; about five minutes of one
core. Writes benchmarks/results/alarms.json and the table in benchmarks/README.md; cases that are there
already are replaced.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cryosplat.particles import Particles
from cryosplat.reconstruction import Reconstruction, reconstruct

from .alarm_cases import FAULTS, OTHERS, TRIED, Case, Molecule, honest
from .machine import describe
from .scoring import read_map, shell_correlation, truth_mask
from .table import put_between

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "alarms.json", HERE / "README.md"
BEGIN, END = "<!-- alarms: begin -->", "<!-- alarms: end -->"


def tried(molecule: Molecule, case: Case, work: Path) -> dict[str, Any]:
    """One run: what it says, and what the truth says of its headline."""
    particles = case.make(molecule, work / f"{molecule.name} {case.name}")
    cpu = time.process_time()
    result = reconstruct(particles, case.settings)
    headline = result.comparison.headline
    codes = [[note.severity, note.code] for note in result.notes]
    first = codes[0][1] if codes else ""
    alarmed = any(severity == "alarm" for severity, _ in codes)
    return {
        "particles": len(particles), "box": particles.box_size, "codes": codes,
        "expected": case.code,
        "right": first == case.code if case.code else not alarmed,
        "headline_shell": headline.shell,
        "headline_angstrom": headline.angstrom if headline.resolved else None,
        "truth_above_half_to_shell": _shells_of_truth(particles, result),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }  # fmt: skip


def _shells_of_truth(particles: Particles, result: Reconstruction) -> int:
    """The last shell before the FSC of map and truth, under the truth's mask, falls below 0.5."""
    folder = particles.source.parent
    truth = read_map(folder / "truth.mrc")
    mask = truth_mask(truth)
    curve = shell_correlation(result.maps.full.numpy() * mask, truth * mask)
    below = np.flatnonzero(curve[1:] < 0.5)
    return int(below[0]) if len(below) else len(curve) - 1


def all_cases() -> Iterator[tuple[Molecule, Case]]:
    """Every fault on both molecules, then the honest sets."""
    for case in FAULTS:
        for molecule in TRIED:
            if not case.of or molecule.name in case.of:
                yield molecule, case
    for molecule in TRIED + OTHERS:
        yield from ((molecule, case) for case in honest(molecule))


def table(found: dict[str, Any]) -> str:
    """The confusion matrix in Markdown, and the honest sets below it."""
    names = [m.name for m in TRIED]
    lines = [
        f"| fault | own code | {' | '.join(names)} | headline / truth, shell |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for case in FAULTS:
        runs = [found.get(f"{name}: {case.name}") for name in names]
        told = [_told(run) for run in runs]
        shells = ", ".join(_shells(run) for run in runs if run)
        lines.append(f"| {case.name} | `{case.code}` | {' | '.join(told)} | {shells} |")
    lines += ["", "| honest set | box, px | particles | said | headline / truth, shell |"]
    lines.append("|---|---:|---:|---|---|")
    for molecule in TRIED + OTHERS:
        for case in honest(molecule):
            key = f"{molecule.name}: {case.name}"
            if run := found.get(key):
                lines.append(
                    f"| {key} | {run['box']} | {run['particles']:,} | {_told(run)} | {_shells(run)} |"
                )
    return "\n".join(lines)


def _told(run: dict[str, Any] | None) -> str:
    if run is None:
        return "–"
    codes = [code if severity == "note" else f"**{code}**" for severity, code in run["codes"]]
    return (", ".join(codes) or "nothing") + ("" if run["right"] else " ✗")


def _shells(run: dict[str, Any]) -> str:
    return f"{run['headline_shell']} / {run['truth_above_half_to_shell']}"


def main() -> None:
    """Measure what was asked for, and write the table anew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("alarms-work"))
    parser.add_argument("--only", nargs="*", help="cases whose name holds one of these")
    arguments = parser.parse_args()
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": {}}
    for molecule, case in all_cases():
        key = f"{molecule.name}: {case.name}"
        if arguments.only and not any(part in key for part in arguments.only):
            continue
        run = tried(molecule, case, arguments.work.absolute())
        results["runs"][key] = run
        results["machine"] = describe()
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
        print("ok " if run["right"] else "BAD", key, run, flush=True)
    put_between(PAGE, BEGIN, END, table(results["runs"]))


if __name__ == "__main__":
    main()

"""The tables of ``benchmarks/README.md``, from the JSON results: no number is copied by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .scoring import reported_shells

START, END = "<!-- tables: written by run.py and kernels.py -->", "<!-- end of tables -->"
ORDER = ("spike", "haemoglobin", "groel", "igg", "apoferritin", "hb64", "spike_clean", "large")


def rewrite(readme: Path, results: Path) -> None:
    """Put the tables of ``results`` between the two marks of ``readme``.

    Results kept anywhere but beside ``readme`` get a copy of it of their own.
    """
    sections = [_section(json.loads(path.read_text())) for path in _files(results)]
    kernels = results / "kernels.json"
    if kernels.exists():
        sections.append(_kernels(json.loads(kernels.read_text())))
    body = "\n\n".join(sections)
    own = results.resolve() == (readme.parent / "results").resolve()
    target = readme if own else results / "README.md"
    if not own:
        target.write_text(readme.read_text(encoding="utf-8"), encoding="utf-8")
    put_between(target, START, END, body)


def put_between(page: Path, start: str, end: str, body: str) -> None:
    """Write ``body`` between two marks of a page, in place of what is there."""
    head, rest = page.read_text(encoding="utf-8").split(start, 1)
    tail = rest.split(end, 1)[1]
    page.write_text(f"{head}{start}\n\n{body}\n\n{end}{tail}", encoding="utf-8")


def _files(results: Path) -> list[Path]:
    return [path for name in ORDER if (path := results / f"{name}.json").exists()]


def _machine(m: dict[str, Any]) -> str:
    return (
        f"{m['processor']}, {m['cores']} cores, {m['memory_gb']} GB; Python {m['python']}; "
        f"commit `{m['commit']}`; {m['date'][:10]}"
    )


def _section(result: dict[str, Any]) -> str:
    s, shells = result["set"], reported_shells(result["set"]["box_size"])
    errors = "no pose errors"
    if s["angle_error"] or s["shift_error"]:
        errors = f"pose errors {s['angle_error']:g} degrees and {s['shift_error']:g} Å"
    lines = [
        f"### {s['name']}",
        "",
        (
            f"{s['model']}, {s['n']} particles of {s['box_size']} px at {s['pixel_size']:g} Å, "
            f"SNR {s['snr']:g}, B {s['b_factor']:g} Å², {errors}. "
            f"Simulated by {result['simulator']}. {_machine(result['machine'])}."
        ),
        "",
        "| program | map, mask | wall (s) | CPU (s) | peak (GB) | FSC with truth at shell "
        + " | ".join(str(shell) for shell in shells) + " | worst against RELION, masked |",
        "|---|---|" + "---:|" * (3 + len(shells)) + "---:|",
    ]  # fmt: skip
    reference = result["programs"].get("relion", {}).get("fsc", {}).get("map")
    for name, program in result["programs"].items():
        lines += _rows(name, program, shells, reference)
    return "\n".join([*lines, *_baseline_line(result["programs"].get("cryosplat", {}))])


def _rows(
    name: str, program: dict[str, Any], shells: list[int], reference: dict[str, Any] | None
) -> list[str]:
    empty = " |" * (len(shells) + 1)
    reason = program.get("missing") or program.get("failed")
    if reason:
        return [f"| {name} | {reason} | | | |{empty}"]
    first = program["stages"][0]
    wall = f"{program['wall_s']:.1f}"
    if len(program["stages"]) > 1:
        wall = f"{first['wall_s']:.1f} (with halves {program['wall_s']:.1f})"
    cost = f"{wall} | {program['cpu_s']:.1f} | {program['peak_gb']:.2f}"
    rows = []
    for kind, curves in program["fsc"].items():
        for mask, curve in curves.items():
            values = " | ".join(f"{curve[shell]:.3f}" for shell in shells)
            margin = ""
            if reference is not None and not name.startswith("relion"):
                margin = _margin(curve, reference["truth_masked"])
            rows.append(
                f"| {name} | {kind}, {mask.replace('_', '-')} | {cost} | {values} | {margin} |"
            )
            cost = " | | "
    return rows


def _margin(curve: list[float], reference: list[float]) -> str:
    """The lowest difference over the shells (from 1) where either FSC exceeds 0.2, and its shell."""
    pairs = list(enumerate(zip(curve, reference, strict=True)))[1:]
    differences = [(a - b, shell) for shell, (a, b) in pairs if max(a, b) > 0.2]
    if not differences:
        return "none above 0.2"
    worst, shell = min(differences)
    return f"{worst:+.4f} (shell {shell})"


def _baseline_line(program: dict[str, Any]) -> list[str]:
    """How far the mixture falls below the voxel baseline of its own statistics, at worst."""
    fsc = program.get("fsc", {})
    if "voxel baseline" not in fsc:
        return []
    lines = [""]
    for mask in ("unmasked", "truth_masked"):
        margin = _margin(fsc["map"][mask], fsc["voxel baseline"][mask])
        lines.append(f"cryosplat's map against its voxel baseline, {mask.replace('_', '-')}, at worst: "
                     f"{margin}.  ")  # fmt: skip
    measured, promised = fsc["map"]["unmasked"], program["predicted_from_halves"]
    excess = max(
        (p - m, shell) for shell, (m, p) in enumerate(zip(measured, promised, strict=True))
    )
    lines.append(
        f"Predicted from the half-maps, sqrt(2F/(1+F)), minus measured, at most: "
        f"{excess[0]:+.3f} (shell {excess[1]})."
    )
    if "first_run_wall_s" in program:
        lines.append(f"The first run, which compiles the kernels: {program['first_run_wall_s']} s.")
    return lines


def _kernels(result: dict[str, Any]) -> str:
    lines = [
        "### Kernels",
        "",
        f"{_machine(result['machine'])}. {result['bounds']}",
        "",
        "| kernel | size | time (s) | rate | counted | bound (s) | reached | others (times slower) |",
        "|---|---|---:|---:|---|---:|---:|---|",
    ]
    for row in result["kernels"]:
        taken, bound = row["time_s"], row["bound_s"]
        others = "; ".join(
            f"{p['name']} {p['time_s']:.3g} s ({p['time_s'] / taken:.2f}x)" for p in row["peers"]
        )
        lines.append(
            f"| {row['kernel']} | {row['size']} | {taken:.3g} | {row['rate']} | {row['counted']} "
            f"| {bound:.3g} | {100 * bound / taken:.0f} % | {others} |"
        )
    for array, errors in result["gridding_error"].items():
        told = ", ".join(f"{program} {error:.1e}" for program, error in errors.items())
        lines += ["", f"Relative error of {array} where a fit meets it: {told}."]
    return "\n".join(lines)


STATES_START, STATES_END = "<!-- states: written by states.py -->", "<!-- end of states -->"


def rewrite_states(readme: Path, result: Path) -> None:
    """Put the table of classes and motion between its marks of ``readme``."""
    put_between(readme, STATES_START, STATES_END, _states(json.loads(result.read_text())))


def _states(result: dict[str, Any]) -> str:
    lines = [
        f"{_machine(result['machine'])}. Medians over seeds, in brackets the worst; CPU seconds are "
        "those of the whole command.",
        "",
        "| set | seeds | found | rank correlation or accuracy | area per state | one map "
        "| voxel classes | cryoDRGN | gain (nats an image) | half-sets agree | CPU (s) |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["sets"].items():
        runs = list(row["runs"].values())
        score = "rank_correlation" if row["command"] == "motion" else "accuracy"
        voxels = [run["voxel_classes"] for run in runs if "voxel_classes" in run]
        beside = [_median(voxels, key) for key in ("accuracy", "area")]
        drgn = [run["cryodrgn"] for run in runs if "cryodrgn" in run]
        theirs = [_median(drgn, "rank_correlation"), _median(drgn, "area")]
        if drgn:
            theirs.append(f"{np.median([run['cpu_s'] for run in drgn]):.0f} s")
        gain = np.median([min(mean for mean, _ in run["gains"]) for run in runs])
        cells = (
            name, len(runs), _found(runs), _median(runs, score, worst=True),
            _median(runs, "area", worst=True), _median(runs, "area_one_map"),
            " / ".join(filter(None, beside)), " / ".join(filter(None, theirs)), f"{gain:.2f}",
            _median(runs, "agreement", digits=2), _median(runs, "cpu_s", digits=0),
        )  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _found(runs: list[dict[str, Any]]) -> str:
    """What was found, and how often if not always the same."""
    counts = Counter(
        "nothing"
        if not run["found"]
        else f"{run['classes']} classes"
        if "classes" in run
        else "motion"
        for run in runs
    )
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{what} ({n})" for what, n in counts.most_common())


def _median(runs: list[dict[str, Any]], key: str, worst: bool = False, digits: int = 3) -> str:
    values = [run[key] for run in runs if key in run]
    if not values:
        return ""
    told = f"{np.median(values):.{digits}f}"
    return f"{told} ({min(values):.{digits}f})" if worst and len(values) > 1 else told

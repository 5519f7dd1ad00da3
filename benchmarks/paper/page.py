"""The tables of the studies' page and of ``docs/solvers.md``: no number is copied by hand.

A table stands between ``<!-- NAME: written by run.py -->`` and ``<!-- end of NAME -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .results import PAPER, load, mean_fsc, named, of_set, overtaking, resolution, shells

Row = dict[str, Any]
Study = dict[str, Any]
FITS = ("numbers", "epochs", "shape", "grid", "normalisation", "rates", "noise")
WHOLE = "statistics, the whole program"
WARM_IMAGES = "images, from the statistics' mixture"
WARM_STATISTICS = "statistics, from the paper's mixture"


def rewrite(page: Path, document: Path, results: Path) -> None:
    """Put the tables of ``results`` into both pages; a study not yet run leaves its place as it is."""
    tables: dict[str, Callable[[Study], str]] = dict.fromkeys(FITS, fits)
    tables |= {"solvers": all_solvers, "speed": speeds}
    _fill(page, {n: (n, table) for n, table in tables.items()}, results)
    summary = {
        "summary": ("solvers", summarised), "warm": ("solvers", warm), "batches": ("epochs", fits),
        "speed": ("speed", speeds),
    }  # fmt: skip
    _fill(document, summary, results)


def _fill(page: Path, tables: dict[str, tuple[str, Callable[[Study], str]]], results: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name, (study, table) in tables.items():
        found = load(results, study)
        if found is None:
            continue
        start, end = f"<!-- {name}: written by run.py -->", f"<!-- end of {name} -->"
        place = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        body = f"{start}\n\n{table(found)}\n\n{end}"
        text = place.sub(lambda _, body=body: body, text)
    page.write_text(text, encoding="utf-8")


def machine(study: Study) -> str:
    """What it ran on, and how busy that was."""
    m = study["machine"]
    loads = [row["load"] for row in study["rows"] if "load" in row]
    return (
        f"{m['processor']}, {m['cores']} cores, load {min(loads):.1f} to {max(loads):.1f}; "
        f"commit `{m['commit']}`; {m['date'][:10]}; {study['wall_s'] / 60:.1f} min in all."
    )


def table(header: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """A table whose columns after the first ``texts`` hold numbers."""
    lines = ["| " + " | ".join(header) + " |"]
    lines.append("|" + "---|" * texts + "---:|" * (len(header) - texts))
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def fsc_header(row: Row) -> list[str]:
    """Column heads of an FSC curve."""
    first, *others = shells(row)
    return [f"FSC at shell {first}", *map(str, others)]


def fsc_cells(row: Row) -> list[str]:
    """The FSC at those shells."""
    return [f"{row['fsc'][s]:.3f}" for s in shells(row)]


def fits(study: Study) -> str:
    """One row for every fit of a study."""
    problem, rows = study["problems"][0], study["rows"]
    side = problem["box_size"] * problem["pixel_size"]
    noise = "" if problem.get("snr") is None else f" SNR {problem['snr']:g},"
    told = (
        f"{problem['molecule']}: {problem['n']:,} particles of {problem['box_size']} px at "
        f"{problem['pixel_size']:g} Å,{noise} exact poses. {machine(study)}"
    )
    header = [
        "", "Gaussians", "CPU (s)", "scale (px)", "elongation", *fsc_header(rows[0]),
        "mean", "FSC 0.5 (Å)", "FSC 0.143 (Å)",
    ]  # fmt: skip
    cells = []
    for row in rows:
        widths = row["shapes"]
        ends = [f"{resolution(row['fsc'], side, t):.2f}" for t in (0.5, 0.143)]
        cells.append([
            row["name"], f"{row['gaussians']:,}", f"{row['cpu_s']:.0f}",
            f"{widths['median_scale_px']:.2f}", f"{widths['median_elongation']:.2f}",
            *fsc_cells(row), f"{mean_fsc(row['fsc']):.3f}", *ends,
        ])  # fmt: skip
    return f"{told}\n\n{table(header, cells)}"


def _sets(study: Study) -> list[tuple[Row, list[Row]]]:
    """Each set's description and rows, where all have been measured."""
    found = [(p, of_set(study, p["name"])) for p in study["problems"]]
    return [(p, rows) for p, rows in found if any(row["name"] == WHOLE for row in rows)]


def _described(problem: Row) -> str:
    errors = "exact poses"
    if problem["angle_error"] or problem["shift_error"]:
        errors = f"poses off by {problem['angle_error']:g}° and {problem['shift_error']:g} Å"
    return (
        f"{problem['model']}, {problem['n']:,} particles of {problem['box_size']} px at "
        f"{problem['pixel_size']:g} Å, SNR {problem['snr']:g}, {errors}"
    )


def all_solvers(study: Study) -> str:
    """Every row of every set; preset paper after each epoch."""
    parts = [f"Simulated by {study['problems'][0]['simulator']}. {machine(study)}"]
    for problem, rows in _sets(study):
        cells = []
        for row in rows:
            if row["name"] == PAPER:
                for epoch in row["epochs"][:-1]:
                    cells.append(_solver_cells({**row, **epoch}, f", epoch {epoch['epoch']}"))
                cells.append(_solver_cells(row, f", epoch {len(row['epochs'])}"))
            else:
                cells.append(_solver_cells(row))
        header = ["", "Gaussians", "load", "wall (s)", "CPU (s)", *fsc_header(rows[0]), "mean"]
        parts += [
            f"**{problem['name']}**: {_described(problem)}.", table(header, cells),
            verdict(problem["name"], rows),
        ]  # fmt: skip
    return "\n\n".join(parts)


def _solver_cells(row: Row, more: str = "") -> list[str]:
    return [
        f"{row['name']}{more}", f"{row['gaussians']:,}", f"{row['load']:.0f}",
        f"{row['seconds']:.1f}", _cpu(row), *fsc_cells(row),
        f"{mean_fsc(row['fsc']):.3f}",
    ]  # fmt: skip


def _cpu(row: Row) -> str:
    return f"{row['cpu_s']:.1f}" if "cpu_s" in row else ""


def verdict(name: str, rows: list[Row]) -> str:
    """How much faster the statistics solver is at what preset paper reaches."""
    paper, faster = named(rows, PAPER), overtaking(rows)
    if faster is None:
        return f"On {name} no fit to statistics is above preset `paper` at every shell."
    whole = named(rows, WHOLE)
    return (
        f"On {name}, {faster['steps']} steps on statistics are at or above preset `paper` at every "
        f"shell where either exceeds 0.2, after {faster['seconds']:.1f} s against "
        f"{paper['seconds']:.0f} s: **{paper['seconds'] / faster['seconds']:.1f} times sooner** "
        f"({paper['cpu_s'] / faster['cpu_s']:.1f} times less time of the processor). "
        f"`cryosplat reconstruct --quick`, which also chooses number and width of the Gaussians, makes "
        f"three maps, baseline and report in {whole['program_cpu_s']:.0f} s of the processor; preset "
        f"`paper` takes {paper['cpu_s']:.0f} s for one map."
    )


def summarised(study: Study) -> str:
    """The lines of the solvers that matter for choosing one."""
    cells: list[list[str]] = []
    verdicts = []
    for problem, rows in _sets(study):
        faster = overtaking(rows)
        wanted = [
            (PAPER, "images, preset `paper`"), ("images, default", "images, default"),
            (WHOLE, "statistics, map of all particles"),
        ]  # fmt: skip
        if faster is not None:
            wanted.insert(1, (faster["name"], f"{faster['name']}, same Gaussians"))
        for name, label in wanted:
            row = named(rows, name)
            nyquist = len(row["fsc"]) - 2
            picked = [row["fsc"][round(f * (nyquist + 1))] for f in (0.25, 0.5, 0.75)]
            cells.append([
                problem["name"], label, f"{row['gaussians']:,}", f"{row['seconds']:.1f}", _cpu(row),
                *(f"{v:.3f}" for v in (*picked, row["fsc"][nyquist])),
            ])  # fmt: skip
        verdicts.append(f"- {verdict(problem['name'], rows)}")
    header = ["set", "solver", "Gaussians", "wall (s)", "CPU (s)", "FSC at 1/4 Nyquist",
              "1/2", "3/4", "last shell"]  # fmt: skip
    described = "; ".join(f"*{p['name']}*: {_described(p)}" for p, _ in _sets(study))
    return "\n\n".join([
        f"{described}. {machine(study)}", table(header, cells, 2), "\n".join(verdicts),
    ])  # fmt: skip


def warm(study: Study) -> str:
    """What each solver makes of the other's mixture."""
    cells = []
    for problem, rows in _sets(study):
        longest = [row for row in rows if "steps" in row][-1]
        for name in (longest["name"], WARM_IMAGES, PAPER, WARM_STATISTICS):
            row = named(rows, name)
            cells.append([
                problem["name"], name, f"{row['seconds']:.1f}", _cpu(row), *_quarters(row),
                f"{mean_fsc(row['fsc']):.3f}",
            ])  # fmt: skip
    header = ["set", "", "wall (s)", "CPU (s)", "FSC at 1/4 Nyquist", "1/2", "3/4", "last shell",
              "mean"]  # fmt: skip
    return table(header, cells, 2)


def _quarters(row: Row) -> list[str]:
    last = len(row["fsc"]) - 2
    at = [round(f * (last + 1)) for f in (0.25, 0.5, 0.75)]
    return [f"{row['fsc'][s]:.3f}" for s in (*at, last)]


def speeds(study: Study) -> str:
    """Images a second and memory."""
    cores = study["machine"]["cores"]
    header = [
        "box (px)", "Gaussians", "mixtures", "images a step", "processor time (ms an image)",
        f"images/s, {cores} free cores, at most", "images/s measured", "memory of the fit (MiB)",
    ]  # fmt: skip
    cells = []
    for row in study["rows"]:
        milliseconds = row["core_ms_per_image"]
        cells.append([
            str(row["box"]), f"{row['gaussians']:,}", str(row["mixtures"]), str(row["batch"]),
            f"{milliseconds:.2f}", f"{1e3 * cores / milliseconds:.0f}",
            f"{row['images_per_s']:.0f}", _added(row),
        ])  # fmt: skip
    program = study["rows"][0]["program_mib"] or 0.0
    told = (
        f"{study['problems'][0]['n']:,} images, the second of two passes. The program itself takes "
        f"{program:.0f} MiB, with all libraries. {machine(study)}"
    )
    return f"{told}\n\n{table(header, cells, 0)}"


def _added(row: Row) -> str:
    if row["peak_mib"] is None or row["program_mib"] is None:
        return "not known"
    return f"{row['peak_mib'] - row['program_mib']:.0f}"

"""A run in words: findings, facts, tables."""

from __future__ import annotations

import math
from typing import Any

from ..notes import Note, by_severity
from ._poses import optics_rows, pose_fact
from .evidence import Evidence

ROWS = (
    ("corrected", "auto, corrected", "half-maps, corrected", "voxels, corrected"),
    ("auto mask", "auto", "half-maps, masked", "voxels, masked"),
    ("loose mask", "loose", "half-maps, loose mask", ""),
    ("tight mask", "tight", "half-maps, tight mask", ""),
    ("your mask", "user", "half-maps, user mask", ""),
    ("unmasked", "unmasked", "half-maps, unmasked", "voxels, unmasked"),
    ("noise substitution", "", "half-maps, corrected for invented", ""),
    ("cross-FSC", "", "cross, masked", ""),
    ("with truth, predicted", "", "half-map with truth, from cross", ""),
)
"""Title of the table's row, mask, curve of the Gaussians, curve of the voxel baseline."""


def findings(run: Evidence) -> list[Note]:
    """What the controls found and what was warned of during the run, alarms first."""
    return by_severity(Note.from_dict(plain) for plain in run.summary.get("notes", []))


def verdict(run: Evidence, found: list[Note]) -> str:
    """One line above the findings."""
    alarms, warnings = (sum(f.severity == s for f in found) for s in ("alarm", "warning"))
    if alarms:
        return f"{_times(alarms, 'alarm')}: do not trust this map before you have looked into it."
    if warnings:
        return f"No alarm, but {_times(warnings, 'warning').lower()}."
    return "No control raised an alarm." if "notes" in run.summary else ""


def _times(number: int, what: str) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six")
    amount = words[number] if number < len(words) else str(number)
    return f"{amount} {what}{'' if number == 1 else 's'}"


def resolutions(run: Evidence) -> list[tuple[str, list[str]]]:
    """Rows of title and Gaussians at 0.143 and 0.5, voxels at 0.143 and 0.5; those that exist."""
    found, masks = run.section("resolutions"), run.section("masks")
    rows = []
    for title, mask, ours, base in ROWS:
        first = found.get(ours) or masks.get(mask)
        if first:
            cells = [first, found.get(base) or {}]
            rows.append((title, [_angstrom(c.get(t)) for c in cells for t in ("0.143", "0.5")]))
    return rows


def _angstrom(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def facts(run: Evidence) -> list[tuple[str, str]]:
    """The few numbers of the first screen."""
    summary, rows = run.summary, []
    if "n_particles" in summary:
        rows.append(("particles", f"{summary['n_particles']:,}"))
    if summary.get("gaussians"):
        rows.append(("Gaussians", f"{summary['gaussians'][0]:,}"))
    if summary.get("symmetry", "C1") != "C1":
        rows.append(("symmetry", str(summary["symmetry"])))
    rows.append(("box", f"{run.box_size} px × {run.pixel_size:.4g} Å"))
    if poses := pose_fact(run):
        rows.append(("poses", poses))
    if run.headline.method:
        rows.append(("EMDB form", f"{run.headline.angstrom}, method {run.headline.method}"))
    if "total" in run.section("timings"):
        rows.append(("time", seconds(summary["timings"]["total"])))
    return rows


def data_table(run: Evidence) -> list[tuple[str, str]]:
    """The data set as it was used."""
    summary = run.summary
    rows = [("particles", f"{summary['n_particles']:,}")] if "n_particles" in summary else []
    if summary.get("n_half"):
        rows.append(("half-sets", " + ".join(f"{n:,}" for n in summary["n_half"])))
    rows.append(("box", f"{run.box_size} px of {run.pixel_size:.4g} Å"))
    rows.append(("Nyquist", f"{2 * run.pixel_size:.2f} Å"))
    if "fitted_side" in summary:
        rows.append(("fitted region", f"cube of {summary['fitted_side']} px"))
    contrast = run.section("contrast")
    if contrast:
        doubt = run.number("contrast", "standard_deviations")
        told = f" ({abs(doubt):.0f} σ)" if math.isfinite(doubt) else ""
        rows.append(("contrast", f"{contrast['used']} protein{told}"))
    if "normalised" in summary:
        by = "each image by its background" if summary["normalised"] else "as given"
        rows.append(("normalisation", by))
    if summary.get("gaussians"):
        rows.append(
            ("Gaussians: map, half-maps", ", ".join(f"{n:,}" for n in summary["gaussians"]))
        )
    carried = run.number("residual", "carried")
    if math.isfinite(carried):
        most, where = (run.number("residual", name) for name in ("most", "most_angstrom"))
        told = f"{100 * carried:.1f} % of the power; at most {100 * most:.0f} %, at {where:.1f} Å"
        rows.append(("added from voxels", told))
    if summary.get("symmetry", "C1") != "C1":
        first = summary["gaussians_stored"][0]
        rows.append(("symmetry", f"{summary['symmetry']}; {first:,} of the Gaussians are stored"))
    return rows + optics_rows(run)


def settings_table(run: Evidence) -> list[tuple[str, str]]:
    """All settings of the run; the image solver's, a table of their own, where it was used.

    Of a setting that was not given: what was chosen instead.
    """
    settings = dict(run.section("settings"))
    schedule = settings.pop("images", {})
    if settings.get("solver") == "images":
        settings |= schedule
    chosen = _chosen(run)
    return [
        (
            key.replace("_", " "),
            chosen.get(key, "default") if value in (None, [], "auto") else _plain(value),
        )
        for key, value in settings.items()
    ]


def _chosen(run: Evidence) -> dict[str, str]:
    """What stands for settings that were left to the program."""
    summary, contrast, water = run.summary, run.section("contrast"), run.section("solvent")
    chosen = {
        "mask": "generated",
        "model": "not given",
        "particle_diameter": "from the data",
        "split_after": "never",
    }
    if summary.get("gaussians"):
        chosen["gaussians"] = f"chosen from the data: {summary['gaussians'][0]:,}"
    if steps := [trial[-1][0] for trial in summary.get("trials") or [] if trial]:
        chosen["steps"] = f"default: {max(steps):.0f}"
    if contrast:
        chosen["contrast"] = f"detected: {contrast['used']}"
    if water:
        chosen["solvent"] = "found in the images" if water.get("contrast") else "none found"
    if "worth" in summary:
        used = "improve the half-maps: used" if summary["worth"]["used"] else "no gain: all alike"
        chosen["particle_weights"] = used
    if "device" in summary:
        chosen["device"] = str(summary["device"])
    return chosen


def timings_table(run: Evidence) -> list[tuple[str, str, float]]:
    """Stage, time, and share of the total from 0 to 1."""
    timings = run.section("timings")
    total = max(float(timings.get("total", 0.0)), 1e-9)
    rows = [
        (name, seconds(value), value / total) for name, value in timings.items() if name != "total"
    ]
    rows += [("total", seconds(timings["total"]), 0.0)] if "total" in timings else []
    memory = run.number("peak_memory_bytes")
    if math.isfinite(memory):
        rows.append(("peak memory", f"{memory / 1e9:.1f} GB", 0.0))
    return rows


def origin_table(run: Evidence) -> list[tuple[str, str]]:
    """Particles, date, versions, machine, checksums: what else someone needs to repeat the run."""
    origin = dict(run.section("provenance"))
    rows = [("particles", str(run.summary.get("particles", "")))]
    rows += [("date", str(origin["date"]).replace("T", " "))] if "date" in origin else []
    for name in ("command", "working_directory", "date"):
        origin.pop(name, None)
    rows += [(key.replace("_", " "), _plain(value)) for key, value in origin.items()]
    return [(key, value) for key, value in rows if value]


def _plain(value: Any) -> str:
    """A value of run.json in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def seconds(value: float) -> str:
    """Tenths of a second, or minutes."""
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def reached_by(resolution: float | None, pixel_size: float) -> str:
    """A resolution in Angstrom; where it is that of the pixels, that is said."""
    if resolution is None:
        return "no resolution"
    return f"{resolution:.1f} Å" + (" (Nyquist)" if resolution < 2.001 * pixel_size else "")

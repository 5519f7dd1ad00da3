"""What refining poses and optics changed: how far they moved, and the FSC before and after."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..appearance import BLUE, VERMILION
from ..errors import InputError
from ._curves import fsc_panel
from ._drawing import COLUMN, sheet
from .evidence import Evidence, Floats, Panel

CURVES = "cross, given poses", "cross, refined poses"
BARS = 40
HEIGHT = 1.9  # inches
FEWEST_MICROGRAPHS = 3
MOST_NAMED = 6  # optics groups in a caption


def pose_panels(run: Evidence) -> list[Panel]:
    """Histograms of what moved, and FSC curves, where poses were refined."""
    found = run.section("refinement")
    if not found:
        return []
    curves = fsc_panel(
        run, "poses_fsc", CURVES, CURVES, "FSC before and after",
        "Gaussians of one half-set against voxels of the other, with the poses as given and as "
        "refined. Both are quick fits, made during refinement.",
    )  # fmt: skip
    return [*(_changes_of(run) if run.folder.poses.exists() else ()), *([curves] if curves else ())]


def pose_fact(run: Evidence) -> str:
    """What became of the poses, for the first screen; empty where they were used as given."""
    found = run.section("refinement")
    if not found:
        return ""
    if found.get("verdict") != "refined":
        return "as given; refinement gained nothing"
    best = found["rounds"][found["best"]]
    moved = f"{found['median_degrees']:.2f}° and {found['median_angstrom']:.2f} Å"
    optics = found.get("optics") or {}
    if optics.get("median_defocus"):
        moved += f", defocus by {optics['median_defocus']:.0f} Å"
    before, after = (_mean_fsc(run, found["rounds"][i]) for i in (0, found["best"]))
    return (
        f"refined by {moved} (medians); unseen images {best['gain']:.2f} ± "
        f"{best['gain_deviation']:.2f} nats likelier, FSC with the other half's voxels {before:.3f} → "
        f"{after:.3f}"
    )


def _mean_fsc(run: Evidence, of: dict[str, Any]) -> float:
    """Of the shells that the given poses resolved."""
    side = run.box_size * run.pixel_size
    last = max(1, round(side / run.section("refinement")["rounds"][0]["limit"]))
    return float(np.mean(of["cross_fsc"][1 : last + 1]))


def _changes_of(run: Evidence) -> Iterator[Panel]:
    table = _table(run)
    degrees = table["degrees"]
    angstrom = np.hypot(table["shift_x_angstrom"], table["shift_y_angstrom"])
    defocus, micrograph = table["defocus_angstrom"], table["micrograph"]
    if max(degrees.max(initial=0.0), angstrom.max(initial=0.0)) > 0.0:
        yield _moved_panel(run, degrees, angstrom)
        yield _sure_panel(run, table["max_probability"], table["significant_samples"])
        if len(np.unique(micrograph[np.isfinite(micrograph)])) >= FEWEST_MICROGRAPHS:
            yield _micrograph_panel(run, degrees, micrograph)
    optics = run.section("refinement").get("optics") or {}
    if np.abs(defocus).max(initial=0.0) > 0.0:
        yield _defocus_panel(run, defocus, optics)


def _table(run: Evidence) -> dict[str, Floats]:
    """The columns of ``poses.csv`` as numbers, NaN where empty; older ones lack the last columns."""
    names = (
        "degrees", "shift_x_angstrom", "shift_y_angstrom", "max_probability", "significant_samples",
    )  # fmt: skip
    later = {"defocus_angstrom": "0", "micrograph": ""}
    try:
        with run.folder.poses.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        texts = {name: [row[name] for row in rows] for name in names}
        texts |= {name: [row.get(name) or none for row in rows] for name, none in later.items()}
        return {
            name: np.array([float(value) if value else math.nan for value in column])
            for name, column in texts.items()
        }
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{run.folder.poses}: not the table of a refinement ({error}).") from error


def _moved_panel(run: Evidence, degrees: Floats, angstrom: Floats) -> Panel:
    last = run.section("refinement")["rounds"][-1]
    errors = ""
    if all(isinstance(last.get(k), float) and math.isfinite(last[k]) for k in ("angle", "shift")):
        errors = (
            f" Estimated error of the given poses: {last['angle']:.2f}° about each axis and "
            f"{last['shift']:.2f} Å along each."
        )
    path = _drawn(run, "poses_moved", {"change of orientation (°)": degrees, "shift (Å)": angstrom})
    return Panel(
        path, "How far poses moved",
        f"Median change {np.median(degrees):.2f}° and {np.median(angstrom):.2f} Å.{errors} Each "
        f"half-set was refined against its own maps.",
    )  # fmt: skip


def _sure_panel(run: Evidence, peak: Floats, samples: Floats) -> Panel:
    path = _drawn(
        run, "poses_sure",
        {"probability of the best": peak, "significant poses, log₁₀": np.log10(samples)},
    )  # fmt: skip
    return Panel(
        path, "How sure the poses are",
        f"Posterior on a grid as fine as the images resolve: the share of the most probable pose, and "
        f"how many hold 99.9 % (median {np.nanmedian(samples):,.0f}).",
    )  # fmt: skip


def _micrograph_panel(run: Evidence, degrees: Floats, micrograph: Floats) -> Panel:
    numbers = np.unique(micrograph[np.isfinite(micrograph)])
    parts = [np.quantile(degrees[micrograph == i], (0.25, 0.5, 0.75)) for i in numbers]
    low, middle, high = np.array(parts).T
    path = run.figure("poses_by_micrograph")
    with sheet(path, COLUMN, HEIGHT, layout="constrained") as drawing:
        axes = drawing.subplots()
        axes.fill_between(numbers, low, high, color=BLUE, alpha=0.25, linewidth=0.0)
        axes.plot(numbers, middle, ".", color=BLUE, markersize=3.0)
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("micrograph")
        axes.set_ylabel("change of orientation (°)")
        axes.spines[["top", "right"]].set_visible(False)
    worst = int(middle.argmax())
    return Panel(
        path, "Orientations by micrograph",
        f"Median and quartiles of each of {len(numbers):,} micrographs, in the order of the table; the "
        f"largest median is {middle[worst]:.2f}°, of micrograph {int(numbers[worst]):,}.",
    )  # fmt: skip


def _defocus_panel(run: Evidence, defocus: Floats, optics: dict[str, Any]) -> Panel:
    path = _drawn(run, "defocus_moved", {"change of defocus (Å)": defocus}, symmetric=True)
    caption = f"Median change {np.median(np.abs(defocus)):.0f} Å."
    if optics.get("defocus_error"):
        caption += f" Estimated error of the given values: {optics['defocus_error']:.0f} Å."
    gain = (optics.get("gains") or {}).get("defocus")
    if gain:
        told = f"{gain['gain']:.2f} ± {gain['gain_deviation']:.2f}"
        caption += f" Unseen images became {told} nats likelier."
    return Panel(path, "How far the defocus moved", caption)


def optics_rows(run: Evidence) -> list[tuple[str, str]]:
    """Refined numbers of the optics groups, name and value with its error."""
    found = run.section("refinement").get("optics") or {}
    rows = []
    for group in (found.get("groups") or [])[:MOST_NAMED]:
        parts = [
            f"{title} {number['change']:{form}} ± {number['error']:{form[-3:]}}{unit}"
            for key, title, form, unit in (
                ("beam_tilt_x", "beam tilt x", "+.2f", " mrad"),
                ("beam_tilt_y", "y", "+.2f", " mrad"),
                ("magnification", "magnification", ".4f", ""),
            )
            if (number := group.get(key) or {}).get("error") is not None
        ]
        if parts:
            rows.append((f"optics group {group['name']}", ", ".join(parts)))
    return rows


def _drawn(run: Evidence, name: str, columns: dict[str, Floats], symmetric: bool = False) -> Path:
    """Histograms side by side, of 99.5 % of the values."""
    path = run.figure(name)
    with sheet(path, COLUMN, HEIGHT, layout="constrained") as drawing:
        panes = np.atleast_1d(np.array(drawing.subplots(1, len(columns))))
        for axes, (label, values) in zip(panes, columns.items(), strict=True):
            _histogram(axes, values[np.isfinite(values)], label, symmetric)
    return path


def _histogram(axes: Axes, values: Floats, label: str, symmetric: bool) -> None:
    last = max(float(np.quantile(np.abs(values), 0.995)), 1e-6) if len(values) else 1.0
    first = -last if symmetric else 0.0
    axes.hist(values.clip(first, last), BARS, range=(first, last), color=BLUE)
    if symmetric:
        axes.axvline(0.0, color=VERMILION, linewidth=0.8)
    axes.set_xlabel(label)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)

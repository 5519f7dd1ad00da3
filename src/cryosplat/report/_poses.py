"""What refining the poses changed: how far they moved, and the FSC before and after."""

from __future__ import annotations

import csv
import math

import numpy as np
from matplotlib.figure import Figure

from ..appearance import BLUE
from ..errors import InputError
from ._curves import fsc_panel
from ._drawing import COLUMN, SMALL, save, style
from .evidence import Evidence, Floats, Panel

CURVES = "cross, given poses", "cross, refined poses"
BARS = 40
HEIGHT = 1.9  # inches


def pose_panels(run: Evidence) -> list[Panel]:
    """Histograms of what moved, and FSC curves, where poses were refined."""
    found = run.section("refinement")
    panels = []
    if found and run.folder.poses.exists():
        degrees, angstrom = _changes(run)
        if max(degrees.max(initial=0.0), angstrom.max(initial=0.0)) > 0.0:
            panels.append(_moved_panel(run, degrees, angstrom))
    if found and all(name in run.curves for name in CURVES):
        panels.append(
            fsc_panel(
                run, "poses_fsc", CURVES, "FSC before and after",
                "Gaussians of one half-set against voxels of the other, with the poses as given and as "
                "refined. Both are quick fits, made during refinement.",
            )
        )  # fmt: skip
    return panels


def pose_fact(run: Evidence) -> str:
    """What became of the poses, for the first screen; empty where they were used as given."""
    found = run.section("refinement")
    if not found:
        return ""
    if found.get("verdict") != "refined":
        return "as given; refinement gained nothing"
    best = found["rounds"][found["best"]]
    return (
        f"refined by {found['median_degrees']:.2f}° and {found['median_angstrom']:.2f} Å (medians); "
        f"unseen images {best['gain']:.2f} ± {best['gain_deviation']:.2f} nats likelier"
    )


def _changes(run: Evidence) -> tuple[Floats, Floats]:
    """Degrees and Angstrom that every particle was moved by, from ``poses.csv``."""
    try:
        with run.folder.poses.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [
            np.array([float(row[name]) for row in rows])
            for name in ("degrees", "shift_x_angstrom", "shift_y_angstrom")
        ]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{run.folder.poses}: not the table of a refinement ({error}).") from error
    return columns[0], np.hypot(columns[1], columns[2])


def _moved_panel(run: Evidence, degrees: Floats, angstrom: Floats) -> Panel:
    path = run.figure("poses_moved")
    with style(SMALL):
        drawing = Figure(figsize=(COLUMN, HEIGHT), layout="constrained", facecolor="none")
        for axes, values, label in zip(
            drawing.subplots(1, 2), (degrees, angstrom), ("change of orientation (°)", "shift (Å)"),
            strict=True,
        ):  # fmt: skip
            last = max(float(np.quantile(values, 0.995)), 1e-6)
            axes.hist(values.clip(max=last), BARS, range=(0.0, last), color=BLUE)
            axes.set_xlabel(label)
            axes.set_yticks([])
            axes.spines[["top", "right", "left"]].set_visible(False)
        for suffix in (".svg", ".png"):
            save(drawing, path.with_name(path.name + suffix))
    last = run.section("refinement")["rounds"][-1]
    errors = ""
    if all(isinstance(last.get(k), float) and math.isfinite(last[k]) for k in ("angle", "shift")):
        errors = (
            f" Estimated error of the given poses: {last['angle']:.2f}° about each axis and "
            f"{last['shift']:.2f} Å along each."
        )
    return Panel(
        path, "How far poses moved",
        f"Median change {np.median(degrees):.2f}° and {np.median(angstrom):.2f} Å.{errors} Each "
        f"half-set was refined against its own maps.",
    )  # fmt: skip

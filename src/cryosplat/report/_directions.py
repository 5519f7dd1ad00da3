"""Directions on the sphere: where particles were seen from, and how resolution depends on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from ..appearance import BLUE
from ._curves import frame
from ._drawing import COLUMN, QUIET, sheet
from .evidence import Evidence, Panel

COUNTS = LinearSegmentedColormap.from_list("counts", ("#eef3f6", "#7fb2d6", "#0d4f8b", "#08263f"))
SPHERE = 2.02
"""Height of a sphere with its colour bar, in inches."""
CELLS = 181, 91
"""Columns and rows in which the sphere is painted; each shows its nearest axis."""


def views_panel(run: Evidence) -> Panel | None:
    """How many particles were seen from where."""
    views = run.section("views")
    if not views:
        return None
    counts = np.asarray(views["counts"], float)
    mean = counts.mean()
    path = run.figure("viewing_directions")
    with sheet(path, COLUMN, SPHERE) as drawing:
        label = "particles per cell ÷ mean"
        _sphere(drawing, views["axes"], counts / max(mean, 1e-9), COUNTS, (0.0, None), label)
    empty = float((counts == 0).mean())
    seen = (
        "Every direction was seen" if empty == 0 else f"{100 * empty:.0f} % of the sphere is unseen"
    )
    return Panel(
        path, "Viewing directions",
        f"{seen}. The most frequent of {len(counts):,} equal-area directions holds "
        f"{counts.max() / max(mean, 1e-9):.1f} times the mean of {mean:.1f} particles.",
    )  # fmt: skip


def directional_panel(run: Evidence) -> Panel | None:
    """The area below the FSC along each direction, and the band of the FSC curves of all cones."""
    found = run.section("directional")
    areas = np.array(found.get("areas") or [], float)
    if not np.isfinite(areas).any() or not np.nanmax(areas) > 0.0:
        return None
    axes, shares = np.asarray(found["axes"], float), areas / np.nanmax(areas)
    path = run.figure("directions")
    both = np.concatenate([axes, -axes]), np.concatenate([shares, shares])
    below = 1.75 if found.get("cone_fsc_mean") else 0.0
    with sheet(path, COLUMN, SPHERE + below) as drawing:
        low = min(0.9, np.floor(20 * np.nanmin(shares)) / 20)
        _sphere(drawing, *both, COUNTS, (low, 1.0), "area below the FSC ÷ largest")
        if found.get("cone_fsc_mean"):
            _cones(drawing, run)
    cfar, scf = run.number("directional", "cfar"), run.number("directional", "scf")
    scores = [f"cFAR {cfar:.2f} (anisotropic below 0.5)"] * bool(np.isfinite(cfar))
    scores += [f"SCF {scf:.2f} (views missing below 0.81)"] * bool(np.isfinite(scf))
    return Panel(
        path, "Resolution by direction",
        f"{'; '.join(scores)}. {_range(found)}Above: the FSC along each direction, relative to the "
        "best. Below: the half-map FSC in all cones of 20°, and its mean.",
    )  # fmt: skip


def _range(found: dict[str, Any]) -> str:
    """Best and worst resolution of any cone; empty where none is known."""
    values = np.array(found.get("resolutions") or [], float)
    known = values[np.isfinite(values)]
    if not len(known):
        return ""
    low, high = f"{known.min():.2f}", f"{known.max():.2f}"
    if low == high:
        return f"All directions reach {low} Å. "
    return f"From {low} to {high} Å. "


def _cones(drawing: Figure, run: Evidence) -> None:
    found = run.section("directional")
    height = drawing.get_figheight()
    rectangle = (0.47 / COLUMN, 0.42 / height, 1 - 0.60 / COLUMN, 1.15 / height)
    axes = drawing.add_axes(rectangle)
    axes.spines[["top", "right"]].set_visible(False)
    frame(axes, run)
    axes.set_ylim(-0.05, 1.03)
    x, low, mean, high = (
        np.array(found[key], float)
        for key in ("frequencies", "cone_fsc_min", "cone_fsc_mean", "cone_fsc_max")
    )
    axes.fill_between(x, low, high, color=BLUE, alpha=0.2, lw=0)
    axes.plot(x, mean, color=BLUE, lw=1.8)


def _sphere(
    drawing: Figure,
    axes_of_cells: ArrayLike,
    values: NDArray[np.float64],
    colours: LinearSegmentedColormap,
    limits: tuple[float | None, float | None],
    label: str,
) -> None:
    """The sphere in Mollweide's equal-area projection at the top, z up, x in the middle."""
    longitude = np.linspace(-np.pi, np.pi, CELLS[0])
    latitude = np.linspace(-np.pi / 2, np.pi / 2, CELLS[1])
    across, upwards = np.meshgrid(
        0.5 * (longitude[1:] + longitude[:-1]), 0.5 * (latitude[1:] + latitude[:-1])
    )
    directions = np.stack(
        [np.cos(upwards) * np.cos(across), np.cos(upwards) * np.sin(across), np.sin(upwards)], -1
    )
    nearest = cKDTree(np.asarray(axes_of_cells, float)).query(directions)[1]
    height = drawing.get_figheight()
    rectangle = (0.02, 1 - 1.50 / height, 0.96, 1.47 / height)
    axes = drawing.add_axes(rectangle, projection="mollweide")
    mesh = axes.pcolormesh(
        longitude, latitude, values[nearest], cmap=colours, vmin=limits[0], vmax=limits[1],
        rasterized=True, shading="flat",
    )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["geo"].set_linewidth(0.5)
    for text, where in (("x", (0, 0)), ("y", (np.pi / 2, 0)), ("−y", (-np.pi / 2, 0))):
        axes.annotate(
            text, where, ha="center", va="center", fontsize=6.5,
            bbox={"boxstyle": "circle,pad=0.22", "fc": "white", "ec": QUIET, "lw": 0.4},
        )  # fmt: skip
    bar = drawing.add_axes((0.22, 1 - 1.65 / height, 0.56, 0.07 / height))
    drawing.colorbar(mesh, cax=bar, orientation="horizontal")
    bar.tick_params(length=2.0, pad=1.0, labelsize=7.5)
    bar.set_xlabel(label, fontsize=8, labelpad=1.0)
    for spine in bar.spines.values():
        spine.set_visible(False)

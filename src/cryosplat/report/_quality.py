"""Panels about what the map can be used for: Guinier, local resolution, agreement with a model."""

from __future__ import annotations

import csv
import math

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..appearance import BLUE, SKY, VERMILION, on_scale, painted_range
from ._curves import fsc_panel
from ._drawing import legend, panel
from .evidence import Evidence, Panel
from .surface import Painted


def guinier_panel(run: Evidence) -> Panel | None:
    """Logarithm of the mean amplitude against squared frequency, and the fitted line."""
    found = run.section("guinier")
    if not found.get("frequencies_squared"):
        return None
    x, plain, weighted = (
        np.array(found.get(key) or [], float)
        for key in ("frequencies_squared", "log_amplitude", "log_amplitude_weighted")
    )
    path = run.figure("guinier")
    with panel(path, rows=3) as (drawing, axes):
        if len(plain):
            axes.plot(x, plain, color=SKY, lw=1.4, label="ln of the mean amplitude")
        if len(weighted):
            axes.plot(x, weighted, color=BLUE, lw=1.8, label="weighted by the FSC")
        limits = found.get("fit_range_angstrom")
        if found.get("line") and limits:
            slope, intercept = found["line"]
            ends = np.sort([1.0 / limit**2 for limit in limits])
            axes.plot(
                ends, slope * ends + intercept, color=VERMILION, lw=1.4, ls=(0, (4, 2)),
                label=f"fit from {max(limits):.1f} to {min(limits):.1f} Å",
            )  # fmt: skip
        axes.set_xlim(0.0, float(x[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("1/d² (1/Å²)")
        axes.set_ylabel("ln amplitude")
        legend(drawing, axes)
    b_factor = run.number("guinier", "b_factor")
    return Panel(
        path, "Guinier plot",
        f"The slope gives a B-factor of {b_factor:.0f} Å², which map_sharpened.mrc compensates."
        if math.isfinite(b_factor)
        else "No B-factor could be fitted.",
    )  # fmt: skip


def local_resolution(run: Evidence) -> Painted | None:
    """Local resolution of the voxels as a quantity to paint: 5th to 95th percentile of the molecule."""
    volume = run.map(run.folder.painted_resolution)
    if volume is None:
        return None
    values, low, high = painted_range(volume, run.map(run.folder.map), run.map(run.folder.mask))
    return Painted(volume, low, high) if len(values) else None


def _inside(run: Evidence, volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Known values in the molecule."""
    return painted_range(volume, run.map(run.folder.map), run.map(run.folder.mask))[0]


def local_panel(run: Evidence) -> Panel | None:
    """Histogram of the local resolution in the molecule, in the colours of the surface."""
    painted = local_resolution(run)
    if painted is None:
        return None
    values = _inside(run, painted.volume)
    path = run.figure("local_resolution")
    with panel(path) as (_, axes):
        low, high = np.percentile(values, (0.5, 99.0))
        edges = np.linspace(low, max(high, low + 0.1), 40)
        middles = 0.5 * (edges[1:] + edges[:-1])
        counts = np.histogram(values.clip(edges[0], edges[-1]), edges)[0]
        colours = on_scale(middles, painted.low, painted.high)
        axes.bar(middles, 100 * counts / len(values), np.diff(edges), color=colours)
        axes.set_xlabel("local resolution (Å)")
        axes.set_ylabel("% of the molecule")
        axes.set_xlim(edges[0], edges[-1])
    window = run.number("local_resolution", "window_angstrom")
    told = f" in windows of {window:.0f} Å" if math.isfinite(window) else ""
    ours = run.map(run.folder.local_resolution)
    beside = (
        f" The half-maps of Gaussians give {np.median(_inside(run, ours)):.2f} Å: too optimistic, as "
        "they share a prior."
        if ours is not None and ours is not painted.volume and len(_inside(run, ours))
        else ""
    )
    return Panel(
        path, "Local resolution",
        f"Voxel half-maps, FSC 0.5{told}: median {np.median(values):.2f} Å, 90 % between "
        f"{painted.low:.2f} and {painted.high:.2f} Å.{beside}",
    )  # fmt: skip


def model_panel(run: Evidence) -> Panel | None:
    """FSC of map and model."""
    half = run.number("model", "resolution_0.5")
    told = f"0.5 is crossed at {half:.2f} Å. " if math.isfinite(half) else ""
    return fsc_panel(
        run, "model_fsc", ("map with model", "map with truth, from half-maps"), ("map with model",),
        "Map with model",
        f"{told}A correct model agrees with the map as far as the half-maps predict.",
    )  # fmt: skip


def residues_panel(run: Evidence) -> Panel | None:
    """Real-space correlation of each residue with the map, chain after chain."""
    residues = run.section("model").get("residues") or _residue_rows(run)
    values = np.array([np.nan if r[3] in (None, "") else float(r[3]) for r in residues], float)
    if not np.isfinite(values).any():
        return None
    chains = [str(r[0]) for r in residues]
    path = run.figure("residues")
    with panel(path) as (_, axes):
        starts = [i for i in range(len(chains)) if i == 0 or chains[i] != chains[i - 1]]
        for n, (begin, end) in enumerate(zip(starts, [*starts[1:], len(chains)], strict=True)):
            axes.plot(
                range(begin, end), values[begin:end], lw=0.8, color=BLUE if n % 2 == 0 else SKY
            )
        shown = [s for i, s in enumerate(starts) if i == 0 or s - starts[i - 1] > len(chains) / 14]
        axes.set_xticks(shown, [chains[s] for s in shown])
        axes.set_xlim(0, max(1, len(chains) - 1))
        axes.set_ylim(min(0.0, float(np.nanmin(values))), 1.0)
        axes.set_xlabel("residues, by chain")
        axes.set_ylabel("real-space correlation")
    worst = int(np.nanargmin(values))
    return Panel(
        path, "Residues in the map",
        f"Median {np.nanmedian(values):.2f} over {len(values):,} residues; lowest "
        f"{values[worst]:.2f} at {residues[worst][2]} {chains[worst]}{residues[worst][1]}. "
        "All are in residues.csv.",
    )  # fmt: skip


def _residue_rows(run: Evidence) -> list[list[str]]:
    path = run.folder.residues
    if not path.exists():
        return []
    return [row[:4] for row in list(csv.reader(path.read_text("utf-8").splitlines()))[1:]]

"""FSC panels: one colour for each kind of evidence, on every figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..appearance import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from ._drawing import DASHES, QUIET, legend, panel
from .evidence import Evidence, Panel

SOLID, DASHED, DOTTED, MIXED = DASHES
PALE = "#8DBBD8"


@dataclass(frozen=True, slots=True)
class Line:
    """How a curve of fsc.csv is called and drawn."""

    label: str
    colour: str
    dash: object = SOLID
    width: float = 1.3


LINES = {
    "half-maps, corrected": Line("half-maps, corrected for the mask", BLUE, SOLID, 2.0),
    "half-maps, masked": Line("half-maps, auto mask", PALE, SOLID),
    "half-maps, unmasked": Line("half-maps, unmasked", PALE, DOTTED),
    "half-maps, loose mask": Line("half-maps, loose mask", PALE, MIXED),
    "half-maps, tight mask": Line("half-maps, tight mask", PALE, DASHED),
    "half-maps, user mask": Line("half-maps, user mask", SKY, DASHED),
    "voxels, corrected": Line("voxel baseline: half-maps", BLACK, DASHED),
    "cross, masked": Line("Gaussians with other half’s voxels", VERMILION, DASHED),
    "half-map with truth, from cross": Line(
        "half-map with truth, predicted", VERMILION, SOLID, 2.0
    ),
    "map with truth, from half-maps": Line("map with truth, predicted", GREEN, DASHED),
    "map with truth, measured": Line("map with truth, measured", GREEN, SOLID, 1.8),
    "noise substitution, half-maps": Line("half-maps of substituted images", PURPLE, SOLID, 1.8),
    "half-maps, corrected for invented": Line(
        "half-maps, corrected by noise substitution", ORANGE, DASHED
    ),
    "cross, given poses": Line("as given", BLACK, DASHED),
    "cross, refined poses": Line("refined", BLUE, SOLID, 2.0),
    "map with model": Line("map with model", GREEN, SOLID, 2.0),
}
RESOLUTION = (
    "half-maps, corrected", "half-maps, masked", "half-maps, tight mask", "half-maps, loose mask",
    "half-maps, user mask", "half-maps, unmasked",
)  # fmt: skip
CROSS = (
    "half-map with truth, from cross", "cross, masked", "voxels, corrected",
    "half-maps, corrected",
)  # fmt: skip
TRUTH = ("half-maps, corrected", "map with truth, from half-maps", "map with truth, measured")
SUBSTITUTION = (
    "half-maps, corrected", "noise substitution, half-maps", "half-maps, corrected for invented"
)  # fmt: skip
NICE_ANGSTROM = (50, 20, 10, 5, 3, 2, 7, 4, 15, 2.5, 1.5, 30, 1)


def fsc_panel(
    run: Evidence, name: str, curves: tuple[str, ...], needed: tuple[str, ...], title: str,
    caption: str,
) -> Panel | None:  # fmt: skip
    """Those of ``curves`` that the run has, with thresholds, headline and Nyquist; None without one
    of those that are ``needed``."""
    shown = [curve for curve in curves if curve in run.curves]
    if not shown or not all(curve in shown for curve in needed):
        return None
    path = run.figure(name)
    with panel(path, 2.3, rows=len(shown)) as (drawing, axes):
        axes.set_position(_lower(axes, 0.2 / drawing.get_figheight()))
        frame(axes, run)
        for i, curve in enumerate(shown):
            line = LINES[curve]
            axes.plot(
                run.frequencies[1:], run.curves[curve][1:], color=line.colour, ls=line.dash,
                lw=line.width, label=line.label, zorder=20 - i, solid_capstyle="round",
            )  # fmt: skip
        lowest = min((np.nanmin(run.curves[c][1:], initial=0.0) for c in shown), default=0.0)
        axes.set_ylim(max(-0.3, min(-0.03, 1.1 * float(lowest))), 1.03)
        legend(drawing, axes)
    return Panel(path, title, caption)


def _lower(axes: Axes, by: float) -> tuple[float, float, float, float]:
    x, y, width, height = axes.get_position().bounds
    return x, y, width, height - by


def frame(axes: Axes, run: Evidence) -> None:
    """Axes of an FSC: thresholds, the headline's frequency, Angstrom above, Nyquist at the right."""
    nyquist = 0.5 / run.pixel_size
    axes.set_xlim(0.0, nyquist)
    axes.set_xlabel("spatial frequency (1/Å)")
    axes.set_ylabel("FSC")
    axes.axhline(0.0, color=QUIET, lw=0.5, zorder=1)
    for threshold in (0.143, 0.5):
        axes.axhline(threshold, color=QUIET, lw=0.6, ls=(0, (2, 2)), zorder=1)
        axes.annotate(
            f"{threshold:g}", (0.0, threshold), xytext=(2.5, 1.5), textcoords="offset points",
            color=QUIET, fontsize=7,
        )  # fmt: skip
    headline = run.number("resolution")
    if np.isfinite(headline) and headline > 0:
        axes.axvline(1.0 / headline, color=QUIET, lw=0.6, zorder=1)
        axes.annotate(
            f"{headline:.2f} Å", (1.0 / headline, 1.0), xytext=(-2.0, 0), fontsize=7, rotation=90,
            textcoords="offset points", ha="right", va="top", color=QUIET, zorder=2,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks = [nyquist]
    for frequency in (1.0 / angstrom for angstrom in NICE_ANGSTROM):
        distance = min(abs(frequency - tick) for tick in ticks)
        if 0.06 * nyquist < frequency < nyquist and distance > 0.16 * nyquist:
            ticks.append(frequency)
    top = axes.secondary_xaxis("top")
    names = [f"{1.0 / t:.2f}".rstrip("0").rstrip(".") + " Å" for t in ticks]
    top.set_xticks(ticks, names, fontsize=7.5)
    top.spines["top"].set_visible(False)
    top.tick_params(length=2.0, pad=1.0)

"""The figures of the page, each drawn from one study's results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from PIL import Image

from cryosplat.report._drawing import COLOURS, DASHES, INK, QUIET, figure

from .results import PAPER, load, mean_fsc, named, of_set, resolution

Row = dict[str, Any]
WIDTH, HEIGHT = 7.4, 3.0
COLOURS_IN_FILE = 96
SOLID, DASHED, DOTTED = DASHES[:3]


def draw(results: Path, folder: Path) -> list[Path]:
    """Every figure whose study has been run."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, drawing in FIGURES.items():
        study = load(results, name)
        if study is not None and len(study["rows"]) > 1:
            with figure(folder / f"{name}.png", WIDTH, HEIGHT) as canvas:
                drawing(canvas, study)
            drawn.append(folder / f"{name}.png")
            _few_colours(drawn[-1])
    return drawn


def _few_colours(path: Path) -> None:
    """Make a file small: lines and letters need no more than a palette."""
    with Image.open(path) as full:
        small = full.convert("RGB").quantize(COLOURS_IN_FILE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def graded(n: int) -> list[str]:
    """Colours for an ordered quantity, dark to light, that all readers can tell apart."""
    return [to_hex(colormaps["viridis"](x)) for x in np.linspace(0.0, 0.86, n)]


def panels(canvas: Figure, n: int = 2, right: float = 0.975) -> list[Axes]:
    """Axes side by side, without frames above and to the right."""
    axes = canvas.subplots(1, n, squeeze=False)[0]
    canvas.subplots_adjust(0.095, 0.16, right, 0.91, wspace=0.3)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return list(axes)


def curves(axes: Axes, rows: Sequence[tuple[str, list[float], str, Any]], side: float) -> None:
    """FSC with truth of each (label, curve, colour, dashes); frequencies from the box's side."""
    for label, fsc, colour, dashes in rows:
        frequency = np.arange(1, len(fsc) - 1) / side
        axes.plot(frequency, fsc[1:-1], color=colour, ls=dashes, lw=1.6, label=label)
        axes.set_xlim(0.0, (len(fsc) - 1) / side)
    for threshold in (0.143, 0.5):
        axes.axhline(threshold, color=QUIET, lw=0.6, ls=(0, (2, 2)), zorder=0)
    axes.set_ylim(-0.06, 1.03)
    axes.set_xlabel("spatial frequency (1/Å)")
    axes.set_ylabel("FSC with the truth")


def beside(axes: Axes, title: str = "") -> None:
    """The legend to the right of the axes."""
    legend = axes.legend(
        loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8.5, title=title,
        handlelength=2.2,
    )  # fmt: skip
    legend.get_title().set_fontsize(8.5)


def side_of(study: Row) -> float:
    """Side of the box in Angstrom."""
    problem = study["problems"][0]
    return problem["box_size"] * problem["pixel_size"]


def logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis of Gaussians, marked where something was measured."""
    axes.set_xscale("log")
    axes.set_xticks(list(values), [f"{v:,.0f}" for v in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("Gaussians")


def means(axes: Axes, rows: Sequence[tuple[str, Row, str, Any]]) -> None:
    """Mean FSC of each row after every epoch."""
    for label, row, colour, dashes in rows:
        epochs = [e["epoch"] for e in row["epochs"]]
        values = [mean_fsc(e["fsc"]) for e in row["epochs"]]
        axes.plot(epochs, values, color=colour, ls=dashes, marker="o", ms=3.5, lw=1.4, label=label)
    axes.set_xticks(range(1, 1 + max(len(row["epochs"]) for _, row, _, _ in rows)))
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean FSC over all shells")


def numbers(canvas: Figure, study: Row) -> None:
    """FSC for every number of Gaussians, its mean, and what they cost."""
    left, right = panels(canvas, right=0.925)
    rows = study["rows"]
    shown = zip(rows, graded(len(rows)), strict=True)
    curves(left, [(row["name"], row["fsc"], c, SOLID) for row, c in shown], side_of(study))
    left.legend(frameon=False, fontsize=8.5, title="Gaussians", loc="lower left")
    gaussians = [row["gaussians"] for row in rows]
    right.plot(gaussians, [mean_fsc(row["fsc"]) for row in rows], "o-", color=COLOURS[0], ms=4)
    right.set_ylabel("mean FSC over all shells", color=COLOURS[0])
    logarithmic(right, gaussians)
    time = right.twinx()
    time.spines["top"].set_visible(False)
    time.plot(gaussians, [row["cpu_s"] for row in rows], "s--", color=COLOURS[1], ms=3.5)
    time.set_ylabel("seconds of the processor", color=COLOURS[1])
    time.set_ylim(0.0)


def epochs(canvas: Figure, study: Row) -> None:
    """FSC of single images after each epoch, and the mean for every mini-batch."""
    left, right = panels(canvas)
    single = study["rows"][0]
    shown = zip(single["epochs"], graded(len(single["epochs"])), strict=True)
    curves(left, [(str(e["epoch"]), e["fsc"], c, SOLID) for e, c in shown], side_of(study))
    left.legend(frameon=False, fontsize=8.5, title="after epoch", loc="lower left")
    dashes = (SOLID, SOLID, SOLID, SOLID, DASHED)
    rows = zip(study["rows"], COLOURS, dashes, strict=False)
    means(right, [(row["name"], row, c, d) for row, c, d in rows])
    right.legend(frameon=False, fontsize=8.5, loc="lower right")


def pairs(canvas: Figure, study: Row, styles: Sequence[tuple[str, Any]]) -> None:
    """One panel of curves, one style for each row."""
    (axes,) = panels(canvas, 1, 0.60)
    rows = zip(study["rows"], styles, strict=False)
    curves(axes, [(r["name"], r["fsc"], c, d) for r, (c, d) in rows], side_of(study))
    beside(axes)


def shape(canvas: Figure, study: Row) -> None:
    """Anisotropic, isotropic; few and many."""
    blue, red = COLOURS[:2]
    pairs(canvas, study, ((blue, DASHED), (red, DASHED), (blue, SOLID), (red, SOLID)))


def grid(canvas: Figure, study: Row) -> None:
    """On and off the grid, and the error in phase of the offset."""
    left, right = panels(canvas)
    rows = zip(study["rows"], COLOURS, strict=False)
    curves(left, [(r["name"], r["fsc"], c, SOLID) for r, c in rows], side_of(study))
    left.legend(frameon=False, fontsize=8.5, loc="lower left")
    nyquist = 0.5 * study["problems"][0]["box_size"] / side_of(study)
    frequency = np.linspace(0.0, nyquist, 50)
    error = 0.5 * np.pi * frequency / nyquist
    right.plot(frequency, error, color=COLOURS[1], label="along one axis")
    right.plot(frequency, error * 2**0.5, color=COLOURS[1], ls=DASHED, label="along the diagonal")
    right.set_yticks([0.0, np.pi / 4, np.pi / 2], ["0", "π/4", "π/2"])
    right.set_xlim(0.0, nyquist)
    right.set_ylim(0.0, 2.4)
    right.set_xlabel("spatial frequency (1/Å)")
    right.set_ylabel("phase error of half a pixel (rad)")
    right.legend(frameon=False, fontsize=8.5, loc="upper left")


def normalisation(canvas: Figure, study: Row) -> None:
    """Kept and dropped."""
    pairs(canvas, study, tuple(zip(COLOURS[:3], (SOLID, DASHED, SOLID), strict=True)))


def rates(canvas: Figure, study: Row) -> None:
    """Curves, and the mean after each epoch."""
    left, right = panels(canvas)
    rows = list(zip(study["rows"], COLOURS, strict=False))
    curves(left, [(r["name"], r["fsc"], c, SOLID) for r, c in rows], side_of(study))
    left.legend(frameon=False, fontsize=7.5, loc="lower left")
    means(right, [(r["name"], r, c, SOLID) for r, c in rows])


def noise(canvas: Figure, study: Row) -> None:
    """Curves by noise, and the resolution against it."""
    left, right = panels(canvas)
    rows, side = study["rows"], side_of(study)
    shown = zip(rows, graded(len(rows)), strict=True)
    curves(left, [(row["name"], row["fsc"], c, SOLID) for row, c in shown], side)
    left.legend(frameon=False, fontsize=7.5, loc="lower left", title_fontsize=8)
    known = [row for row in rows if row["decibel"] is not None]
    decibels = [5.0, *(row["decibel"] for row in known)]
    measured = [row for row in rows if row["decibel"] is None] + known
    for threshold, colour, marker in ((0.143, COLOURS[0], "o"), (0.5, COLOURS[1], "s")):
        values = [resolution(row["fsc"], side, threshold) for row in measured]
        right.plot(decibels, values, marker + "-", color=colour, ms=4, label=f"FSC {threshold:g}")
    right.set_xticks(decibels, ["none", *(str(d) for d in decibels[1:])])
    right.invert_xaxis()
    right.set_yscale("log")
    ticks = [t for t in (4, 5, 6, 8, 10, 15, 20, 30, 50, 100) if t < 1.2 * right.get_ylim()[1]]
    right.set_yticks(ticks, [str(t) for t in ticks])
    right.yaxis.set_minor_locator(NullLocator())
    right.axhline(2.0 * side / study["problems"][0]["box_size"], color=QUIET, lw=0.8)
    right.annotate("Nyquist", (decibels[-2], 2.0 * side / study["problems"][0]["box_size"]),
                   xytext=(0, 4), textcoords="offset points", fontsize=8, color=QUIET)  # fmt: skip
    right.set_xlabel("SNR (dB)")
    right.set_ylabel("resolution against the truth (Å)")
    right.legend(frameon=False, fontsize=8.5, loc="upper left")


def speed(canvas: Figure, study: Row) -> None:
    """Images a second and memory against Gaussians."""
    left, right = panels(canvas)
    cores = study["machine"]["cores"]
    numbers_of = sorted({row["gaussians"] for row in study["rows"]})
    for box, colour in zip(sorted({r["box"] for r in study["rows"]}), COLOURS, strict=False):
        for batch, mixtures, dashes, label in (
            (16, 1, SOLID, "one mixture"), (16, 3, DASHED, "and both halves"),
        ):  # fmt: skip
            rows = [
                r for r in study["rows"]
                if (r["box"], r["batch"], r["mixtures"]) == (box, batch, mixtures)
            ]  # fmt: skip
            gaussians = [r["gaussians"] for r in rows]
            told = f"{box} px, {label}"
            rate = [1e3 * cores / r["core_ms_per_image"] for r in rows]
            left.plot(gaussians, rate, "o", ls=dashes, color=colour, ms=3.5, label=told)
            added = [(r["peak_mib"] or 0.0) - (r["program_mib"] or 0.0) for r in rows]
            right.plot(gaussians, added, "o", ls=dashes, color=colour, ms=3.5)
    for axes in (left, right):
        logarithmic(axes, numbers_of)
    left.set_yscale("log")
    ticks = [t for t in (50, 100, 200, 400, 800, 1600) if t < 1.1 * left.get_ylim()[1]]
    left.set_yticks(ticks, [f"{t:,}" for t in ticks])
    left.yaxis.set_minor_locator(NullLocator())
    left.set_ylabel(f"images/s, {cores} cores, at most")
    left.legend(frameon=False, fontsize=8.0, loc="lower left", handlelength=3.5)
    right.set_ylim(0.0)
    right.set_ylabel("memory of the fit (MiB)")


def solvers(canvas: Figure, study: Row) -> None:
    """For each set: mean FSC with truth against time."""
    sets = list(dict.fromkeys(row["set"] for row in study["rows"] if "fsc" in row))
    for axes, name in zip(panels(canvas, len(sets)), sets, strict=True):
        rows = of_set(study, name)
        climbed = [row for row in rows if "steps" in row]
        _against_time(axes, climbed, COLOURS[0], "o", SOLID, "statistics")
        for label, row_name, colour, dashes in (
            ("images, preset paper", PAPER, COLOURS[1], SOLID),
            ("its rates, 16 a step", "images, paper's rates, 16 a step", COLOURS[4], DASHED),
            ("images, default", "images, default", COLOURS[2], DASHED),
        ):
            if any(row["name"] == row_name for row in rows):
                found = named(rows, row_name)["epochs"]
                _against_time(axes, found, colour, "s", dashes, label)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(name, fontsize=9, color=INK)
        axes.set_xlabel("seconds of the processor")
        axes.set_ylim(0.0, 1.0)
    canvas.axes[0].set_ylabel("mean FSC with the truth")
    canvas.axes[-1].legend(frameon=False, fontsize=7.5, loc="lower right")


def _against_time(
    axes: Axes, points: list[Row], colour: str, marker: str, dashes: Any, label: str
) -> None:
    seconds = [p["cpu_s"] for p in points]
    values = [mean_fsc(p["fsc"]) for p in points]
    axes.plot(
        seconds, values, marker, ls=dashes, color=colour, ms=3.5, lw=1.3, label=label
    )  # fmt: skip


FIGURES: dict[str, Callable[[Figure, Row], None]] = {
    "solvers": solvers, "numbers": numbers, "epochs": epochs, "shape": shape, "grid": grid,
    "normalisation": normalisation, "rates": rates, "noise": noise, "speed": speed,
}  # fmt: skip

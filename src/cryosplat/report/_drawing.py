"""What all figures share: one palette, one style, and files that appear whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..appearance import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from ..errors import OutputError
from ..io.atomic import replacing

COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
"""Line styles, so that curves also differ in black and white."""
INK, QUIET = "#222222", "#8A8A8A"
FORMATS = (".png", ".svg", ".pdf")
COLUMN = 3.0
"""Width of a `panel` in inches: a phone's screen, or a third of a desktop's page."""
LEGEND_ROW = 0.163
BAR_LENGTHS = (5, 10, 20, 50, 100, 200, 500)  # Angstrom
PLANES = ((0, "xy"), (1, "xz"), (2, "yz"))
"""Axis of [z, y, x] that is cut or summed, and what then runs to the right and upwards."""
MARGIN = 0.02  # inches beside the labels of a panel
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "cryosplat",
}
SMALL: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
}


@contextmanager
def style(*changes: dict[Any, Any]) -> Iterator[None]:
    """Matplotlib's shipped settings with `STYLE` and ``changes``, whatever the user's are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for settings in (STYLE, *changes):
            matplotlib.rcParams.update(settings)
        yield


@contextmanager
def figure(path: str | os.PathLike[str], width: float, height: float) -> Iterator[Figure]:
    """A figure of ``width`` by ``height`` inches, written to ``path`` when the block ends.

    Raises `OutputError` for a suffix that is not .png, .svg or .pdf, and where writing fails.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            f"{path}: a figure cannot be written as {suffix or 'a file without suffix'}, expected "
            f"{', '.join(FORMATS)}. Remedy: {path.with_suffix('.png').name}, for example."
        )
    with style():
        drawing = Figure(figsize=(width, height), facecolor="white")
        yield drawing
        save(drawing, path)


@contextmanager
def sheet(path: Path, width: float, height: float, **layout: Any) -> Iterator[Figure]:
    """A figure of the page, ``width`` by ``height`` inches; written as ``path``.svg and .png."""
    with style(SMALL):
        drawing = Figure(figsize=(width, height), facecolor="none", **layout)
        yield drawing
        for suffix in (".svg", ".png"):
            save(drawing, path.with_name(path.name + suffix))


@contextmanager
def panel(path: Path, height: float = 2.0, rows: int = 0) -> Iterator[tuple[Figure, Axes]]:
    """A small figure for a column of the page, and its axes; written as ``path``.svg and .png.

    ``height`` in inches, of which the lowest are for ``rows`` of a legend (see `legend`).
    """
    height += rows * LEGEND_ROW
    foot = 0.40 + rows * LEGEND_ROW
    with sheet(path, COLUMN, height) as drawing:
        rectangle = (0.47 / COLUMN, foot / height, 1 - 0.60 / COLUMN, 1 - (foot + 0.09) / height)
        axes = drawing.add_axes(rectangle)
        axes.spines[["top", "right"]].set_visible(False)
        yield drawing, axes
        _keep_labels_inside(drawing)


def _keep_labels_inside(drawing: Figure) -> None:
    """Narrow the axes of a panel whose tick labels or titles would be cut at its sides."""
    whole = drawing.bbox.padded(-MARGIN * drawing.dpi)
    for axes in drawing.axes:
        box = axes.get_tightbbox()
        if box is not None:
            left, right = max(0.0, whole.x0 - box.x0), max(0.0, box.x1 - whole.x1)
            x, y, width, height = axes.get_position().bounds
            x, width = x + left / drawing.bbox.width, width - (left + right) / drawing.bbox.width
            axes.set_position((x, y, width, height))


def legend(drawing: Figure, axes: Axes, columns: int = 1) -> None:
    """The labels of ``axes``, below it, from the left edge of the figure."""
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0.0, 0.0), ncols=columns, frameon=False,
        fontsize=8.0, handlelength=2.0, handletextpad=0.6, labelspacing=0.22, borderpad=0.1,
        borderaxespad=0.1, columnspacing=1.2,
    )  # fmt: skip


def save(drawing: Figure, path: Path) -> None:
    """Write a figure, in the format of its suffix, whole or not at all."""
    suffix = path.suffix.lower()
    buffer = io.BytesIO()
    metadata = {} if suffix == ".png" else {"Date" if suffix == ".svg" else "CreationDate": None}
    drawing.savefig(buffer, format=suffix[1:], dpi=160, metadata=metadata)
    with replacing(path) as stream:
        stream.write(buffer.getbuffer())


def bar_length(side: float) -> int:
    """Of the scale bar of a picture that is ``side`` Angstrom wide."""
    return max((n for n in BAR_LENGTHS if n <= 0.3 * side), default=BAR_LENGTHS[0])


def spread(heights: list[float], sizes: list[float], low: float, high: float) -> list[float]:
    """Centres of labels of ``sizes`` near ``heights``, in their order and without overlap.

    They stay above ``low``, and below ``high`` as long as there is room for all.
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    edge = high
    for i in reversed(order):
        placed[i] = min(placed[i], edge - 0.5 * sizes[i])
        edge = placed[i] - 0.5 * sizes[i]
    edge = low
    for i in order:
        placed[i] = max(placed[i], edge + 0.5 * sizes[i])
        edge = placed[i] + 0.5 * sizes[i]
    return placed

"""What all figures share: one palette, one style, and files that appear whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ..errors import OutputError
from ..io._atomic import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette, which colour-blind readers can tell apart."""
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
"""Line styles, so that curves also differ in black and white."""
INK, QUIET = "#222222", "#8A8A8A"
FORMATS = (".png", ".svg", ".pdf")
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
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(width, height), facecolor="white")
        yield drawing
        buffer = io.BytesIO()
        metadata = (
            {} if suffix == ".png" else {"Date" if suffix == ".svg" else "CreationDate": None}
        )
        drawing.savefig(buffer, format=suffix[1:], dpi=160, metadata=metadata)
    with replacing(path) as stream:
        stream.write(buffer.getbuffer())


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

"""How the map grew where poses were found from nothing, as a strip of projections."""

from __future__ import annotations

import math

import numpy as np

from ..io.mrc import StackFile
from ._drawing import COLUMN, QUIET, sheet
from .evidence import Evidence, Panel

SHOWN, COLUMNS = 8, 4  # pictures; of them in a row
HEAD = 0.17  # inches for a title


def growth_panel(run: Evidence) -> Panel | None:
    """Projections of the growing map along z, each in its own grey scale."""
    found = run.section("abinit")
    if not run.folder.growth.exists() or not found.get("growth"):
        return None
    titles = found["growth"]
    stack = StackFile(run.folder.growth).read(range(len(titles)))
    some = np.unique(np.linspace(0, len(titles) - 1, min(SHOWN, len(titles))).round().astype(int))
    rows = math.ceil(len(some) / COLUMNS)
    size = COLUMN / COLUMNS
    path = run.figure("growth")
    height = rows * (size + HEAD)
    with sheet(path, COLUMN, height) as drawing:
        for place, number in enumerate(some):
            row, column = divmod(place, COLUMNS)
            bottom = height - (row + 1) * (size + HEAD)
            axes = drawing.add_axes(
                (column / COLUMNS, bottom / height, 0.96 / COLUMNS, 0.96 * size / height)
            )
            axes.imshow(stack[number], cmap="gray", origin="lower", interpolation="bicubic")
            axes.set_axis_off()
            drawing.text(
                column / COLUMNS, (bottom + size + 0.02) / height, titles[number], fontsize=7.0,
                color=QUIET,
            )  # fmt: skip
    return Panel(path, "The growing map", _caption(found))


def _caption(found: dict) -> str:
    """What the pictures show, and what the starts were worth."""
    starts = found.get("starts", [])
    worth = ", ".join(f"{start.get('gain', math.nan):.2f}" for start in starts)
    told = (
        f"Projections along z. Gain of each start over noise, on {found.get('unseen_images', 0):,} "
        f"held-out images: {worth} nats per image; start {found.get('chosen', 0) + 1} was used."
    )
    if not found.get("found"):
        return f"{told} That is no more than chance or a round blob gives: no structure was found."
    return (
        f"{told} The handedness is unknown: the mirror image (--hand flip) explains the images equally "
        "well."
    )

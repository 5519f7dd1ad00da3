"""Panels about single particles: how much they count, and what they look like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..appearance import BLUE, VERMILION
from ..io.mrc import StackFile
from ._drawing import QUIET, panel, sheet
from .evidence import Evidence, Panel

ROWS = "image", "projection", "residual"
GROUPS = "best", "random", "worst"
LIMIT = 99.5  # percentile of the pixels' size that is drawn black or white


def weights_panel(run: Evidence) -> Panel | None:
    """Histograms of the odds and of the scales."""
    found = run.section("worth")
    odds, scales = (np.array(found.get(name) or [], float) for name in ("odds", "scales"))
    if not len(odds) or not len(scales):
        return None
    path = run.figure("weights")
    with panel(path, 3.0) as (drawing, axes):
        x, y, width, height = axes.get_position().bounds
        gap = 0.5 / drawing.get_figheight()
        part = (height - gap) / 2
        axes.set_position((x, y + part + gap, width, part))
        lower = drawing.add_axes((x, y, width, part))
        lower.spines[["top", "right"]].set_visible(False)
        colours = [BLUE if row[0] >= 0.0 else VERMILION for row in odds]
        axes.bar(odds[:, 0], odds[:, 2], odds[:, 1], align="edge", color=colours)
        axes.set_xlabel("log-odds of this particle (nats)")
        axes.set_yscale("symlog", linthresh=10.0)
        lower.bar(scales[:, 0], scales[:, 2], scales[:, 1], align="edge", color=BLUE)
        lower.set_xlabel("scale of the signal")
        lower.axvline(1.0, color=QUIET, lw=0.8, ls=(0, (2, 2)))
        for one in (axes, lower):
            one.set_ylabel("particles")
    share = 100.0 * float(np.mean(found.get("shares") or [np.nan]))
    used = "used in the map" if found.get("used") else "not used: they make no difference"
    return Panel(
        path, "Weights and scales of particles",
        f"Judged by the map of their own half-set, {share:.1f} % of the images show this particle; the "
        f"others show noise or something else. Weights and scales are {used}.",
    )  # fmt: skip


def examples_panel(run: Evidence) -> Panel | None:
    """The best, some and the worst images, their projections and what remains."""
    names = run.section("worth").get("examples") or []
    each = len(names) // len(GROUPS)
    if not each or not run.folder.examples.exists():
        return None
    stack = StackFile(run.folder.examples)
    pictures = stack.read(np.arange(3 * len(names))).reshape(len(names), 3, *stack.shape)
    path = run.figure("examples")
    with sheet(path, 9.0, 2.75) as drawing:
        spaces = drawing.add_gridspec(1, len(GROUPS), wspace=0.0)
        for group, title in enumerate(GROUPS):
            part = drawing.add_subfigure(spaces[0, group], facecolor="none")
            part.text(0.02, 0.97, title, va="top", fontweight="bold")
            grid = part.subplots(
                len(ROWS), each, squeeze=False,
                gridspec_kw={"left": 0.10, "right": 0.99, "bottom": 0.01, "top": 0.80,
                             "wspace": 0.05, "hspace": 0.05},
            )  # fmt: skip
            for column in range(each):
                _draw_example(grid[:, column], pictures, names, group * each + column)
            for axes, row in zip(grid[:, 0], ROWS, strict=True):
                axes.set_ylabel(row, fontsize=7.0)
    return Panel(
        path, "Particles: best, random, worst",
        "Sorted by agreement with the map of their own half-set, low-passed: image, projection of the "
        "map, and residual. Above each: its row in the particle file, weight and scale.",
        wide=True,
    )  # fmt: skip


def _draw_example(
    column: NDArray[np.object_], pictures: NDArray[np.float32], names: list[Any], number: int
) -> None:
    """Image, projection and residual, one below the other, in one grey scale."""
    _, row, weight, scale = names[number]
    limit = float(np.percentile(np.abs(pictures[number, 0]), LIMIT)) or 1.0
    for axes, image in zip(column, pictures[number], strict=True):
        axes.imshow(image, cmap="gray", vmin=-limit, vmax=limit, origin="lower")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    title = f"{row:,}\n{weight or 0.0:.2f} · {scale or 0.0:.2f}"
    column[0].set_title(title, fontsize=6.5, pad=2.0)

"""Panels about single particles: how much they count, and what the best and the worst look like."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ..appearance import BLUE, VERMILION
from ..io.mrc import StackFile
from ._drawing import QUIET, SMALL, panel, save, style
from .evidence import Evidence, Panel

ROWS = "image", "projection", "rest"
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
    used = "used in the map" if found.get("used") else "not used: too alike to matter"
    return Panel(
        path, "Weights and scales of particles",
        f"By the map of its own half-set, {share:.1f} % of the images hold this particle; the others "
        f"hold noise or something else. Weights and scales are {used}.",
    )  # fmt: skip


def examples_panel(run: Evidence) -> Panel | None:
    """The best and the worst images, their projections and what remains."""
    names = run.section("worth").get("examples") or []
    if not names or not run.folder.examples.exists():
        return None
    stack = StackFile(run.folder.examples)
    pictures = stack.read(np.arange(3 * len(names))).reshape(len(names), 3, *stack.shape)
    path = run.figure("examples")
    best = -(-len(names) // 2)
    with style(SMALL):
        drawing = Figure(figsize=(7.4, 2.55), facecolor="none")
        for column, (images, (_, row, weight, scale)) in enumerate(
            zip(pictures, names, strict=True)
        ):
            limit = float(np.percentile(np.abs(images[0]), LIMIT)) or 1.0
            for line, image in enumerate(images):
                left = 0.055 + (0.93 * column + 0.3 * (column >= best)) / (len(names) + 0.3)
                axes = drawing.add_axes(
                    (left, 0.615 - 0.29 * line, 0.88 / (len(names) + 0.3), 0.275)
                )
                axes.imshow(image, cmap="gray", vmin=-limit, vmax=limit, origin="lower")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if column == 0:
                    axes.set_ylabel(ROWS[line])
                if line == 0:
                    told = f"row {row}\n{weight or 0.0:.2f} · {scale or 0.0:.2f}"
                    axes.set_title(told, fontsize=6.0, pad=2.0)
        for suffix in (".svg", ".png"):
            save(drawing, path.with_name(path.name + suffix))
    return Panel(
        path, "Best and worst images",
        "Left those that agree best with the map of their own half-set, right those that agree "
        "least, low-passed: image, projection, and image less projection. Above: weight · scale.",
    )  # fmt: skip

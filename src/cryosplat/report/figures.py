"""The figures of a run: resolution, the map itself, and the fit's progress.

Each takes plain arrays, writes one file (.png, .svg or .pdf by its suffix) and returns its path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._drawing import COLOURS, DASHES, PLANES, QUIET, bar_length, figure, spread

NICE_ANGSTROM = (100, 50, 20, 10, 5, 4, 3, 2, 8, 6, 30, 15, 3.5, 2.5, 12, 7, 9, 1.8, 1.5, 1.2, 1)
"""Ticks of the resolution axis, the most welcome first."""


def fsc_figure(
    path: str | os.PathLike[str],
    curves: Mapping[str, ArrayLike],
    box_size: int,
    pixel_size: float,
    thresholds: Sequence[float] = (0.143, 0.5),
    title: str = "",
) -> Path:
    """FSC curves against spatial frequency, resolution in Angstrom on top.

    ``curves`` maps each label, of one line or more, to (box_size // 2 + 1,) values; the first is
    drawn strongest; NaN leaves a gap. Shell 0 is not drawn. ``pixel_size`` in Angstrom.

    Raises
    ------
    InputError
        There are no curves, or a curve has not one value per shell.
    OutputError
        The file cannot be written.
    """
    values = {label: np.asarray(curve, float) for label, curve in curves.items()}
    lengths = {label: curve.shape for label, curve in values.items()}
    if set(lengths.values()) != {(box_size // 2 + 1,)}:
        raise InputError(
            f"{path}: FSC curves have shapes {lengths}, expected at least one curve and "
            f"({box_size // 2 + 1},) for all, the shells of a box of {box_size}."
        )
    shells = np.arange(box_size // 2 + 1)
    frequencies = shells / (box_size * pixel_size)
    with figure(path, 7.6, 4.2) as drawing:
        axes = drawing.add_axes((0.075, 0.125, 0.615, 0.70))
        low = min(float(np.nanmin(curve[1:], initial=0.0)) for curve in values.values())
        axes.set_ylim(max(-0.3, min(-0.05, 1.1 * low)), 1.03)
        axes.set_xlim(0.0, 0.5 / pixel_size)
        for threshold in thresholds:
            axes.axhline(threshold, color=QUIET, lw=0.8, ls=(0, (2, 2)), zorder=1)
            axes.annotate(
                f"{threshold:g}", (0.0, threshold), xytext=(3, 2), textcoords="offset points",
                color=QUIET, fontsize=8,
            )  # fmt: skip
        axes.axhline(0.0, color=QUIET, lw=0.6, zorder=1)
        for i, curve in enumerate(values.values()):
            axes.plot(
                frequencies[1:], curve[1:], color=COLOURS[i % len(COLOURS)],
                ls=DASHES[i % len(DASHES)], lw=2.4 if i == 0 else 1.4,
                zorder=10 - i, solid_capstyle="round",
            )  # fmt: skip
        _label_ends(axes, list(values), [_last(frequencies, c) for c in values.values()])
        axes.set_xlabel("spatial frequency (1/Å)")
        axes.set_ylabel("Fourier shell correlation")
        axes.spines[["top", "right"]].set_visible(False)
        _resolution_axis(axes, 0.5 / pixel_size)
        if title:
            drawing.text(0.075, 0.945, title, fontsize=11, fontweight="bold")
    return Path(path)


def _last(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """The last point of a curve that is not NaN."""
    known = np.flatnonzero(np.isfinite(y))
    return (float(x[known[-1]]), float(y[known[-1]])) if len(known) else (float(x[-1]), 0.0)


def _label_ends(axes: Axes, labels: list[str], ends: list[tuple[float, float]]) -> None:
    """Every curve's label to the right of the axes, as near to the curve's end as order allows."""
    low, high = axes.get_ylim()
    line = 0.052 * (high - low)
    sizes = [line * (1.25 + label.count("\n")) for label in labels]
    heights = spread([y for _, y in ends], sizes, low, high)
    for i, (label, end, height) in enumerate(zip(labels, ends, heights, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        axes.annotate(
            label, end, xytext=(1.05, height), textcoords=axes.get_yaxis_transform(),
            va="center", color=colour, annotation_clip=False,
            fontweight="bold" if i == 0 else "normal", fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 2, "shrinkB": 0,
                        "relpos": (0.0, 0.5), "alpha": 0.7},
        )  # fmt: skip


def _resolution_axis(axes: Axes, nyquist: float) -> None:
    """Resolution in Angstrom along the top, ending with Nyquist."""
    ticks = [nyquist]
    for frequency in (1.0 / angstrom for angstrom in NICE_ANGSTROM):
        distance = min(abs(frequency - tick) for tick in ticks)
        if 0.03 * nyquist < frequency < nyquist and distance > 0.075 * nyquist:
            ticks.append(frequency)
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    top.set_xticks(ticks, [f"{1.0 / t:.2f}".rstrip("0").rstrip(".") for t in ticks])
    top.xaxis.set_minor_locator(NullLocator())
    top.set_xlabel("resolution (Å); the right edge is Nyquist")
    top.spines[["right"]].set_visible(False)


def slices_figure(
    path: str | os.PathLike[str], maps: Mapping[str, ArrayLike], pixel_size: float
) -> Path:
    """Three central slices and three projections of each map, one row a map, with a scale bar.

    ``maps`` maps each row's title to a cube [z, y, x]; all have one box and pixel size (Angstrom).
    Each row has its own robust contrast. All rows are cropped alike, to the first map's molecule.

    Raises
    ------
    InputError
        There are no maps, or they are not cubes of one size.
    OutputError
        The file cannot be written.
    """
    volumes = {title: np.asarray(volume, np.float32) for title, volume in maps.items()}
    shapes = {title: volume.shape for title, volume in volumes.items()}
    first = next(iter(shapes.values()), ())
    if len(set(shapes.values())) != 1 or len(first) != 3 or len(set(first)) != 1:
        raise InputError(f"{path}: maps have shapes {shapes}, expected cubes of one size.")
    half = _half_width(next(iter(volumes.values())))
    centre = first[0] // 2
    crop = (slice(centre - half, centre + half),) * 3
    panel, left, gap, head, foot = 1.62, 0.06, 0.16, 0.46, 0.06
    width = left + 6 * panel + gap + 0.06
    height = len(volumes) * (panel + head) + foot
    with figure(path, width, height) as drawing:
        for row, (title, volume) in enumerate(volumes.items()):
            bottom = height - (row + 1) * (panel + head)
            top = bottom + panel
            drawing.text(left / width, (top + 0.26) / height, title, fontsize=10, fontweight="bold")
            images = [np.take(volume[crop], [half], axis).squeeze(axis) for axis, _ in PLANES]
            sums = [
                np.sum(volume, axis, keepdims=True).squeeze(axis)[crop[:2]] for axis, _ in PLANES
            ]
            names = [f"{what} {plane}" for what in ("slice", "projection") for _, plane in PLANES]
            for column, image in enumerate(images + sums):
                x = left + column * panel + (gap if column > 2 else 0.0)
                size = panel - 0.05
                axes = drawing.add_axes((x / width, bottom / height, size / width, size / height))
                _show(axes, image, images if column < 3 else sums)
                drawing.text(
                    x / width, (top + 0.02) / height, names[column], fontsize=7.5, color=QUIET
                )
                if column in (0, 3):
                    _scale_bar(axes, image.shape[0], pixel_size)
    return Path(path)


def _half_width(volume: NDArray[np.float32]) -> int:
    """Half the side of the centred cube that holds the molecule, in voxels, with a margin."""
    box = volume.shape[0]
    shadow = np.maximum(np.clip(volume, 0, None).sum(0), np.clip(volume, 0, None).sum(1).T)
    shadow = np.maximum(shadow, np.clip(volume, 0, None).sum(2).T)
    seen = np.argwhere(shadow - np.median(shadow) > 0.15 * (shadow.max() - np.median(shadow)))
    reach = np.abs(seen - box // 2).max() if len(seen) else box // 2
    return int(min(box // 2, max(8, 1.15 * reach + 2)))


def _show(axes: Axes, image: NDArray[np.float32], alike: list[NDArray[np.float32]]) -> None:
    """One panel in grey, its contrast from the percentiles of all panels ``alike``."""
    low, high = np.percentile(np.stack(alike), (1.0, 99.7))
    axes.imshow(
        image, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), origin="lower",
        interpolation="bicubic", aspect="auto",
    )  # fmt: skip
    axes.set_axis_off()


def _scale_bar(axes: Axes, pixels: int, pixel_size: float) -> None:
    side = pixels * pixel_size
    length = bar_length(side)
    x, y = 0.05, 0.06
    box = {"transform": axes.transAxes, "zorder": 5}
    axes.plot([x, x + length / side], [y, y], color="white", lw=2.2, solid_capstyle="butt", **box)
    axes.text(
        x, y + 0.025, f"{length} Å", color="white", fontsize=7.5, va="bottom",
        transform=axes.transAxes,
    )  # fmt: skip

"""How a map looks wherever it is shown: its contour level, and colours that everybody can read."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222",
)  # fmt: skip
"""Okabe & Ito's palette, which colour-blind readers can tell apart."""
SCALE = ("#0d4f8b", "#3f93c9", "#b9cfc4", "#f0ae4a", "#c4480c")
"""Colours of a quantity on a surface, good to bad: blue, pale, orange; light enough to shade."""
SURFACES = {"map": "#6fa3c8", "half 1": "#d79a4e", "half 2": "#6aa987", "voxels": "#a9a9ae"}
ENCLOSED = 0.5
"""Share of the map's positive mass that the suggested contour encloses."""


def contour_level(volume: NDArray[np.float32], share: float = ENCLOSED) -> float:
    """The level of the isosurface that encloses a share of the map's positive mass; 0 where none."""
    positive = np.sort(volume[volume > 0].astype(np.float64))[::-1]
    if not len(positive):
        return 0.0
    enclosed = np.cumsum(positive)
    return float(positive[np.searchsorted(enclosed, share * enclosed[-1])])


def painted_range(
    values: NDArray[np.float32],
    shown: NDArray[np.float32] | None,
    mask: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], float, float]:
    """Known ``values`` in the surface of the map ``shown``, and where their colours begin and end.

    The 5th and 95th percentiles; in ``mask``, or everywhere, where the map has no surface. Values of
    0 are not known. NaN where none is.
    """
    known = np.isfinite(values) & (values > 0)
    level = 0.0 if shown is None else contour_level(shown)
    if shown is not None and level > 0.0 and (known & (shown >= level)).any():
        known &= shown >= level
    elif mask is not None:
        known &= mask > 0.5
    if not known.any():
        return values[known], np.nan, np.nan
    low, high = (float(v) for v in np.percentile(values[known], (5, 95)))
    return values[known], low, max(high, 1.02 * low)


def level_like(
    volume: NDArray[np.float32], other: NDArray[np.float32], mask: NDArray[np.float32] | None = None
) -> float:
    """The level at which ``volume`` fills as many voxels as ``other`` at its contour level.

    For a sharpened map or a half-map of ``other``, in ``mask`` where there is one. 0 where none.
    """
    level = contour_level(other)
    inside = np.ones(other.shape, bool) if mask is None else mask > 0.5
    filled = int((other[inside] >= level).sum()) if level > 0.0 else 0
    return float(np.partition(volume[inside], -filled)[-filled]) if filled else 0.0


def rgb(colour: str) -> NDArray[np.float64]:
    """``#rrggbb`` as three numbers from 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def on_scale(values: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """Colours (..., 3) from 0 to 1 of ``values`` (...) on `SCALE`, clipped to [low, high].

    NaN becomes a neutral grey.
    """
    values = np.asarray(values, np.float64)
    at = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0) * (len(SCALE) - 1)
    stops = np.array([rgb(colour) for colour in SCALE])
    unknown = ~np.isfinite(at)
    below = np.clip(np.where(unknown, 0.0, at).astype(int), 0, len(SCALE) - 2)
    part = np.where(unknown, 0.0, at - below)[..., None]
    colours = stops[below] * (1.0 - part) + stops[below + 1] * part
    colours[unknown] = 0.72
    return colours

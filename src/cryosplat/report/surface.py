"""Isosurfaces of a map as shaded pictures, without a graphics card or a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..appearance import SURFACES, on_scale, rgb
from ._raymarch import first_hits

Array = NDArray[np.float32]
OVERSAMPLING = 2
"""Rays along each side of a pixel."""
KEY, FILL = np.array([-0.45, 0.65, 0.75]), np.array([0.7, -0.1, 0.5])
"""Directions to the two lights as (right, up, towards the eye)."""
POCKETS = (0.02, 0.06)
"""Sizes of the hollows that lie in shade, in sides of the picture."""

VIEWS = {
    "along z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "along y": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "along x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
}
"""Right, up and towards the eye, in the map's axes."""
OBLIQUE = ((0.819, 0.574, 0.0), (-0.301, 0.430, 0.851), (0.488, -0.697, 0.525))
"""From above and aside."""


@dataclass(frozen=True, slots=True)
class Painted:
    """A quantity [z, y, x] that colours the surface, from ``low`` (good) to ``high`` (bad)."""

    volume: Array
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Surface:
    """The isosurface of a cubic map [z, y, x] at ``level``, ready to be seen from anywhere.

    ``blurred``: values of the spline at the voxels; ``pockets``: for each size in voxels, the share
    of molecule within it, at every ``step``-th voxel.
    """

    volume: Array
    level: float
    reach: float
    blurred: Array
    pockets: tuple[tuple[float, Array], ...]
    step: int

    @staticmethod
    def of(volume: Array, level: float, reach: float) -> Surface:
        """For pictures that span ``2 * reach`` voxels around the rotation centre."""
        volume = np.ascontiguousarray(volume, np.float32)
        blurred = _blurred(volume)
        step = max(1, volume.shape[0] // 90)
        coarse = ndimage.uniform_filter(blurred, step)[::step, ::step, ::step]
        solid = np.clip(4.0 * (coarse / max(level, 1e-12) - 1.0) + 0.5, 0.0, 1.0)
        pockets = []
        for share in POCKETS:
            size = max(1.0, share * 2 * reach)
            nearby = ndimage.gaussian_filter(solid, size / step, mode="constant", truncate=2.5)
            pockets.append((size, nearby.astype(np.float32)))
        return Surface(volume, level, reach, blurred, tuple(pockets), step)


def surface_picture(
    surface: Surface,
    view: tuple[tuple[float, ...], ...],
    pixels: int,
    painted: Painted | None = None,
) -> NDArray[np.uint8]:
    """The surface in a parallel projection, (pixels, pixels, 4) RGBA.

    Transparent where no ray meets it. ``view``: as in `VIEWS`, orthonormal, right-handed.
    """
    axes = np.asarray(view, np.float64)
    side = OVERSAMPLING * pixels
    points, normals = (np.empty((side, side, 3), np.float32) for _ in range(2))
    first_hits(
        surface.volume, surface.blurred, np.float32(surface.level), axes, float(surface.reach),
        side, points, normals,
    )  # fmt: skip
    hit = np.isfinite(points[..., 0])
    picture = np.zeros((side, side, 4))
    if hit.any():
        base = _base_colour(points[hit][:, ::-1].T, painted)
        facing = normals[hit] @ axes.T
        light = _light(facing, _openness(surface, points[hit], normals[hit]))
        light *= _edges(points @ axes[2], hit, surface.reach)[hit]
        picture[hit, :3] = np.clip(base * light[:, None] + _gloss(facing), 0, 1)
        picture[hit, 3] = 1.0
    shape = (pixels, OVERSAMPLING, pixels, OVERSAMPLING)
    alpha = picture[..., 3].reshape(shape).mean((1, 3))
    colour = (picture[..., :3] * picture[..., 3:]).reshape(*shape, 3).mean((1, 3))
    colour /= np.maximum(alpha, 1e-6)[..., None]
    return np.round(255 * np.dstack([colour, alpha])).astype(np.uint8)


def _blurred(volume: Array) -> Array:
    """Values at the voxels of the cubic B-spline whose coefficients are the voxels."""
    kernel = np.array([1.0, 4.0, 1.0]) / 6.0
    for axis in range(3):
        volume = ndimage.convolve1d(volume, kernel, axis, mode="constant")
    return volume


def _base_colour(place: NDArray[np.floating], painted: Painted | None) -> NDArray[np.float64]:
    if painted is None:
        return np.broadcast_to(rgb(SURFACES["map"]), (place.shape[1], 3))
    values = ndimage.map_coordinates(painted.volume, place, order=1, mode="nearest")
    return on_scale(values, painted.low, painted.high)


def _openness(surface: Surface, points: Array, normals: Array) -> NDArray[np.float64]:
    """How much of the sky each point sees, 1 on a flat surface, towards 0 in a pocket.

    Measured as the share of molecule near a point a little above the surface.
    """
    seen = np.ones(len(points))
    for size, nearby in surface.pockets:
        above = (points + size * normals)[:, ::-1].T / surface.step
        crowded = ndimage.map_coordinates(nearby, above, order=1, mode="constant")
        seen *= np.clip(1.16 - 1.5 * crowded, 0.25, 1.0)
    return seen


def _light(normals: NDArray[np.floating], openness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brightness of points with ``normals`` in the picture's frame."""
    key, fill = (d / np.linalg.norm(d) for d in (KEY, FILL))
    sky = 0.5 + 0.5 * normals[:, 1]
    direct = 0.62 * np.clip(normals @ key, 0, 1) + 0.18 * np.clip(normals @ fill, 0, 1)
    return openness * (0.38 + 0.17 * sky) + direct * np.sqrt(openness)


def _gloss(normals: NDArray[np.floating]) -> NDArray[np.float64]:
    half = KEY / np.linalg.norm(KEY) + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    return 0.10 * np.clip(normals @ half, 0, 1)[:, None] ** 24


def _edges(
    depth: NDArray[np.floating], hit: NDArray[np.bool_], reach: float
) -> NDArray[np.float64]:
    """Darkening just behind a nearer part of the surface: silhouettes."""
    far = np.where(hit, depth, -1e9 if not hit.any() else depth[hit].min() - reach)
    nearest = ndimage.maximum_filter(far, size=2 * OVERSAMPLING + 1)
    jump = np.clip((nearest - far) / (0.12 * reach) - 0.25, 0.0, 1.0)
    return 1.0 - 0.45 * jump

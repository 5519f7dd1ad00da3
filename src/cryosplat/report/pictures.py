"""Raster pictures of the map: isosurfaces, slices and projections, as PNG bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ..appearance import contour_level, on_scale
from ._drawing import PLANES, bar_length
from ._quality import local_resolution
from .evidence import Evidence
from .surface import OBLIQUE, VIEWS, Painted, Surface, surface_picture

Array = NDArray[np.float32]
LARGE, SMALL, TILE = 720, 440, 300  # pixels


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture: its ``caption``, PNG bytes, and the scale bar's length and share of its width."""

    caption: str
    png: bytes
    bar: int
    share: float


def surfaces(run: Evidence) -> list[Tile]:
    """The map from aside, large, then along its three axes; also written to the figures' folder.

    All at one scale, coloured by local resolution where the run has it.
    """
    volume = run.map(run.folder.map)
    level = 0.0 if volume is None else contour_level(volume)
    if volume is None or level <= 0:
        return []
    painted = local_resolution(run)
    reach = reach_of(volume, level)
    surface = Surface.of(volume, level, reach)
    tiles = []
    for name, view in (("from aside", OBLIQUE), *VIEWS.items()):
        pixels = LARGE if view is OBLIQUE else SMALL
        image = Image.fromarray(surface_picture(surface, view, pixels, painted))
        png = as_png(image)
        stem = "surface" if view is OBLIQUE else f"surface_{name[-1]}"
        run.figure(stem).with_suffix(".png").write_bytes(png)
        tiles.append(tile(name, png, 2 * reach * run.pixel_size))
    return tiles


def sections(run: Evidence) -> list[tuple[str, list[Tile]]]:
    """For each map of the run, its title, three central slices and three projections."""
    folder = run.folder
    reference = run.map(folder.map)
    if reference is None:
        return []
    half = _half(reference)
    rows = []
    for title, path in (
        ("Map, as Gaussians", folder.map), ("Voxel baseline", folder.voxel_map),
        ("Truth", folder.truth),
    ):  # fmt: skip
        volume = run.map(path)
        if volume is not None:
            side = 2 * half * run.pixel_size
            cuts = [_grey(image) for image in _alike([_cut(volume, half, a) for a, _ in PLANES])]
            sums = [_grey(image) for image in _alike([_sum(volume, half, a) for a, _ in PLANES])]
            names = [f"{what} {n}" for what in ("slice", "projection") for _, n in PLANES]
            pictures = zip(names, cuts + sums, strict=True)
            rows.append((title, [tile(name, png, side) for name, png in pictures]))
    return rows


def grey_tile(caption: str, values: Array, white: float, side: float) -> Tile:
    """Pixels in grey, black at 0."""
    grey = np.clip(np.asarray(values, np.float64) / max(white, 1e-12), 0.0, 1.0)
    return tile(caption, _grey(grey), side)


def difference_tile(caption: str, values: Array, largest: float, side: float) -> Tile:
    """A difference: blue for less, red for more, white for none."""
    factor = TILE / values.shape[0]
    grown = ndimage.zoom(np.asarray(values, np.float64) / max(largest, 1e-12), factor, order=1)
    part = np.clip(np.abs(grown[::-1]), 0.0, 1.0)[..., None]
    end = np.where(grown[::-1, :, None] > 0, (0.70, 0.09, 0.17), (0.13, 0.40, 0.67))
    colours = np.round(255 * (1.0 - part + part * end)).astype(np.uint8)
    return tile(caption, as_png(Image.fromarray(colours)), side)


def local_sections(run: Evidence) -> list[Tile]:
    """Three central slices of the map, coloured by local resolution and faint where it is empty."""
    volume, painted = run.map(run.folder.map), local_resolution(run)
    if volume is None or painted is None:
        return []
    half, level = _half(volume), max(contour_level(volume), 1e-12)
    side = 2 * half * run.pixel_size
    return [
        tile(f"slice {name}", _coloured(volume, painted, level, half, axis), side)
        for axis, name in PLANES
    ]


def tile(caption: str, png: bytes, side: float) -> Tile:
    """A picture with its scale bar; ``side``: its width in Angstrom."""
    length = bar_length(side)
    return Tile(caption, png, length, length / side)


def as_png(image: Image.Image) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def reach_of(volume: Array, level: float) -> float:
    """Half the side of the centred cube that holds the surface, in voxels, with a margin."""
    box = volume.shape[0]
    found = np.argwhere(volume >= level) - box // 2
    return float(min(box / 2, max(6.0, 1.04 * np.percentile(np.abs(found).max(1), 99.98) + 2)))


def _half(volume: Array) -> int:
    """Half the side of the centred cube shown in slices, in voxels."""
    level = contour_level(volume)
    box = volume.shape[0]
    reach = 1.12 * reach_of(volume, level) if level > 0 else box // 2
    return int(min(box // 2, max(8, reach)))


def _cut(volume: Array, half: int, axis: int) -> Array:
    centre = volume.shape[0] // 2
    window = slice(centre - half, centre + half)
    return np.take(volume, centre, axis)[window, window]


def _sum(volume: Array, half: int, axis: int) -> Array:
    centre = volume.shape[0] // 2
    window = slice(centre - half, centre + half)
    return volume.sum(axis, dtype=np.float32)[window, window]


def _alike(images: list[Array]) -> list[NDArray[np.float64]]:
    """Images from 0 to 1, their contrast from the percentiles of all."""
    low, high = np.percentile(np.stack(images), (1.0, 99.7))
    return [np.clip((image - low) / max(high - low, 1e-12), 0.0, 1.0) for image in images]


def _grey(image: NDArray[np.float64]) -> bytes:
    return as_png(Image.fromarray(np.round(255 * _enlarged(image)).astype(np.uint8)))


def _enlarged(image: NDArray[np.floating], order: Literal[1, 3] = 3) -> NDArray[np.float64]:
    """At `TILE` pixels a side, row 0 at the top (y upwards)."""
    factor = TILE / image.shape[0]
    grown = ndimage.zoom(np.asarray(image, np.float64), factor, order=order, mode="nearest")
    return np.clip(grown, 0.0, max(1.0, float(np.max(image, initial=0.0))))[::-1]


def _coloured(volume: Array, painted: Painted, level: float, half: int, axis: int) -> bytes:
    values = _enlarged(_cut(painted.volume, half, axis), order=1)
    strength = _enlarged(np.clip(_cut(volume, half, axis) / (1.5 * level), 0.0, 1.0))[..., None]
    known = values > 0
    colours = on_scale(np.where(known, values, np.nan), painted.low, painted.high)
    shade = 0.97 * (1.0 - strength) + strength * colours
    return as_png(Image.fromarray(np.round(255 * np.clip(shade, 0, 1)).astype(np.uint8)))

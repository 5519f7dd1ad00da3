"""What the viewer shows of a run, ready to draw: maps made small enough, surfaces, Gaussians."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from .. import fourier
from ..appearance import SURFACES, contour_level, on_scale, painted_range, rgb
from ..errors import InputError
from ..io.mrc import read_map
from ..io.ply import read_ply
from ..mixture import TENSORS
from ..run_folder import RunFolder
from .states import ShownStates, read_shown_states

Array = NDArray[np.float32]
LARGEST, SMALLEST = 160, 96
"""Sides in voxels between which maps are shown as they are."""
MASK_LEVEL = 0.5
FAINT = 0.15
"""Of a Gaussian's largest amplitude in any state: with less of it, it is not drawn."""
CLASS_COLOURS = (
    "#4878a8",
    "#d98c3f",
    "#5b9a68",
    "#b0577a",
    "#7a6bb0",
    "#8c8c4a",
    "#3f9a9a",
    "#a05a4a",
)


@dataclass(frozen=True, slots=True)
class Surface:
    """``points`` (n, 3) in Angstrom from the rotation centre, ``triangles`` (m, 3) of them, and
    ``normals`` (n, 3) that point outwards, all as (x, y, z).
    """

    points: Array
    triangles: NDArray[np.uint32]
    normals: Array


@dataclass(frozen=True, slots=True)
class ShownMap:
    """A map [z, y, x] as it is drawn; ``sigma`` in its units, ``colour`` from 0 to 1."""

    title: str
    volume: Array
    pixel_size: float
    sigma: float
    colour: NDArray[np.float64]

    @property
    def half_side(self) -> float:
        """Distance in Angstrom from the rotation centre to the first voxel."""
        return self.volume.shape[0] // 2 * self.pixel_size

    def surface(self, level: float) -> Surface:
        """The isosurface at ``level``; without triangles where the map does not cross it."""
        from skimage.measure import marching_cubes

        if not float(self.volume.min()) < level < float(self.volume.max()):
            nothing = np.zeros((0, 3), np.float32)
            return Surface(nothing, np.zeros((0, 3), np.uint32), nothing)
        corners, triangles, normals, _ = marching_cubes(self.volume, level)
        points = corners[:, ::-1] * self.pixel_size - self.half_side
        return Surface(
            points.astype(np.float32), triangles.astype(np.uint32), normals[:, ::-1].astype("f4")
        )

    def values_at(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """The map at ``points`` (n, 3) in Angstrom from the rotation centre, trilinearly."""
        where = ((points + self.half_side) / self.pixel_size)[:, ::-1].T
        return ndimage.map_coordinates(self.volume, where, order=1, mode="nearest", output=float)


@dataclass(frozen=True, slots=True)
class ShownGaussians:
    """Gaussians, the heaviest first: ``means`` and ``scales`` (k, 3) in Angstrom, unit
    ``quaternions`` (k, 4) as (w, x, y, z), ``amplitudes`` (k,), and ``colourings``, each a name and
    values (k,) with their range from good to bad. Of a state, ``shares`` (k,): amplitudes as shares of
    the largest in any state, None if all are whole; as many as ``faint`` have so little that they are
    left out.
    """

    means: Array
    scales: Array
    quaternions: Array
    amplitudes: Array
    colourings: dict[str, tuple[NDArray[np.float64], float, float]]
    shares: Array | None = None
    faint: int = 0

    @property
    def count(self) -> int:
        """How many there are, the faint ones among them."""
        return len(self.amplitudes) + self.faint

    def colours(self, name: str) -> NDArray[np.float64]:
        """Colours (k, 3) from 0 to 1 by one of the ``colourings``."""
        return on_scale(*self.colourings[name])

    def covariances(self) -> Array:
        """(k, 3, 3) in square Angstrom."""
        turns = Rotation.from_quat(self.quaternions.astype(float), scalar_first=True)
        half = turns.as_matrix() * self.scales[:, None, :]
        return (half @ half.transpose(0, 2, 1)).astype(np.float32)

    def opacities(self) -> Array:
        """(k,) from 0 to 1: each Gaussian's own peak density, relative to the densest."""
        peak = self.amplitudes / np.prod(np.maximum(self.scales, 1e-6), axis=1)
        top = float(np.percentile(peak, 95)) if len(peak) else 1.0
        return np.clip(0.7 * peak / max(top, 1e-30), 0.02, 0.95).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """A run to be looked at: its ``maps`` by title, ``gaussians``, and what to say about them."""

    name: str
    summary: dict[str, Any]
    maps: dict[str, ShownMap]
    mask: ShownMap | None
    local_resolution: ShownMap | None
    gaussians: ShownGaussians | None
    reduction: int
    states: ShownStates | None = None
    local_range: tuple[float, float] = (0.0, 1.0)
    """Local resolutions in Angstrom that are painted best and worst."""

    @property
    def suggested_sigmas(self) -> float:
        """The level, in sigmas of the first map, that encloses half of its mass."""
        first = next(iter(self.maps.values()))
        return contour_level(first.volume) / first.sigma if first.sigma > 0 else 1.0

    @property
    def reach(self) -> float:
        """Radius in Angstrom of a ball around the centre that holds the molecule."""
        first = next(iter(self.maps.values()))
        above = np.argwhere(first.volume > contour_level(first.volume)) - first.volume.shape[0] // 2
        if not len(above):
            return first.half_side
        return float(np.percentile(np.linalg.norm(above, axis=1), 99.5) * first.pixel_size)


def read_scene(folder: RunFolder) -> Scene:
    """What is shown of the run in ``folder``.

    Raises
    ------
    InputError
        There is no run, it has no map, or a file cannot be read.
    """
    summary = folder.read_summary().model_dump(exclude_none=True)
    first = folder.map
    if not first.exists():
        raise InputError(
            f"{first}: absent, expected the map of a finished run.\n"
            f"  Remedy: give the folder that cryosplat reconstruct wrote."
        )
    reduction = max(1, math.ceil(read_map(first).data.shape[0] / LARGEST))
    known = (
        ("Map", first, "map"), ("Half-map 1", folder.half1, "half 1"),
        ("Half-map 2", folder.half2, "half 2"), ("Voxel map", folder.voxel_map, "voxels"),
        ("Sharpened map", folder.sharpened, "map"), ("Truth", folder.truth, "half 2"),
        ("Motion undone", folder.states / "canonical.mrc", "half 1"),
    )  # fmt: skip
    maps = {
        title: _shown(title, path, rgb(SURFACES[colour]), reduction)
        for title, path, colour in known
        if path.exists()
    }
    for i, path in enumerate(sorted(folder.classes.glob("class_??.mrc"))):
        colour = rgb(CLASS_COLOURS[i % len(CLASS_COLOURS)])
        maps[f"Class {i + 1}"] = _shown(f"Class {i + 1}", path, colour, reduction)
    grey = rgb("#9aa4ab")
    mask, local = (
        _shown(title, path, grey, reduction, refine=False) if path.exists() else None
        for title, path in (("Mask", folder.mask), ("Local resolution", folder.painted_resolution))
    )
    states = read_shown_states(folder)
    gaussians = _gaussians(folder, local) if states is None else of_state(states, states.middle())
    name = (folder.target or folder.path).name
    painted = (0.0, 1.0)
    if local is not None:
        volume = reduced(read_map(first).data, reduction)
        _, low, high = painted_range(local.volume, volume)
        painted = (low, high) if np.isfinite(low) else painted
    return Scene(name, summary, maps, mask, local, gaussians, reduction, states, painted)


def read_growing(path: Path) -> tuple[str, ShownMap, float]:
    """How far a run has come that is being made, its map, and the radius that holds the molecule.

    Raises `CryosplatError` where the file cannot be read.
    """
    title = re.sub(r"^cryosplat \S+ ?", "", read_map(path).label)
    shown = _shown("Map", path, rgb(SURFACES["map"]), 1)
    scene = Scene("", {}, {"Map": shown}, None, None, None, 1)
    return title, shown, scene.reach


def of_state(states: ShownStates, at: Sequence[float]) -> ShownGaussians:
    """The Gaussians of a state without those that are faint in it, coloured by how much they differ
    between states."""
    mixture = states.at(at)
    means, scales, quaternions, amplitudes = (getattr(mixture, n).numpy() for n in TENSORS)
    shares = np.clip(amplitudes / states.largest, 0.0, 1.0).astype(np.float32)
    order = np.argsort(-amplitudes, kind="stable")
    order = order[shares[order] >= FAINT]
    way, low, high = _ranged(states.way)
    colourings = {
        "difference between states": (way[order], low, high),
        "amplitude": _ranged(np.arange(len(order))),
    }
    return ShownGaussians(
        means[order], scales[order], quaternions[order], amplitudes[order], colourings,
        shares[order] if (shares < 1.0).any() else None, len(shares) - len(order),
    )  # fmt: skip


def _shown(
    title: str, path: Path, colour: NDArray[np.float64], reduction: int, refine: bool = True
) -> ShownMap:
    file = read_map(path)
    volume, pixel = reduced(file.data, reduction), file.pixel_size * reduction
    if refine and reduction == 1 and volume.shape[0] < SMALLEST:
        volume, pixel = refined(volume), pixel / 2
    return ShownMap(title, volume, pixel, float(file.data.std()), colour)


def reduced(volume: Array, factor: int) -> Array:
    """Every ``factor``-th voxel around the rotation centre, after a blur of as many voxels."""
    if factor == 1:
        return np.ascontiguousarray(volume, np.float32)
    blurred = ndimage.gaussian_filter(volume.astype(np.float32), 0.4 * factor)
    first = volume.shape[0] // 2 % factor
    kept = blurred[first::factor, first::factor, first::factor]
    centre = (volume.shape[0] // 2 - first) // factor
    side = 2 * min(centre, kept.shape[0] - centre)
    begin = centre - side // 2
    return np.ascontiguousarray(kept[(slice(begin, begin + side),) * 3])


def refined(volume: Array) -> Array:
    """The map on twice as many voxels per axis, by zero-padding its transform."""
    finer = fourier.resample(torch.from_numpy(volume.astype(np.float32)), 2 * len(volume), 3)
    return (8.0 * finer).numpy()  # values are kept, not sums


def _gaussians(folder: RunFolder, local: ShownMap | None) -> ShownGaussians | None:
    if not folder.gaussians.exists():
        return None
    ply = read_ply(folder.gaussians).whole()
    order = np.argsort(-ply.amplitudes, kind="stable")
    means = ply.means[order]
    colourings = {"amplitude": _ranged(-np.argsort(np.argsort(ply.amplitudes))[order])}
    if local is not None:
        values = local.values_at(means)
        colourings["local resolution"] = _ranged(np.where(values > 0, values, np.nan))
    if ply.sigma_position is not None and np.isfinite(ply.sigma_position).any():
        colourings["uncertainty of position"] = _ranged(ply.sigma_position[order])
    colourings["width"] = _ranged(np.exp(np.log(ply.scales[order]).mean(1)))
    return ShownGaussians(
        means, ply.scales[order], ply.quaternions[order], ply.amplitudes[order], colourings
    )


def _ranged(values: NDArray[Any]) -> tuple[NDArray[np.float64], float, float]:
    values = values.astype(float)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (5, 95)) if len(known) else (0.0, 1.0)
    return values, float(low), float(max(high, low + 1e-9))

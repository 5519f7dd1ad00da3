"""What ChimeraX opens: a script with all maps of the run, and its Gaussians as ellipsoids.

BILD has spheres only, but spheres under a transformation: ``.translate``, ``.rotate`` and
``.scale`` with three factors make an ellipsoid of one sphere. ChimeraX draws each with 200
triangles in one model, so the heaviest Gaussians open at once; one ``shape ellipsoid`` command for
each would make as many models.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..appearance import SCALE, SURFACES, contour_level, on_scale
from ..io.ply import PlyMixture
from ..run_folder import write_text
from ._quality import local_resolution
from .evidence import Evidence
from .surface import Painted

MOST = 2000
"""Ellipsoids: 400,000 triangles."""
SIGMAS = 1.0
"""Semi-axes of the ellipsoids in standard deviations of their Gaussians."""


def write_chimerax(run: Evidence) -> Path:
    """Write ``open_in_chimerax.cxc`` and, where the run has Gaussians, ``gaussians.bild``."""
    folder = run.folder
    volume = run.map(folder.map)
    level = contour_level(volume) if volume is not None else 0.0
    painted = local_resolution(run)
    models = [
        (folder.map, SURFACES["map"]), (folder.half1, SURFACES["half 1"]),
        (folder.half2, SURFACES["half 2"]), (folder.voxel_map, SURFACES["voxels"]),
        (folder.sharpened, SURFACES["map"]),
    ]  # fmt: skip
    lines = ["# chimerax open_in_chimerax.cxc"]
    number = 0
    for path, colour in models:
        if path.exists():
            number += 1
            lines += [f"open {path.name} id {number}", f"color #{number} {colour}"]
            if path != folder.sharpened:
                lines.append(f"volume #{number} step 1 style surface level {level:.6g}")
            else:
                lines.append(f"volume #{number} step 1 style surface sdLevel 5")
    if number > 1:
        lines.append(f"hide #2-{number} models")
    if painted is not None:
        stops = np.linspace(painted.low, painted.high, len(SCALE))
        palette = ":".join(f"{stop:.3g},{c}" for stop, c in zip(stops, SCALE, strict=True))
        lines += [
            f"open {folder.local_resolution.name} id 20",
            "hide #20 models",
            f"color sample #1 map #20 palette {palette}",
        ]
    mixture = run.mixture()
    if mixture is not None and len(mixture.amplitudes):
        _write_ellipsoids(run, mixture, painted)
        lines += [f"open {folder.ellipsoids.name} id 30", "hide #30 models"]
    lines.append("set bgColor white; lighting soft; graphics silhouettes true; view")
    return write_text(folder.chimerax, "\n".join(lines) + "\n")


def _write_ellipsoids(run: Evidence, mixture: PlyMixture, painted: Painted | None) -> None:
    """The heaviest Gaussians, coloured by local resolution where known, else by amplitude."""
    heaviest = np.argsort(-mixture.amplitudes)[:MOST]
    means = mixture.means[heaviest].astype(float)
    centres = means + run.box_size // 2 * run.pixel_size
    scales = SIGMAS * mixture.scales[heaviest]
    turns = Rotation.from_quat(mixture.quaternions[heaviest][:, [1, 2, 3, 0]]).as_rotvec()
    if painted is not None:
        inside = np.clip(np.round(centres / run.pixel_size).astype(int), 0, run.box_size - 1)
        values = painted.volume[inside[:, 2], inside[:, 1], inside[:, 0]]
        colours = on_scale(np.where(values > 0, values, np.nan), painted.low, painted.high)
    else:
        ranks = np.linspace(0.0, 1.0, len(heaviest))
        colours = on_scale(ranks, 0.0, 1.0)
    lines = [f".comment the {len(heaviest)} heaviest of {len(mixture.amplitudes)} Gaussians"]
    for centre, scale, turn, colour in zip(centres, scales, turns, colours, strict=True):
        angle = float(np.linalg.norm(turn))
        axis = turn / angle if angle > 0 else (0.0, 0.0, 1.0)
        lines += [
            ".color {:.3f} {:.3f} {:.3f}".format(*colour),
            ".translate {:.3f} {:.3f} {:.3f}".format(*centre),
            ".rotate {:.3f} {:.5f} {:.5f} {:.5f}".format(math.degrees(angle), *axis),
            ".scale {:.4f} {:.4f} {:.4f}".format(*scale),
            ".sphere 0 0 0 1",
            ".pop",
            ".pop",
            ".pop",
        ]
    write_text(run.folder.ellipsoids, "\n".join(lines) + "\n")

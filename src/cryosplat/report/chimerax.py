"""What ChimeraX opens: a script with all maps of the run, and its Gaussians."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..appearance import SCALE, SURFACES, contour_level, level_like
from ..io.atomic import write_text
from ._quality import local_resolution
from .ellipsoids import Ellipsoids, write_bild, write_cif
from .evidence import Evidence


def write_chimerax(run: Evidence) -> Path:
    """Write ``open_in_chimerax.cxc`` and the Gaussians, where there are any, as .cif and .bild."""
    folder = run.folder
    volume = run.map(folder.map)
    level = contour_level(volume) if volume is not None else 0.0
    painted = local_resolution(run)
    models = [
        (folder.map, SURFACES["map"]), (folder.half1, SURFACES["half 1"]),
        (folder.half2, SURFACES["half 2"]), (folder.voxel_map, SURFACES["voxels"]),
        (folder.sharpened, SURFACES["map"]),
    ]  # fmt: skip
    sharpened = run.map(folder.sharpened)
    lines = ["# chimerax open_in_chimerax.cxc"]
    number = 0
    for path, colour in models:
        if path.exists():
            number += 1
            lines += [f"open {path.name} id {number}", f"color #{number} {colour}"]
            if path == folder.sharpened and sharpened is not None and volume is not None:
                level = level_like(sharpened, volume, run.map(folder.mask))
            lines.append(f"volume #{number} step 1 style surface level {level:.6g}")
    if number > 1:
        lines.append(f"hide #2-{number} models")
    if painted is not None:
        stops = np.linspace(painted.low, painted.high, len(SCALE))
        palette = ":".join(f"{stop:.3g},{c}" for stop, c in zip(stops, SCALE, strict=True))
        lines += [
            f"open {folder.painted_resolution.name} id 20",
            "hide #20 models",
            f"color sample #1 map #20 palette {palette}",
        ]
    ellipsoids = Ellipsoids.of(run)
    if ellipsoids is not None:
        write_cif(folder.pseudo_atoms, ellipsoids)
        write_bild(folder.ellipsoids, ellipsoids)
        lines += [
            "# all Gaussians as ellipsoids: show #30 models",
            f"open {folder.ellipsoids.name} id 30",
            "hide #30 models",
            "# and as pseudo-atoms (occupancy: amplitude, U: covariance): show #31 models",
            f"open {folder.pseudo_atoms.name} id 31",
            "hide #31 models",
        ]
    lines.append("set bgColor white; lighting soft; graphics silhouettes true; view")
    return write_text(folder.chimerax, "\n".join(lines) + "\n")

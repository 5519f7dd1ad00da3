"""Refined poses in a run's folder: a table of what moved, and FSC curves before and after."""

from __future__ import annotations

import csv
import io

from ..reconstruction import Refinement
from .folder import RunFolder, write_text

HEADER = (
    "image", "half_set", "degrees", "shift_x_angstrom", "shift_y_angstrom", "log_likelihood",
    "max_probability", "significant_samples",
)  # fmt: skip
CURVES = "cross, given poses", "cross, refined poses"
"""Names in ``fsc.csv``: both made by the refinement's own fits."""


def write_poses(folder: RunFolder, found: Refinement) -> None:
    """Write ``poses.csv``."""
    degrees, shifts = found.changes()
    columns = (
        found.particles.half_sets, degrees, shifts[:, 0], shifts[:, 1], found.likelihood,
        found.peak, found.samples,
    )  # fmt: skip
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    values = zip(*(column.tolist() for column in columns), strict=True)
    for name, row in zip(found.particles.names, values, strict=True):
        rows.writerow([name, *("" if v != v else f"{v:.6g}" for v in row)])
    write_text(folder.poses, text.getvalue())


def pose_curves(found: Refinement) -> dict[str, list[float]]:
    """FSC of mixtures with voxels of the other half-set, before and after."""
    chosen = (found.rounds[0], found.rounds[found.best])
    pairs = zip(CURVES, chosen, strict=True)
    return {name: each.cross_fsc for name, each in pairs if found.best or each is chosen[0]}

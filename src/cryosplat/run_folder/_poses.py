"""Refined poses in a run's folder: a table of what moved, and FSC curves before and after."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import torch
from torch import Tensor

from ..io.atomic import write_text
from ..particles import Particles
from ..reconstruction import Refinement
from .folder import RunFolder

HEADER = (
    "image", "half_set", "degrees", "shift_x_angstrom", "shift_y_angstrom", "defocus_angstrom",
    "log_likelihood", "max_probability", "significant_samples", "micrograph",
)  # fmt: skip
CURVES = "cross, given poses", "cross, refined poses"
"""Names in ``fsc.csv``: both made by the refinement's own fits."""


def write_poses(folder: RunFolder, found: Refinement) -> None:
    """Write ``poses.csv``."""
    degrees, shifts = found.changes()
    columns = (
        found.particles.half_sets, degrees, shifts[:, 0], shifts[:, 1], found.optics.defocus,
        found.likelihood, found.peak, found.samples, _micrographs(found.particles),
    )  # fmt: skip
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    values = zip(*(column.tolist() for column in columns), strict=True)
    for name, row in zip(found.particles.names, values, strict=True):
        rows.writerow([name, *("" if v != v else f"{v:.6g}" for v in row)])
    write_text(folder.poses, text.getvalue())


def _micrographs(particles: Particles) -> Tensor:
    """The number of each particle's micrograph (n,), from 1; NaN where that is unknown."""
    unit = particles.micrographs
    if unit is None:
        return torch.full((len(particles),), math.nan)
    return torch.from_numpy(np.unique(unit, return_inverse=True)[1].reshape(-1)) + 1


def pose_curves(found: Refinement) -> dict[str, list[float]]:
    """FSC of mixtures with voxels of the other half-set, before and after."""
    chosen = (found.rounds[0], found.rounds[found.best])
    pairs = zip(CURVES, chosen, strict=True)
    return {name: each.cross_fsc for name, each in pairs if found.best or each is chosen[0]}

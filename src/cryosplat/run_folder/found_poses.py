"""Poses that were found from nothing, as a folder: particles, the first maps, curves, numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import fourier
from ..abinitio import FoundPoses, Snapshot
from ..grid import Grid
from ..io.mrc import write_map, write_stack
from ..maps.fsc import resolution
from ..maps.views import view_distribution
from ..mixture import mean_of
from ..particles import Particles, write_particles
from ..provenance import provenance
from ..splatting import voxelize
from .folder import RunFolder
from .measured import Contrast, Views
from .places import write_places
from .schema import Provenance, RunSummary
from .searched import Abinit, AbinitScore

CURVE = "half-maps, unmasked"
THRESHOLDS = 0.5, 0.143
PICTURE = 64  # pixels of a projection of the growing map


def write_found_poses(folder: RunFolder, found: FoundPoses) -> RunFolder:
    """Fill ``folder`` with what was found and commit it; returns the finished run.

    Where no structure was found there are no particles and no maps. Raises `OutputError`.
    """
    particles = found.particles
    grid = Grid(particles.box_size, particles.pixel_size)
    level = Grid(found.level, grid.side / found.level)
    if found.found:
        write_particles(with_significance(particles, found.significance), folder.particles)
        write_places(folder, particles.poses, found.others)
        both = mean_of(found.mixtures)
        paths = (
            (folder.map, folder.gaussians, both),
            (folder.half1, folder.half1_gaussians, found.mixtures[0]),
            (folder.half2, folder.half2_gaussians, found.mixtures[1]),
        )
        for path, gaussians, mixture in paths:
            write_map(path, voxelize(mixture, grid).numpy(), grid.pixel_size)
            mixture.save(gaussians)
        curve = torch.full((grid.n_shells,), math.nan, dtype=torch.float64)
        n = min(len(found.fsc), len(curve))
        curve[:n] = found.fsc[:n]
        folder.write_fsc_csv(grid.shell_frequencies().tolist(), {CURVE: curve.tolist()})
    if found.history:
        write_stack(folder.growth, _projections(found.history), grid.side / PICTURE)
    folder.write_summary(_summary(found, level))
    return folder.commit()


def with_significance(particles: Particles, significance: Tensor) -> Particles:
    """The particles with the weight of each one's best pose, in the column that RELION gives it."""
    column = significance.double().numpy().round(6)
    table = particles.table.assign(rlnMaxValueProbDistribution=column)
    return replace(particles, table=table)


def _projections(history: tuple[Snapshot, ...]) -> np.ndarray:
    """Each map summed along z, (n, PICTURE, PICTURE), in its own grey scale."""
    images = [fourier.resample(shot.map.sum(0), PICTURE, 2) for shot in history]
    return np.stack([(i / i.abs().max().clamp_min(1e-30)).numpy() for i in images])


def _summary(found: FoundPoses, level: Grid) -> RunSummary:
    particles, settings = found.particles, found.settings
    at = {str(t): resolution(found.fsc, level, t) for t in THRESHOLDS}
    reached = at["0.143"]
    n_half = torch.bincount(particles.half_sets.long(), minlength=3)[1:].tolist()
    stored = [sum(map(len, found.mixtures)), *map(len, found.mixtures)]
    told: dict[str, Any] = {}
    if found.found:
        told = {
            "resolution": reached.angstrom,
            "resolution_at_nyquist": False,
            "resolution_from": "found-poses",
            "resolution_reason": "The FSC of two half-maps whose poses were refined apart; both "
            f"started from one map of {found.shared_resolution:.0f} Å."
            + (reached.at_nyquist * f" Images of {found.level} pixels show no finer detail."),
            "resolutions": {CURVE: {t: value.angstrom for t, value in at.items()}},
            "gaussians": [found.mixtures[0].copies * n for n in stored],
            "gaussians_stored": stored,
            "symmetry": found.symmetry,
            "views": Views.model_validate(view_distribution(particles.poses).summary()),
        }
    scores = [AbinitScore(gain=s.gain, shape=s.shape, doubt=s.doubt) for s in found.scores]
    return RunSummary(
        particles=str(particles.source.absolute()),
        box_size=particles.box_size,
        pixel_size=particles.pixel_size,
        n_particles=len(particles),
        n_half=n_half,
        contrast=Contrast(**asdict(found.contrast)),
        notes=list(found.notes),
        timings=dict(found.timings),
        settings=settings.to_dict(),
        provenance=Provenance.model_validate(provenance()),
        abinit=Abinit(
            found=found.found,
            starts=scores,
            chosen=found.chosen,
            hand_flipped=settings.flip,
            shared_resolution=found.shared_resolution,
            level=found.level,
            unseen_images=found.scores[0].n,
            refinement=found.refinement.to_dict() if found.found else None,
            growth=[shot.title for shot in found.history],
        ),
        **told,
    )

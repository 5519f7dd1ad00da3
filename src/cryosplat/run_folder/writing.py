"""A reconstruction as a folder: maps, Gaussians, curves, numbers."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
from torch import Tensor

from ..io.atomic import write_text
from ..io.mrc import write_map, write_stack
from ..maps.fsc import fourier_shell_correlation
from ..maps.model_fit import ResidueFit
from ..particles import write_particles
from ..reconstruction import Reconstruction, Refinement
from ._poses import pose_curves, write_poses
from .curves import DEPOSITED, MEASURED, curves_of
from .folder import RunFolder
from .summary import summary_of


def write_run(
    folder: RunFolder,
    result: Reconstruction,
    truth: Tensor | None = None,
    refinement: Refinement | None = None,
) -> RunFolder:
    """Fill ``folder`` with all of ``result`` and commit it; returns the finished run.

    Everything is written but what is drawn from it: report, figures and scripts are made from the
    finished run (`report.run.write_report`), so that nothing that fails there can cost it.
    ``truth``: the true map (d, d, d), where the particles are simulated. ``refinement``: how the
    poses were refined before, where they were.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    curves = curves_of(result)
    if truth is not None:
        curves[MEASURED] = fourier_shell_correlation(result.maps.full, truth)
    _write_particles(folder, result, refinement)
    if refinement is not None:
        write_poses(folder, refinement)
    _write_maps(folder, result, truth)
    _write_gaussians(folder, result)
    if result.quality.model is not None:
        _write_residues(folder, result.quality.model.residues)
    frequencies = result.grid.shell_frequencies().tolist()
    values = {name: curve.tolist() for name, curve in curves.items()}
    values |= {} if refinement is None else pose_curves(refinement)
    folder.write_fsc_csv(frequencies, values)
    folder.write_fsc_xml(frequencies, values[DEPOSITED], f"FSC {DEPOSITED}")
    folder.write_summary(summary_of(result, curves, refinement))
    return folder.commit()


def _write_particles(
    folder: RunFolder, result: Reconstruction, refinement: Refinement | None
) -> None:
    """The particles as they were used, where the run knows more of them than their file."""
    worth, particles = result.worth, result.particles
    if worth is not None and worth.used:
        table = particles.table.assign(
            cryosplatWeight=worth.weights.numpy().round(4),
            cryosplatScale=worth.scales.numpy().round(4),
        )
        particles = replace(particles, table=table)
        write_particles(particles[worth.kept], folder.kept_particles)
    renewed = refinement is not None and (refinement.best > 0 or refinement.drew_half_sets)
    if result.drew_half_sets or renewed or particles is not result.particles:
        write_particles(particles, folder.particles)
    if result.examples is not None and len(result.examples.index):
        pictures = result.examples.pictures.flatten(0, 1).numpy().astype(np.float32)
        write_stack(folder.examples, pictures, result.grid.pixel_size)


def _write_maps(folder: RunFolder, result: Reconstruction, truth: Tensor | None) -> None:
    quality = result.quality
    volumes = [
        (folder.map, result.maps.full), (folder.half1, result.maps.half1),
        (folder.half2, result.maps.half2), (folder.voxel_map, result.voxels.full),
        (folder.voxel_half1, result.voxels.half1), (folder.voxel_half2, result.voxels.half2),
        (folder.mask, result.mask), (folder.sharpened, quality.sharpened.map),
        (folder.local_resolution, quality.local.map),
        (folder.local_resolution_voxels, quality.local_of_voxels.map), (folder.truth, truth),
    ]  # fmt: skip
    for path, volume in volumes:
        if volume is not None:
            write_map(path, volume.numpy().astype(np.float32), result.grid.pixel_size)


def _write_gaussians(folder: RunFolder, result: Reconstruction) -> None:
    """Those of the map with what the halves disagree by."""
    error = result.quality.uncertainty
    errors = {
        "sigma_position": error.position.numpy(), "sigma_amplitude": error.amplitude.numpy()
    }  # fmt: skip
    paths = folder.gaussians, folder.half1_gaussians, folder.half2_gaussians
    for path, mixture, extra in zip(paths, result.mixtures, (errors, {}, {}), strict=True):
        mixture.save(path, extra=extra)


def _write_residues(folder: RunFolder, residues: tuple[ResidueFit, ...]) -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["chain", "number", "name", "correlation"])
    rows.writerows([r.chain, r.number, r.name, round(r.correlation, 4)] for r in residues)
    write_text(folder.residues, text.getvalue())

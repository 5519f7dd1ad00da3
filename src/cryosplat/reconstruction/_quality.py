"""How good the map is, and where: masks, sharpening, local and directional resolution, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..grid import Grid
from ..io.mrc import write_map
from ..io.ply import write_ply
from ..maps.directional import directional_fsc
from ..maps.fsc import Resolution
from ..maps.local_resolution import local_resolution
from ..maps.model_fit import map_model_fsc
from ..maps.sharpening import sharpen
from ..maps.uncertainty import mixture_uncertainty
from ..maps.views import sampling_score, view_distribution
from ..mixture import GaussianMixture
from ..poses import Poses
from ..run_folder import RunFolder, write_text
from ..symmetry import equivalent


def write_sharpened(
    folder: RunFolder, volume: Tensor, fsc: Tensor, headline: Resolution, grid: Grid
) -> dict[str, Any]:
    """The map with its falloff undone, weighted by the FSC; what the Guinier plot says."""
    low_pass = headline.angstrom if headline.resolved else None
    sharpened = sharpen(volume, fsc, grid, low_pass=low_pass)
    write_map(folder.sharpened, sharpened.map.numpy().astype(np.float32), grid.pixel_size)
    return sharpened.summary()


def write_local_resolution(
    folder: RunFolder, halves: list[Tensor], voxels: list[Tensor], mask: Tensor, grid: Grid
) -> dict[str, Any]:
    """Maps of local resolution from the half-maps of mixtures and of voxels; the mixtures' summary.

    The halves of mixtures share a prior, those of voxels do not: both are given.
    """
    ours = local_resolution(halves[0], halves[1], mask, grid)
    base = local_resolution(voxels[0], voxels[1], mask, grid)
    for path, found in ((folder.local_resolution, ours), (folder.local_resolution_voxels, base)):
        write_map(path, found.map.numpy().astype(np.float32), grid.pixel_size)
    return ours.summary() | {"voxels": base.summary()}


def directions(
    halves: list[Tensor], mask: Tensor, poses: Poses, grid: Grid, symmetry: str
) -> dict[str, Any]:
    """Resolution by direction, and how the views are spread over the sphere.

    With a ``symmetry``, each view is one of its equivalents, at random: so the map is seen.
    """
    directional = directional_fsc(halves[0], halves[1], mask, grid)
    if symmetry != "C1":
        spread = equivalent(poses.rotations.numpy(), symmetry, np.random.default_rng(0))
        poses = replace(poses, rotations=torch.from_numpy(spread))
    score = {"scf": sampling_score(poses.rotations)}
    return {
        "directional": directional.summary() | score,
        "views": view_distribution(poses).summary(),
    }


def write_gaussians(
    folder: RunFolder, mixtures: list[GaussianMixture], halves: list[Tensor], grid: Grid
) -> dict[str, Any]:
    """Mixtures [full, half 1, half 2] as PLY files, the full one's with what the halves disagree by."""
    error = mixture_uncertainty(mixtures[0], halves[0], halves[1], grid)
    columns = {
        "sigma_position": error.position.numpy(),
        "sigma_amplitude": error.amplitude.numpy(),
    }
    paths = folder.gaussians, folder.half1_gaussians, folder.half2_gaussians
    for path, mixture, extra in zip(paths, mixtures, (columns, {}, {}), strict=True):
        write_ply(
            path, mixture.means.numpy(), mixture.scales.numpy(), mixture.quaternions.numpy(),
            mixture.amplitudes.numpy(), extra=extra, symmetry=mixture.symmetry,
        )  # fmt: skip
    return error.summary()


def against_model(
    folder: RunFolder, volume: Tensor, mask: Tensor, grid: Grid, model: Path
) -> tuple[dict[str, Any], Tensor]:
    """Agreement with an atomic model, whole and per residue; its FSC with the map."""
    fit = map_model_fsc(volume, mask, grid, model)
    summary = fit.summary() | {"file": str(model)}
    rows = [["chain", "number", "name", "correlation"], *summary["residues"]]
    write_text(folder.residues, "".join(",".join(map(str, row)) + "\n" for row in rows))
    return summary, fit.fsc

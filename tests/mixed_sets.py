"""Particles whose images have several boxes and pixel sizes, in one star file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from data_sets import star_block
from dialects import write_mrc
from problems import blobs, random_optics
from torch import Tensor

from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.optics import OpticsGroup
from cryosplat.poses import euler_from_rotations, random_poses
from cryosplat.splatting import voxelize

FINE = Grid(64, 1.5)
"""Of the map that the images are slices of."""


@cache
def molecule(grid: Grid) -> Tensor:
    """Gaussians within some 25 Angstrom of the centre, whose sum is 1000."""
    found = blobs(150, 25.0, torch.Generator().manual_seed(5), 1.6)
    columns = found.means, found.scales, found.quaternions, found.amplitudes
    volume = voxelize(GaussianMixture(*(column.float() for column in columns)), grid)
    return volume * (1000.0 / float(volume.sum()))


def write_set(
    folder: Path, grids: tuple[Grid, ...], n: int, noise: float = 0.0, seed: int = 1
) -> Path:
    """n particles of `molecule`, dealt out to an optics group and a stack for each of ``grids``.

    What the particles are depends on n and seed alone, so that sets on other grids hold the same
    ones. The noise has deviation ``noise`` in every pixel.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = tuple(
        OpticsGroup(f"group{i}", g.pixel_size, g.box_size, 300e3, 2.7e7, 0.1)
        for i, g in enumerate(grids)
    )
    poses, optics = random_poses(n, generator, 4.0), random_optics(n, groups, generator)
    halves = torch.randperm(n, generator=generator) % 2 + 1
    group = torch.randperm(n, generator=generator) % len(grids)
    projector = VolumeProjector(molecule(FINE).float(), FINE)
    names = [""] * n
    for number, grid in enumerate(grids):
        optics.group[:] = number
        own = (group == number).nonzero().squeeze(1)
        images = form_images(projector, poses.select(own), optics.select(own), grid.box_size)
        images = images + noise * torch.randn(images.shape, generator=generator)
        write_mrc(folder / f"stack{number}.mrcs", images.numpy(), grid.pixel_size)
        for section, i in enumerate(own.tolist(), 1):
            names[i] = f"{section:06d}@stack{number}.mrcs"
    angles = np.rad2deg(euler_from_rotations(poses.rotations.numpy()))
    table = {
        "rlnOpticsGroup": [i + 1 for i in range(len(grids))],
        "rlnOpticsGroupName": [g.name for g in groups],
        "rlnVoltage": [300.0] * len(grids),
        "rlnSphericalAberration": [2.7] * len(grids),
        "rlnAmplitudeContrast": [0.1] * len(grids),
        "rlnImagePixelSize": [g.pixel_size for g in grids],
        "rlnImageSize": [g.box_size for g in grids],
        "rlnImageDimensionality": [2] * len(grids),
    }
    rows = {
        "rlnImageName": names,
        "rlnAngleRot": angles[:, 0],
        "rlnAngleTilt": angles[:, 1],
        "rlnAnglePsi": angles[:, 2],
        "rlnOriginXAngst": poses.shifts[:, 0].numpy(),
        "rlnOriginYAngst": poses.shifts[:, 1].numpy(),
        "rlnDefocusU": optics.defocus_u.numpy(),
        "rlnDefocusV": optics.defocus_v.numpy(),
        "rlnDefocusAngle": np.rad2deg(optics.defocus_angle.numpy()),
        "rlnPhaseShift": np.rad2deg(optics.phase_shift.numpy()),
        "rlnCtfBfactor": optics.b_factor.numpy(),
        "rlnCtfScalefactor": optics.scale.numpy(),
        "rlnRandomSubset": halves.numpy(),
        "rlnOpticsGroup": group.numpy() + 1,
    }
    path = folder / "particles.star"
    path.write_text(star_block("optics", table) + star_block("particles", rows))
    return path

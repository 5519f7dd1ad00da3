"""Writing particles as a RELION 3.1 star file, with the half-sets that were used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ..io.star import write_star
from ..poses import euler_from_rotations
from .resolving import resolve
from .values import Particles

# Columns of the source that this writer replaces, or that RELION 3.1 keeps in the optics table.
_REPLACED = {
    "rlnOriginX", "rlnOriginY", "rlnMagnification", "rlnDetectorPixelSize", "rlnImagePixelSize",
    "rlnImageSize", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast",
    "rlnOpticsGroupName",
}  # fmt: skip


def write_particles(particles: Particles, path: str | os.PathLike[str]) -> Path:
    """Write a star file of RELION 3.1, atomically; returns its path.

    Columns of the source that do not describe pose, CTF or half-set are kept. An image name that
    means the same file from the new place is kept too; others become absolute.
    """
    path = Path(path)
    table = particles.table.reset_index(drop=True).drop(columns=list(_REPLACED), errors="ignore")
    columns = {"rlnImageName": _names(particles, path), **_pose_columns(particles)}
    columns |= _ctf_columns(particles)
    columns["rlnOpticsGroup"] = particles.optics.group.numpy() + 1
    if particles.has_half_sets:
        columns["rlnRandomSubset"] = particles.half_sets.numpy().astype(np.int64)
    elif "rlnRandomSubset" in table:
        table = table.drop(columns="rlnRandomSubset")
    kept = table.drop(columns=[c for c in table.columns if c in columns])
    rows = pd.concat([pd.DataFrame(columns), kept], axis=1)
    write_star(path, {"optics": _optics_table(particles), "particles": rows})
    return path


def _pose_columns(particles: Particles) -> dict[str, np.ndarray]:
    angles = np.rad2deg(euler_from_rotations(particles.poses.rotations.numpy()))
    shifts = particles.poses.shifts.numpy()
    columns = {f"rlnAngle{name}": angles[:, i] for i, name in enumerate(("Rot", "Tilt", "Psi"))}
    columns |= {"rlnOriginXAngst": shifts[:, 0], "rlnOriginYAngst": shifts[:, 1]}
    return {label: np.round(values.astype(float), 6) + 0.0 for label, values in columns.items()}


def _ctf_columns(particles: Particles) -> dict[str, np.ndarray]:
    optics = particles.optics
    columns = {
        "rlnDefocusU": optics.defocus_u.numpy(),
        "rlnDefocusV": optics.defocus_v.numpy(),
        "rlnDefocusAngle": np.rad2deg(optics.defocus_angle.numpy()),
        "rlnPhaseShift": np.rad2deg(optics.phase_shift.numpy()),
        "rlnCtfBfactor": optics.b_factor.numpy(),
        "rlnCtfScalefactor": optics.scale.numpy(),
    }
    return {label: np.round(values, 6) + 0.0 for label, values in columns.items()}


def _optics_table(particles: Particles) -> pd.DataFrame:
    groups = particles.optics.groups
    columns = {
        "rlnOpticsGroup": range(1, len(groups) + 1),
        "rlnOpticsGroupName": [g.name.replace(" ", "_") for g in groups],
        "rlnVoltage": [g.voltage / 1e3 for g in groups],
        "rlnSphericalAberration": [round(g.spherical_aberration / 1e7, 9) for g in groups],
        "rlnAmplitudeContrast": [g.amplitude_contrast for g in groups],
        "rlnImagePixelSize": [g.pixel_size for g in groups],
        "rlnImageSize": [g.box_size for g in groups],
        "rlnImageDimensionality": 2,
    }
    table = pd.DataFrame(columns)
    kept = particles.optics_table.drop(columns=list(columns), errors="ignore")
    if len(kept) == len(table):
        table = pd.concat([table, kept.reset_index(drop=True)], axis=1)
    return table


def _names(particles: Particles, path: Path) -> list[str]:
    """Image names that mean the same files when read from the folder of ``path``."""
    images = particles.images
    files = [name.partition("@")[2] for name in particles.names]
    place: dict[tuple[int, str], str] = {}
    for stack, file in zip(images.stack.tolist(), files, strict=True):
        if (stack, file) not in place:
            held = images.stacks[stack].path.absolute()
            found = resolve(file, path, None)
            same = found is not None and found.absolute().samefile(held)
            place[stack, file] = file if same else str(held)
    return [
        f"{section + 1:06d}@{place[stack, file]}"
        for stack, section, file in zip(images.stack, images.section, files, strict=True)
    ]

"""Writing particles as a RELION 3.1 star file, with their half-sets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ...io.star import is_writable, write_star
from ...notes import Note
from ...poses import euler_from_rotations, rotations_from_euler
from ..resolving import resolve
from ..tables import integer_codes
from ..values import Particles
from ._aberrations import aberration_columns
from ._exposure import tilt_images
from ._table import StarTable

# Columns of the source that this writer replaces, or that RELION 3.1 keeps in the optics table.
_REPLACED = {
    "rlnOriginX", "rlnOriginY", "rlnMagnification", "rlnDetectorPixelSize", "rlnImagePixelSize",
    "rlnImageSize", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast",
    "rlnOpticsGroupName",
}  # fmt: skip
_DECIMALS = 6
_ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]


def write_particles(particles: Particles, path: str | os.PathLike[str]) -> Path:
    """Write a star file of RELION 3.1, atomically; returns its path.

    All other columns of the source are kept, and so are its own numbers where they equal what would
    be written. An image name that resolves to the same file from the new place is kept too; others
    become absolute. Columns for micrographs, filaments and tilt images are added where none exist.
    """
    path = Path(path)
    optics = _optics_table(particles)
    table = particles.table.reset_index(drop=True)
    columns = {"rlnImageName": _image_names(particles, path), **physical_columns(particles)}
    columns["rlnOpticsGroup"] = particles.optics.group.numpy() + 1
    if particles.has_half_sets:
        columns["rlnRandomSubset"] = particles.half_sets.numpy().astype(np.int64)
    replaced = {*_REPLACED, *columns, "rlnRandomSubset", *_in_optics(particles, table, optics)}
    kept = table.drop(columns=[c for c in table.columns if c in replaced])
    rows = pd.concat([pd.DataFrame(columns), kept], axis=1)
    rows = rows.assign(**_membership(particles, rows))
    write_star(path, {"optics": optics, "particles": rows})
    return path


def _membership(particles: Particles, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Columns of micrographs, filaments and tilt images, where ``rows`` do not have them."""
    columns: dict[str, np.ndarray] = {}
    if len(rows) == 0:
        return columns
    micrographs, filaments, tilts = (
        None if unit is None else integer_codes(unit)
        for unit in (particles.micrographs, particles.filaments, particles.tilt_particles)
    )
    if filaments is not None and "rlnHelicalTubeID" not in rows:
        columns["rlnHelicalTubeID"] = filaments + 1
    nested = filaments is None or micrographs is None or _divides(filaments, micrographs)
    if micrographs is not None and "rlnMicrographName" not in rows and nested:
        columns["rlnMicrographName"] = _numbered("micrograph", micrographs)
    if tilts is not None and not _are_known(tilts, rows) and not _dose_would_apply(particles, rows):
        columns["rlnTomoParticleName"] = _numbered("particle", tilts)
    return columns


def _numbered(name: str, unit: np.ndarray) -> np.ndarray:
    return np.array([f"{name}{i:06d}" for i in range(1, int(unit.max()) + 2)], dtype=object)[unit]


def _divides(part: np.ndarray, whole: np.ndarray) -> bool:
    """Whether each ``part`` lies in one ``whole``: RELION numbers filaments by micrograph."""
    return len(np.unique(part * (whole.max() + 1) + whole)) == len(np.unique(part))


def _are_known(tilts: np.ndarray, rows: pd.DataFrame) -> bool:
    """Whether the reader will find the tilt images of a particle from the columns of ``rows``."""
    known = _read_tilts(rows)
    return known is not None and np.array_equal(known, tilts)


def _read_tilts(rows: pd.DataFrame) -> np.ndarray | None:
    return tilt_images(StarTable(Path(), "", rows, pd.DataFrame(), np.zeros(len(rows), np.int64)))


def _dose_would_apply(particles: Particles, rows: pd.DataFrame) -> bool:
    """Whether exposures that are not applied would be, if the rows became tilt images."""
    label = "rlnMicrographPreExposure"
    if label not in rows or bool(particles.optics.dose.any()):
        return False
    return bool(np.any(np.asarray(pd.to_numeric(rows[label], errors="coerce")) != 0.0))


def star_losses(particles: Particles) -> list[Note]:
    """Notes on what a star file cannot express of the particles."""
    sign = particles.images.sign
    if sign is None:
        return []
    return [Note(
        "data-signs-not-written", "warning",
        f"{int((sign < 0).sum())} of {len(sign)} images are stored with the opposite contrast, which "
        f"RELION cannot read from a star file; cryosplat reads it from the column cs/blob/sign.",
        "Invert those images before using them in RELION.",
    )]  # fmt: skip


def physical_columns(particles: Particles) -> dict[str, np.ndarray]:
    """Angles, origins, and the CTF's columns (n,) under RELION's names and in its units."""
    table = particles.table
    return {**_pose_columns(particles, table), **_ctf_columns(particles, table)}


def _in_optics(particles: Particles, table: pd.DataFrame, optics: pd.DataFrame) -> list[str]:
    """Columns of the rows that repeat the optics table word for word."""
    group = particles.optics.group.numpy()
    common = [c for c in table.columns if c in optics]
    return [c for c in common if np.array_equal(optics[c].to_numpy()[group], table[c].to_numpy())]


def _pose_columns(particles: Particles, table: pd.DataFrame) -> dict[str, np.ndarray]:
    rotations = particles.poses.rotations.numpy()
    angles = np.rad2deg(euler_from_rotations(rotations))
    if all(label in table and _numeric(table, label) for label in _ANGLES):
        own = table[_ANGLES].to_numpy(float)
        error = np.abs(rotations_from_euler(np.deg2rad(own)) - rotations).max(axis=(1, 2))
        angles = np.where((error < 1e-9)[:, None], own, angles)
    shifts = particles.poses.shifts.numpy()
    columns = {label: _own_numbers(table, label, angles[:, i]) for i, label in enumerate(_ANGLES)}
    return columns | {
        label: _own_numbers(table, label, shifts[:, i])
        for i, label in enumerate(("rlnOriginXAngst", "rlnOriginYAngst"))
    }


def _ctf_columns(particles: Particles, table: pd.DataFrame) -> dict[str, np.ndarray]:
    optics = particles.optics
    columns = {
        "rlnDefocusU": optics.defocus_u.numpy(),
        "rlnDefocusV": optics.defocus_v.numpy(),
        "rlnDefocusAngle": np.rad2deg(optics.defocus_angle.numpy()),
        "rlnPhaseShift": np.rad2deg(optics.phase_shift.numpy()),
        "rlnCtfBfactor": _b_factors(particles, table),
        "rlnCtfScalefactor": optics.scale.numpy(),
    }
    return {label: _own_numbers(table, label, values) for label, values in columns.items()}


def _b_factors(particles: Particles, table: pd.DataFrame) -> np.ndarray:
    """B-factors (n,), in Warp's sign (negative for damping) where the source has that sign and the
    reader will recognise it again: it distinguishes tilt images from particles."""
    label, values = "rlnCtfBfactor", particles.optics.b_factor.numpy()
    if particles.tilt_particles is None or not (label in table and _numeric(table, label)):
        return values
    if (values < 0.0).any() or not (table[label].to_numpy() < 0.0).any():
        return values
    turned = table.assign(**{label: _own_numbers(table, label, -values)})
    return values if _read_tilts(turned) is None else -values


def _own_numbers(table: pd.DataFrame, label: str, values: np.ndarray) -> np.ndarray:
    """``values`` with six decimals, or the source's own numbers where they are the same."""
    rounded = _rounded(values)
    if not (label in table and _numeric(table, label)):
        return rounded
    own = table[label].to_numpy(float)
    return np.where(np.isclose(own, values, rtol=1e-12, atol=1e-12), own, rounded)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(values.astype(float), _DECIMALS) + 0.0


def _numeric(table: pd.DataFrame, label: str) -> bool:
    return pd.api.types.is_numeric_dtype(table[label])


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
    same = len(kept) == len(table)
    kept = kept.reset_index(drop=True) if same else pd.DataFrame(index=table.index)
    return pd.concat([table, aberration_columns(groups, kept)], axis=1)


def _image_names(particles: Particles, path: Path) -> list[str]:
    """Image names "000001@stack.mrcs" that resolve to the same files when read from ``path``.

    Where a folder has a name that no STAR file can hold, a path that leads around it; else the bare
    name of the file, for ``--datadir``.
    """
    images = particles.images
    files = [n.partition("@")[2] if "@" in n else n for n in map(str, particles.names)]
    place: dict[tuple[int, str], str] = {}
    for stack, file in zip(images.stack.tolist(), files, strict=True):
        if (stack, file) not in place:
            opened = images.stacks[stack].path.absolute()
            resolved = resolve(file, path, None)
            same = resolved is not None and resolved.absolute().samefile(opened)
            around = os.path.relpath(opened, path.absolute().parent)
            names = [*([file] if same else []), str(opened), around, opened.name]
            place[stack, file] = next(filter(is_writable, names), str(opened))
    return [
        f"{section + 1:06d}@{place[stack, file]}"
        for stack, section, file in zip(images.stack, images.section, files, strict=True)
    ]

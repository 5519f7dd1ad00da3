"""RELION 5's stacks of tilt images: one row per particle becomes one row per tilt image.

A particle's row says where it lies in the tomogram and how it is turned there; the tables of the tilt
series say how the tomogram was seen. A point r of the particle is seen in tilt image f at the first
two of ``P_f A_s (A r - o)``, from where the image was cut out: ``A`` and ``A_s`` are RELION's matrices
of rlnAngle... and rlnTomoSubtomogram..., ``o`` its origin in Angstrom, and ``P_f = Rz(rlnTomoZRot)
Ry(rlnTomoYTilt) Rx(rlnTomoXTilt)``, or what rlnTomoProjX, Y and Z hold. The depth of the particle
from the tomogram's centre along the beam, times rlnTomoHand, is added to the defocus.
(RELION 5, ``src/exp_model.cpp``, ``src/jaz/tomography/{tomogram,tomogram_set,particle_set}.cpp``.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import StackError, StarError
from ...poses import euler_from_rotations, rotations_from_euler
from ..images import ImageSource
from ..tables import numbers
from ._tilt_series import TiltSeries

_ANGLES = ("Rot", "Tilt", "Psi")
_CENTRED = tuple(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")
_CORNERED = tuple(f"rlnCoordinate{axis}" for axis in "XYZ")
_SUBTOMOGRAM = tuple(f"rlnTomoSubtomogram{angle}" for angle in _ANGLES)
_PARTICLE = tuple(f"rlnAngle{angle}" for angle in _ANGLES)
_ORIGIN = tuple(f"rlnOrigin{axis}Angst" for axis in "XYZ")
_NUMBERS = (*_CENTRED, *_CORNERED, *_SUBTOMOGRAM, *_PARTICLE, *_ORIGIN)
_VISIBLE = "rlnTomoVisibleFrames"
# Columns that the new rows express in other columns, and which would count twice.
_CONSUMED = (_VISIBLE, "rlnOriginZAngst", *_SUBTOMOGRAM)


@dataclass(frozen=True, slots=True)
class _Placement:
    """n particles of one tilt series: rotations ``subtomogram`` and ``particle`` (n, 3, 3), ``origins``
    and ``positions`` (n, 3) in Angstrom, the latter from the tomogram's centre."""

    subtomogram: NDArray[np.float64]
    particle: NDArray[np.float64]
    origins: NDArray[np.float64]
    positions: NDArray[np.float64]


def tilt_image_rows(rows: pd.DataFrame, series: dict[str, TiltSeries], where: str) -> pd.DataFrame:
    """One row for each visible tilt image of each particle, with the columns of single images.

    Particles stay in their order, tilt images in that of the tilt series, which is also that of the
    stacks. Columns that are none of a single image's are repeated.

    Raises
    ------
    StarError
        A column or a tilt series is missing, or the visible frames are not those of the series.
    """
    names = _checked_names(rows, series, where)
    values = {
        label: numbers(rows[label], label, where, StarError) for label in _NUMBERS if label in rows
    }
    number, used = pd.factorize(pd.Series(names))
    parts = []
    for i, name in enumerate(used):
        members = np.flatnonzero(number == i)
        placement = _placement(
            {label: v[members] for label, v in values.items()}, series[name], where
        )
        visible = _visible(rows, members, series[name], where)
        parts.append(
            {"row": members[np.nonzero(visible)[0]]} | _images(placement, visible, series[name])
        )
    columns = {label: np.concatenate([part[label] for part in parts]) for label in parts[0]}
    row = columns.pop("row")
    order = np.argsort(row, kind="stable")
    source, section = row[order], columns.pop("section")[order]
    kept = rows.drop(columns=[c for c in rows if c in columns or c in _CONSUMED]).iloc[source]
    new = pd.DataFrame({label: column[order] for label, column in columns.items()})
    stacks = kept["rlnImageName"].astype(str)
    new.insert(0, "rlnImageName", [f"{s:06d}@{n}" for s, n in zip(section, stacks, strict=True)])
    kept = kept.drop(columns="rlnImageName")
    table = pd.concat([new, kept.reset_index(drop=True)], axis=1)
    if "rlnTomoParticleName" not in table:
        table["rlnTomoParticleName"] = [f"{names[i]}/{i + 1}" for i in source]
    return table


def _checked_names(
    rows: pd.DataFrame, series: dict[str, TiltSeries], where: str
) -> NDArray[np.object_]:
    """The tilt series (n,) of all particles, where nothing is missing."""
    required = ["rlnTomoName", "rlnImageName", _VISIBLE, *_PARTICLE]
    missing = [label for label in required if label not in rows]
    if not any(all(label in rows for label in way) for way in (_CENTRED, _CORNERED)):
        missing.append(_CENTRED[0].replace("X", "X/Y/Z"))
    if missing:
        raise StarError(
            f"{where}: missing {', '.join(missing)} ({len(rows)} particles).\n"
            f"  Remedy: give the particles.star of an extraction or a refinement of 2-D stacks."
        )
    names = rows["rlnTomoName"].astype(str).to_numpy(object)
    unknown = sorted(set(names) - set(series))
    if unknown:
        raise StarError(
            f"{where}: tilt series {unknown[0]!r} is not among the {len(series)} of the tomograms' "
            f"star file ({len(unknown)} such).\n"
            f"  Remedy: give the optimisation_set.star that names both files of this job."
        )
    return names


def _images(
    placement: _Placement, visible: NDArray[np.bool_], series: TiltSeries
) -> dict[str, NDArray]:
    """The columns of all ``visible`` (n, f) images of n particles, and the "section" of each."""
    particle, frame = np.nonzero(visible)
    projected = series.rotations[frame] @ placement.subtomogram[particle]
    angles = np.rad2deg(euler_from_rotations(projected @ placement.particle[particle]))
    origins = np.einsum("nij,nj->ni", projected, placement.origins[particle])
    depths = np.einsum("nj,nj->n", series.rotations[frame, 2], placement.positions[particle])
    depths -= origins[:, 2]
    return {
        "section": np.cumsum(visible, axis=1)[particle, frame],
        **{f"rlnAngle{a}": angles[:, i] for i, a in enumerate(_ANGLES)},
        "rlnOriginXAngst": origins[:, 0],
        "rlnOriginYAngst": origins[:, 1],
        "rlnDefocusU": series.defocus_u[frame] + series.hand * depths,
        "rlnDefocusV": series.defocus_v[frame] + series.hand * depths,
        "rlnDefocusAngle": series.defocus_angle[frame],
        "rlnPhaseShift": series.phase_shift[frame],
        "rlnCtfScalefactor": series.scale[frame],
        "rlnCtfBfactor": series.b_factor[frame],
        "rlnMicrographPreExposure": series.dose[frame],
    }


def _visible(
    rows: pd.DataFrame, members: NDArray[np.int64], series: TiltSeries, where: str
) -> NDArray[np.bool_]:
    """Which frames of the series each particle was cut out of, (n, frames)."""
    texts = rows[_VISIBLE].astype(str).to_numpy(object)[members]
    table = np.zeros((len(members), len(series)), dtype=bool)
    for i, text in enumerate(texts):
        flags = text.strip("[] ").split(",")
        if len(flags) != len(series) or not all(flag.strip() in ("0", "1") for flag in flags):
            raise StarError(
                f"{where} row {members[i] + 1}: {_VISIBLE} is {text[:60]!r}, expected {len(series)} "
                f"times 0 or 1, one for each row of tilt series {series.name!r} in {series.path}.\n"
                f"  The tilt series was probably changed after the extraction.\n"
                f"  Remedy: give the optimisation_set.star of the job that wrote the particles."
            )
        table[i] = [flag.strip() == "1" for flag in flags]
    invisible = np.flatnonzero(~table.any(axis=1))
    if len(invisible):
        raise StarError(
            f"{where} row {members[invisible[0]] + 1}: the particle is visible in no tilt image "
            f"({len(invisible)} particles of {series.name!r}).\n  Remedy: remove those rows."
        )
    return table


def _placement(
    values: dict[str, NDArray[np.float64]], series: TiltSeries, where: str
) -> _Placement:
    none = np.zeros(len(values["rlnAngleRot"]))

    def stacked(labels: tuple[str, ...]) -> NDArray[np.float64]:
        return np.stack([values.get(label, none) for label in labels], axis=1)

    if all(label in values for label in _CENTRED):
        positions = stacked(_CENTRED)
    else:
        positions = (stacked(_CORNERED) - series.centre(where)) * series.pixel_size
    return _Placement(
        rotations_from_euler(np.deg2rad(stacked(_SUBTOMOGRAM))),
        rotations_from_euler(np.deg2rad(stacked(_PARTICLE))),
        stacked(_ORIGIN),
        positions,
    )


def check_whole_stacks(images: ImageSource, rows: pd.DataFrame, where: str) -> None:
    """Raise `StackError` where a stack does not hold just the visible tilt images of its particle."""
    used = np.bincount(images.stack, minlength=len(images.stacks))
    bad = [i for i, stack in enumerate(images.stacks) if stack.n_images != used[i]]
    if bad:
        row = int(np.flatnonzero(images.stack == bad[0])[0])
        raise StackError(
            f"{where}: {images.stacks[bad[0]].path} holds {images.stacks[bad[0]].n_images} images, "
            f"but particle {rows['rlnTomoParticleName'].iloc[row]} is visible in {used[bad[0]]} tilt "
            f"images ({len(bad)} of {len(images.stacks)} stacks differ).\n"
            f"  The particles were probably extracted again.\n"
            f"  Remedy: give the particles.star of the extraction that wrote these stacks."
        )

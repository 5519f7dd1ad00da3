"""RELION star files, versions 3.0 to 5: what their columns mean.

A key of the CTF is looked for in the particle's row first, then in its optics group (RELION,
``src/ctf.cpp``, ``CTF::readValue``), pixel and box sizes in the optics group; where RELION would
then assume a value, voltage, Cs and amplitude contrast are required here. Files without optics
groups (3.0) give the pixel size as detector pixel over magnification and origins in pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ...errors import StackError, StarError
from ...optics import Optics
from ...poses import Poses, rotations_from_euler
from ..cryodrgn.reading import (
    optics_without_ctf,
    pickled_optics,
    pickled_poses,
    pixel_size_note,
    replaced_note,
    without_ctf,
)
from ..faults import StackFaults
from ..half_sets import checked_half_sets
from ..images import ImageSource, open_images
from ..tables.columns import codes, integers, scales, signs
from ..tables.exposure import damage, tilt_images
from ..tables.groups import group_rows
from ..tables.star import StarTable, open_star
from ..tables.tomography import check_whole_stacks
from ..values import Particles
from ._column_notes import column_notes
from ._optics_groups import (
    TableGroups,
    groups_table,
    table_groups,
    unheard_notes,
    with_table_effects,
)

# RELION's way to say a file's format, whatever its suffix.
_FORMAT = re.compile(r":mrcs?$")


def read_relion(
    path: Path, datadir: Path | None, poses: tuple[Path, ...], ctf: Path | None,
    pixel_size: float | None, faults: StackFaults | None = None,
) -> Particles:  # fmt: skip
    """Particles of a star file. Pickles ``poses`` and ``ctf`` replace the table's own columns, row
    by row, and ``pixel_size`` in Angstrom its pixel size."""
    table = open_star(path)
    notes = [*table.notes, *column_notes(table), *unheard_notes(table)]
    files, sections = _image_names(table)
    own_pixels = ctf is None or without_ctf(ctf)
    pixels = _pixel_sizes(table, pixel_size, notes) if own_pixels else np.empty(0)
    columns = _ctf_columns(table, notes) if ctf is None else {}
    angles = np.empty((0, 3)) if poses else _angles(table)
    table.require_all()
    half_sets = _half_sets(table, notes)
    sign = signs(table.numbers("cs/blob/sign"), notes) if table.has("cs/blob/sign") else None
    if faults is not None and table.has("rlnImageSize"):
        faults.told_boxes = _told_boxes(table)
    images = open_images(files, np.maximum(sections, 0), path, table.where, datadir, sign, faults)
    notes.extend(images.notes)
    _check_whole_files(table, images, sections < 0)
    if table.tilt_stacks and faults is None:
        check_whole_stacks(images, table.rows, table.where)
    _check_boxes(table, images, faults)
    groups = table_groups(table)
    if ctf is None:
        optics, first = _optics(table, pixels, images.box_sizes, columns, groups)
        optics = _damaged(table, optics, notes)
    elif own_pixels:
        optics, first = optics_without_ctf(
            pixels, images.box_sizes, table.where, notes, groups.names, groups.key
        )
    else:
        optics, first = pickled_optics(
            ctf, images.box_sizes, pixel_size, notes, groups.names, groups.key
        )
    if ctf is not None:
        notes.extend(_replaced(table, ctf))
    optics = with_table_effects(
        table, groups, optics, first, notes, ctf is None or not without_ctf(ctf)
    )
    pixels = optics.of_group("pixel_size").numpy()
    if poses:
        placed = pickled_poses(poses, pixels * images.box_sizes, notes)
    else:
        origins = torch.from_numpy(_origins(table, pixels, pixel_size is not None, notes))
        placed = Poses(torch.from_numpy(rotations_from_euler(angles)), origins)
    if images.n_repeated:
        notes.append(f"{images.n_repeated} rows repeat an image that an earlier row lists.")
    return Particles(
        images=images, poses=placed, optics=optics, half_sets=half_sets,
        names=table.rows["rlnImageName"].to_numpy(object), source=path, table=table.rows,
        optics_table=groups_table(table, groups, first),
        notes=tuple(notes), **_belonging(table),
    )  # fmt: skip


def _pixel_sizes(table: StarTable, given: float | None, notes: list[str]) -> NDArray[np.float64]:
    if given is not None:
        if table.has("rlnImagePixelSize") or table.has("rlnDetectorPixelSize"):
            notes.append(pixel_size_note(given, table.path))
        return np.full(len(table.rows), float(given))
    if table.has("rlnDetectorPixelSize") and not table.has("rlnImagePixelSize"):
        detector = table.numbers("rlnDetectorPixelSize")  # micrometre
        magnification = table.numbers("rlnMagnification")
        if np.any(magnification <= 0.0):
            raise StarError(
                f"{table.where}: rlnMagnification is {magnification.min():g}, expected more than 0."
                f"\n  Remedy: --pixel-size ANGSTROM"
            )
        return detector * 1e4 / magnification
    return table.numbers("rlnImagePixelSize")


def _told_pixel_sizes(table: StarTable) -> NDArray[np.float64]:
    """The table's own pixel sizes (n,), NaN where it tells none, or none that can be."""

    def told(label: str) -> NDArray[np.float64]:
        text = table.text(label) if table.has(label) else np.full(len(table.rows), np.nan)
        return np.array(pd.to_numeric(pd.Series(text), errors="coerce"), np.float64)

    if table.has("rlnImagePixelSize"):
        return told("rlnImagePixelSize")
    magnification = told("rlnMagnification")
    magnification[magnification <= 0.0] = np.nan
    return told("rlnDetectorPixelSize") * 1e4 / magnification


def _image_names(table: StarTable) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """File names (n,) and sections from 0 (n,) out of "000001@stack.mrcs"; section -1 stands for
    the one image of a file that is named without number, as RELION allows."""
    if "rlnImageName" not in table.rows:
        table.missing.append("rlnImageName")
        return np.empty(0, dtype=object), np.empty(0, dtype=np.int64)
    names = table.rows["rlnImageName"].to_numpy(object)
    parts = [n.partition("@") if "@" in n else ("", "", n) for n in map(str, names)]
    bad = [
        i
        for i, (number, at, file) in enumerate(parts)
        if not file or (at and not (number.isdecimal() and len(number) < 12 and int(number) > 0))
    ]
    if bad:
        raise StarError(
            f"{table.where} row {bad[0] + 1}: rlnImageName is {names[bad[0]]!r}, expected a "
            f"number from 1, @ and a stack, e.g. 000001@stack.mrcs ({len(bad)} rows are affected)."
            f"\n  Remedy: write the file again with the program it came from."
        )
    files = np.array([_FORMAT.sub("", f) if ":" in f else f for _, _, f in parts], dtype=object)
    return files, np.array([int(number or 0) for number, _, _ in parts], dtype=np.int64) - 1


def _check_whole_files(table: StarTable, images: ImageSource, whole: NDArray[np.bool_]) -> None:
    """Raise where a name without number stands for a file of several images."""
    held = np.array([s.n_images for s in images.stacks])[images.stack]
    bad = np.flatnonzero(whole & (held > 1))
    if len(bad):
        raise StarError(
            f"{table.where} row {bad[0] + 1}: rlnImageName is "
            f"{str(table.rows['rlnImageName'].iloc[bad[0]])!r}, a file of {held[bad[0]]} images, "
            f"without saying which ({len(bad)} rows are affected).\n"
            f"  Sub-tomograms and whole tilt stacks are not read. Remedy: give a star file with "
            f"one row per 2-D image, named 000001@stack.mrcs."
        )


def _angles(table: StarTable) -> NDArray[np.float64]:
    degrees = [table.numbers(f"rlnAngle{name}") for name in ("Rot", "Tilt", "Psi")]
    return np.deg2rad(np.stack(degrees, axis=1))


def _origins(
    table: StarTable, pixel_size: NDArray[np.float64], given: bool, notes: list[str]
) -> NDArray[np.float64]:
    """Origins (n, 2) in Angstrom; of a ``given`` pixel size they keep their number of pixels."""
    angstrom, pixel = ("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY")
    if any(label in table.rows for label in angstrom):
        origins = np.stack([table.numbers(label) for label in angstrom], axis=1)
        if given:
            own = _told_pixel_sizes(table)
            known = own > 0.0
            origins[known] *= (pixel_size / np.where(known, own, 1.0))[known, None]
    elif any(label in table.rows for label in pixel):
        origins = np.stack([table.numbers(label) * pixel_size for label in pixel], axis=1)
    else:
        notes.append(f"{table.path} has no origins (rlnOriginXAngst); they are taken to be zero.")
        return np.zeros((len(table.rows), 2))
    table.require_all()
    return origins


def _ctf_columns(table: StarTable, notes: list[str]) -> dict[str, NDArray[np.float64]]:
    """Per-particle columns of `Optics` and per-group columns of `OpticsGroup`, in its units."""
    u = table.numbers("rlnDefocusU")
    if not table.has("rlnDefocusV"):
        notes.append(f"{table.path} has no rlnDefocusV; the CTF is taken to have no astigmatism.")
    v = table.numbers("rlnDefocusV") if table.has("rlnDefocusV") else u
    astigmatic = bool(np.any(u != v))
    angle = (
        table.numbers("rlnDefocusAngle") if astigmatic else table.numbers_or("rlnDefocusAngle", 0.0)
    )
    scale = "rlnCtfScalefactor"
    # 1e9 is beyond any voltage or Cs, and keeps the change of unit from overflowing
    return {
        "defocus_u": u,
        "defocus_v": v,
        "defocus_angle": np.deg2rad(angle),
        "phase_shift": np.deg2rad(table.numbers_or("rlnPhaseShift", 0.0)),
        "scale": scales(table.numbers_or(scale, 1.0), scale, table.where, StarError, notes),
        "voltage": np.minimum(table.numbers("rlnVoltage"), 1e9) * 1e3,
        "spherical_aberration": np.clip(table.numbers("rlnSphericalAberration"), -1e9, 1e9) * 1e7,
        "amplitude_contrast": table.numbers("rlnAmplitudeContrast"),
    }


def _optics(
    table: StarTable, pixel_size: NDArray[np.float64], boxes: NDArray[np.int64],
    columns: dict[str, NDArray[np.float64]], named: TableGroups,
) -> tuple[Optics, NDArray[np.int64]]:  # fmt: skip
    shared = ("voltage", "spherical_aberration", "amplitude_contrast")
    held = {"pixel_size": pixel_size, "box_size": boxes, **{k: columns[k] for k in shared}}
    groups, group, first = group_rows(named.names, named.key, held, table.where, StarError)
    own = {k: torch.from_numpy(v) for k, v in columns.items() if k not in shared}
    own["b_factor"] = torch.zeros(len(boxes), dtype=torch.float64)
    return Optics(groups, torch.from_numpy(group), **own), first


def _damaged(table: StarTable, optics: Optics, notes: list[str]) -> Optics:
    """``optics`` with the B-factors and the doses of the table."""
    size = float(np.median(optics.of_group("pixel_size").numpy()))
    b_factor, dose = damage(table, size, notes)
    return replace(optics, b_factor=torch.from_numpy(b_factor), dose=torch.from_numpy(dose))


def _replaced(table: StarTable, ctf: Path) -> Iterator[str]:
    """What of the table a pickle's CTF replaces without having columns for it."""
    neutral = {"rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0, "rlnMicrographPreExposure": 0.0}
    held = [c for c, one in neutral.items() if np.any(table.numbers_or(c, one) != one)]
    if held:
        yield replaced_note(held, table.path, ctf)


def _half_sets(table: StarTable, notes: list[str]) -> torch.Tensor:
    label = "rlnRandomSubset"
    given = table.numbers(label) if label in table.rows else None
    return checked_half_sets(given, len(table.rows), table.where, label, notes)


def _told_boxes(table: StarTable) -> NDArray[np.int64]:
    label = "rlnImageSize"
    return integers(table.numbers(label), label, table.where, StarError)


def _check_boxes(table: StarTable, images: ImageSource, faults: StackFaults | None = None) -> None:
    if not table.has("rlnImageSize"):
        return
    told = _told_boxes(table)
    bad = np.flatnonzero(told != images.box_sizes)
    if faults is not None:
        faults.resized = bad
    elif len(bad):
        i = bad[0]
        raise StackError(
            f"{table.where} row {i + 1}: the images of {images.stacks[images.stack[i]].path} "
            f"measure {images.box_sizes[i]} pixels, but rlnImageSize is {told[i]} "
            f"({len(bad)} rows of this file are affected).\n"
            f"  The stack was rescaled or re-extracted after this file was written.\n"
            f"  Remedy: take the STAR file that was written with these stacks."
        )


def _belonging(table: StarTable) -> dict[str, NDArray[np.int64] | None]:
    """Which particles share a micrograph, a filament, or are tilt images of one particle."""
    rows = table.rows
    micrographs = codes(rows["rlnMicrographName"]) if "rlnMicrographName" in rows else None
    filaments = None
    if "rlnHelicalTubeID" in rows:
        tubes = codes(rows["rlnHelicalTubeID"])
        if micrographs is not None:
            tubes = codes(micrographs * (int(tubes.max()) + 1) + tubes)
        filaments = tubes
    return {
        "micrographs": micrographs, "filaments": filaments, "tilt_particles": tilt_images(table),
    }  # fmt: skip

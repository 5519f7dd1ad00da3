"""RELION star files, versions 3.0 to 5: what their columns mean.

A key of the CTF is looked for in the particle's row first, then in its optics group (RELION,
``src/ctf.cpp``, ``CTF::readValue``), pixel and box sizes in the optics group; where RELION would
then assume a value, voltage, Cs and amplitude contrast are required here. Files without optics
groups (3.0) give the pixel size as detector pixel over magnification and origins in pixels.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ...errors import StarError
from ...notes import Note, NoteCollector
from ...optics import Optics
from ...poses import Poses, rotations_from_euler
from ..faults import StackFaults
from ..images import BoxColumn, ImageSource, open_images
from ..tables import (
    group_rows,
    half_set_labels,
    integer_codes,
    integers,
    is_no_ctf,
    numbers_if_any,
    optics_without_ctf,
    pickled_optics,
    pickled_poses,
    pixel_size_note,
    scales,
    signs,
    unused_columns_note,
)
from ..values import Particles
from ._column_notes import column_notes
from ._exposure import damage, tilt_images
from ._optics_groups import (
    TableGroups,
    groups_table,
    row_column_notes,
    table_groups,
    with_table_effects,
)
from ._table import StarTable, open_star
from ._tomography import check_whole_stacks

# How RELION names a file's format, whatever its suffix.
_FORMAT = re.compile(r":mrcs?$")


def read_relion(
    path: Path, datadir: Path | None, poses: tuple[Path, ...], ctf: Path | None,
    pixel_size: float | None, faults: StackFaults | None = None,
) -> Particles:  # fmt: skip
    """Particles of a star file. Pickles ``poses`` and ``ctf`` replace the table's own columns, row
    by row, and ``pixel_size`` in Angstrom its pixel size."""
    table = open_star(path)
    notes = NoteCollector([*table.notes, *column_notes(table), *row_column_notes(table)])
    files, sections = _image_names(table)
    own_pixels = ctf is None or is_no_ctf(ctf)
    pixels = notes.collect(_pixel_sizes(table, pixel_size)) if own_pixels else np.empty(0)
    columns = notes.collect(_ctf_columns(table)) if ctf is None else {}
    angles = np.empty((0, 3)) if poses else _angles(table)
    table.require_all()
    half_sets = notes.collect(_half_sets(table))
    sign = notes.collect(_data_signs(table))
    images = open_images(files, np.maximum(sections, 0), path, table.where, datadir, sign,
                         _boxes(table), faults)  # fmt: skip
    notes.add(*images.notes)
    _check_whole_files(table, images, sections < 0)
    if table.tilt_stacks and faults is None:
        check_whole_stacks(images, table.rows, table.where)
    groups = table_groups(table)
    boxes, names, key = images.box_sizes, groups.names, groups.key
    if ctf is None:
        optics, first = _optics(table, pixels, boxes, columns, groups)
        optics = notes.collect(_damaged(table, optics))
    elif own_pixels:
        optics, first = notes.collect(optics_without_ctf(pixels, boxes, table.where, names, key))
    else:
        optics, first = notes.collect(pickled_optics(ctf, boxes, pixel_size, names, key))
    if ctf is not None:
        notes.add(*_replaced_columns(table, ctf))
    with_ctf = ctf is None or not is_no_ctf(ctf)
    optics = notes.collect(with_table_effects(table, groups, optics, first, with_ctf))
    pixels = optics.of_group("pixel_size").numpy()
    if poses:
        placement = notes.collect(pickled_poses(poses, pixels * boxes))
    else:
        origins = notes.collect(_origins(table, pixels, pixel_size is not None))
        rotations = torch.from_numpy(rotations_from_euler(angles))
        placement = Poses(rotations, torch.from_numpy(origins))
    return Particles(
        images=images, poses=placement, optics=optics, half_sets=half_sets,
        names=table.rows["rlnImageName"].to_numpy(object), source=path, table=table.rows,
        optics_table=groups_table(table, groups, first),
        notes=(*notes, *images.repetition_notes()), **_membership(table),
    )  # fmt: skip


def _pixel_sizes(
    table: StarTable, pixel_size: float | None
) -> tuple[NDArray[np.float64], list[Note]]:
    if pixel_size is not None:
        known = table.has("rlnImagePixelSize") or table.has("rlnDetectorPixelSize")
        notes = [pixel_size_note(pixel_size, table.path)] if known else []
        return np.full(len(table.rows), float(pixel_size)), notes
    if table.has("rlnDetectorPixelSize") and not table.has("rlnImagePixelSize"):
        detector = table.numbers("rlnDetectorPixelSize")  # micrometre
        magnification = table.numbers("rlnMagnification")
        if np.any(magnification <= 0.0):
            raise StarError(
                f"{table.where}: rlnMagnification is {magnification.min():g}, expected more than 0."
                f"\n  Remedy: --pixel-size ANGSTROM"
            )
        return detector * 1e4 / magnification, []
    return table.numbers("rlnImagePixelSize"), []


def _table_pixel_sizes(table: StarTable) -> NDArray[np.float64]:
    """The table's own pixel sizes (n,), NaN where it has none, or none that is possible."""

    def column(label: str) -> NDArray[np.float64]:
        text = table.text(label) if table.has(label) else np.full(len(table.rows), np.nan)
        return np.array(pd.to_numeric(pd.Series(text), errors="coerce"), np.float64)

    if table.has("rlnImagePixelSize"):
        return column("rlnImagePixelSize")
    magnification = column("rlnMagnification")
    magnification[magnification <= 0.0] = np.nan
    return column("rlnDetectorPixelSize") * 1e4 / magnification


def _data_signs(table: StarTable) -> tuple[NDArray[np.float32] | None, list[Note]]:
    """Signs (n,) of the images in a table that was converted from cryoSPARC."""
    label = "cs/blob/sign"
    return signs(table.numbers(label)) if table.has(label) else (None, [])


def _image_names(table: StarTable) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """File names (n,) and sections from 0 (n,) out of "000001@stack.mrcs"; section -1 means the one
    image of a file that is named without a number, as RELION allows."""
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
    """Raise where a name without a number means a file of several images."""
    n_images = np.array([s.n_images for s in images.stacks])[images.stack]
    bad = np.flatnonzero(whole & (n_images > 1))
    if len(bad):
        raise StarError(
            f"{table.where} row {bad[0] + 1}: rlnImageName is "
            f"{str(table.rows['rlnImageName'].iloc[bad[0]])!r}, a file of {n_images[bad[0]]} images, "
            f"and does not name one of them ({len(bad)} rows are affected).\n"
            f"  Sub-tomograms and whole tilt stacks are not supported. Remedy: use a star file with "
            f"one row per 2-D image, named 000001@stack.mrcs."
        )


def _angles(table: StarTable) -> NDArray[np.float64]:
    degrees = [table.numbers(f"rlnAngle{name}") for name in ("Rot", "Tilt", "Psi")]
    return np.deg2rad(np.stack(degrees, axis=1))


def _origins(
    table: StarTable, pixel_size: NDArray[np.float64], replaced: bool
) -> tuple[NDArray[np.float64], list[Note]]:
    """Origins (n, 2) in Angstrom; where the pixel size was ``replaced`` they keep their number of
    pixels."""
    angstrom, pixel = ("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY")
    if any(label in table.rows for label in angstrom):
        origins = np.stack([table.numbers(label) for label in angstrom], axis=1)
        if replaced:
            own = _table_pixel_sizes(table)
            known = own > 0.0
            origins[known] *= (pixel_size / np.where(known, own, 1.0))[known, None]
    elif any(label in table.rows for label in pixel):
        origins = np.stack([table.numbers(label) * pixel_size for label in pixel], axis=1)
    else:
        text = f"{table.path} has no origins (rlnOriginXAngst); zero is used."
        return np.zeros((len(table.rows), 2)), [Note("no-origins", "note", text)]
    table.require_all()
    return origins, []


def _ctf_columns(table: StarTable) -> tuple[dict[str, NDArray[np.float64]], list[Note]]:
    """Per-particle columns of `Optics` and per-group columns of `OpticsGroup`, in its units."""
    notes = NoteCollector()
    u = table.numbers("rlnDefocusU")
    if not table.has("rlnDefocusV"):
        text = f"{table.path} has no rlnDefocusV; the CTF is taken to have no astigmatism."
        notes.add(Note("no-astigmatism", "note", text))
    v = table.numbers("rlnDefocusV") if table.has("rlnDefocusV") else u
    astigmatic = bool(np.any(u != v))
    angle = (
        table.numbers("rlnDefocusAngle") if astigmatic else table.numbers_or("rlnDefocusAngle", 0.0)
    )
    label = "rlnCtfScalefactor"
    scale = notes.collect(scales(table.numbers_or(label, 1.0), label, table.where, StarError))
    # 1e9 is beyond any voltage or Cs, and keeps the change of unit from overflowing
    return {
        "defocus_u": u,
        "defocus_v": v,
        "defocus_angle": np.deg2rad(angle),
        "phase_shift": np.deg2rad(table.numbers_or("rlnPhaseShift", 0.0)),
        "scale": scale,
        "voltage": np.minimum(table.numbers("rlnVoltage"), 1e9) * 1e3,
        "spherical_aberration": np.clip(table.numbers("rlnSphericalAberration"), -1e9, 1e9) * 1e7,
        "amplitude_contrast": table.numbers("rlnAmplitudeContrast"),
    }, list(notes)


def _optics(
    table: StarTable, pixel_size: NDArray[np.float64], boxes: NDArray[np.int64],
    columns: dict[str, NDArray[np.float64]], named: TableGroups,
) -> tuple[Optics, NDArray[np.int64]]:  # fmt: skip
    shared = ("voltage", "spherical_aberration", "amplitude_contrast")
    of_groups = {"pixel_size": pixel_size, "box_size": boxes, **{k: columns[k] for k in shared}}
    groups, group, first = group_rows(named.names, named.key, of_groups, table.where, StarError)
    own = {k: torch.from_numpy(v) for k, v in columns.items() if k not in shared}
    own["b_factor"] = torch.zeros(len(boxes), dtype=torch.float64)
    return Optics(groups, torch.from_numpy(group), **own), first


def _damaged(table: StarTable, optics: Optics) -> tuple[Optics, list[Note]]:
    """``optics`` with the B-factors and the doses of the table."""
    size = float(np.median(optics.of_group("pixel_size").numpy()))
    (b_factor, dose), notes = damage(table, size)
    b, d = torch.from_numpy(b_factor), torch.from_numpy(dose)
    return replace(optics, b_factor=b, dose=d), notes


def _replaced_columns(table: StarTable, ctf: Path) -> list[Note]:
    """A note on columns that a pickle's CTF replaces without having them."""
    neutral = {"rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0, "rlnMicrographPreExposure": 0.0}
    columns = [
        c
        for c, v in neutral.items()
        if table.has(c) and np.any(numbers_if_any(table.text(c), v) != v)
    ]
    return [unused_columns_note(columns, table.path, ctf)] if columns else []


def _half_sets(table: StarTable) -> tuple[torch.Tensor, list[Note]]:
    label = "rlnRandomSubset"
    labels = table.numbers(label) if label in table.rows else None
    return half_set_labels(labels, len(table.rows), table.where, label)


def _boxes(table: StarTable) -> BoxColumn | None:
    """The box sizes (n,) of the table, if it has them."""
    label = "rlnImageSize"
    if not table.has(label):
        return None
    return BoxColumn(label, integers(table.numbers(label), label, table.where, StarError))


def _membership(table: StarTable) -> dict[str, NDArray[np.int64] | None]:
    """Which particles share a micrograph, a filament, or are tilt images of one particle."""
    rows = table.rows
    micrographs = integer_codes(rows["rlnMicrographName"]) if "rlnMicrographName" in rows else None
    filaments = None
    if "rlnHelicalTubeID" in rows:
        tubes = integer_codes(rows["rlnHelicalTubeID"])
        if micrographs is not None:
            tubes = integer_codes(micrographs * (int(tubes.max()) + 1) + tubes)
        filaments = tubes
    return {
        "micrographs": micrographs, "filaments": filaments, "tilt_particles": tilt_images(table),
    }  # fmt: skip

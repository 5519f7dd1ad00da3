"""cryoSPARC ``.cs`` files: what their fields mean.

``alignments3D/pose`` is a rotation vector, ``alignments3D/shift`` counts pixels of
``alignments3D/psize_A`` with the sign of RELION's origins, ``alignments3D/split`` is 0 or 1 where
RELION has 1 or 2, ``blob/idx`` counts from 0 and ``blob/path`` is relative to the project.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ...errors import CsError, InputError
from ...io.cs import read_cs, read_csg
from ...notes import Note, NoteCollector
from ...optics import Optics
from ...poses import Poses, rotations_from_vectors
from ..faults import StackFaults
from ..images import BoxColumn, ImageSource, open_images
from ..tables import (
    damping_b_factors,
    decimal,
    group_rows,
    half_set_labels,
    integer_codes,
    is_no_ctf,
    numbers,
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
from ._aberrations import ExposureGroups, aberration_fields, divided_groups, with_fields
from ._fields import POSE, check_types, has, kept_table, texts, with_single_alignment

_BLOB = ("blob/path", "blob/idx", "blob/psize_A")
_CTF = ("ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast", "ctf/df1_A", "ctf/df2_A",
        "ctf/df_angle_rad")  # fmt: skip
_ALIGNMENTS = ("alignments3D/", "alignments3D_multi/", "alignments_class_")
_READ = frozenset((*_BLOB, *_CTF, *POSE, "blob/shape", "alignments3D/psize_A",
                   "alignments3D/split", "ctf/phase_shift_rad", "ctf/bfactor", "ctf/scale",
                   "ctf/exp_group_id"))  # fmt: skip


def read_cryosparc(
    path: Path, datadir: Path | None, poses: tuple[Path, ...], ctf: Path | None,
    pixel_size: float | None, alignment_class: int | None, faults: StackFaults | None = None,
) -> Particles:  # fmt: skip
    """Particles of a ``.cs`` file and its passthroughs, or of a ``.csg`` group.

    Pickles ``poses`` and ``ctf`` replace the file's own fields, row by row. So do the alignments
    and CTF fields of ``.cs`` files among them, by uid; such a file is a passthrough besides.
    """
    others: dict[Path, tuple[str, ...]] = {}
    for file, kinds in (*((p, _ALIGNMENTS) for p in poses), *([(ctf, ("ctf/",))] if ctf else [])):
        if file.suffix.lower() == ".cs":
            others[file] = (*others.get(file, ()), *kinds)
    poses = tuple(p for p in poses if p not in others)
    ctf = None if ctf in others else ctf
    group = path.suffix.lower() == ".csg"
    if group and others:
        raise CsError(
            f"{path}: a group names its own files; {next(iter(others))} cannot be added to it.\n"
            f"  Remedy: give the job's particles .cs file in place of the .csg."
        )
    notes = NoteCollector()
    rows = notes.collect(read_csg(path) if group else read_cs(path, others))
    if not poses:
        rows = notes.collect(with_single_alignment(path, rows, alignment_class))
    check_types(path, rows)
    _require(path, rows, _BLOB + (() if ctf else _CTF) + (() if poses else POSE))
    half_sets = notes.collect(_half_sets(path, rows))
    names, images = notes.collect(_images(path, rows, datadir, faults))
    boxes = images.box_sizes
    fields = aberration_fields(path, rows)
    groups = divided_groups(*_exposure_groups(rows), fields)
    if ctf is None:
        optics, first = notes.collect(_optics(path, rows, boxes, pixel_size, groups))
    elif is_no_ctf(ctf):
        pixels = notes.collect(_pixel_sizes(path, rows, pixel_size))
        result = optics_without_ctf(pixels, boxes, str(path), groups.names, groups.key)
        optics, first = notes.collect(result)
    else:
        result = pickled_optics(ctf, boxes, pixel_size, groups.names, groups.key)
        optics, first = notes.collect(result)
    if ctf is not None:
        notes.add(*_replaced_fields(path, rows, ctf))
    with_ctf = ctf is None or not is_no_ctf(ctf)
    optics = notes.collect(with_fields(path, rows, groups, optics, first, with_ctf))
    if poses:
        side = optics.of_group("pixel_size").numpy() * boxes
        placement = notes.collect(pickled_poses(poses, side))
    else:
        placement = _poses(path, rows, pixel_size)
    return Particles(
        images=images, poses=placement, optics=optics, half_sets=half_sets, names=names,
        source=path, table=kept_table(rows, names, _READ | frozenset(groups.values)),
        optics_table=pd.DataFrame(index=range(len(first))),
        micrographs=_codes(rows, "location/micrograph_uid"),
        filaments=_codes(rows, "filament/filament_uid"), notes=tuple(notes),
    )  # fmt: skip


def _require(path: Path, rows: np.ndarray, fields: tuple[str, ...]) -> None:
    present = rows.dtype.names or ()
    missing = [field for field in fields if field not in present]
    if len(rows) == 0:
        raise CsError(f"{path}: the table has no particles.\n  Remedy: check the selection.")
    if missing:
        groups = ", ".join(dict.fromkeys(name.partition("/")[0] for name in present))
        pose = any(field in POSE for field in missing)
        raise CsError(
            f"{path}: missing {', '.join(missing)} ({len(rows)} particles); the file and the "
            f"passthrough files beside it have {groups}.\n  Remedy: copy the job's "
            f"*_passthrough_particles.cs beside it"
            f"{', pass --poses poses.pkl, or find them: add --abinit' if pose else ''}"
        )


def _images(
    path: Path, rows: np.ndarray, datadir: Path | None, faults: StackFaults | None = None
) -> tuple[tuple[NDArray[np.object_], ImageSource], list[Note]]:
    files = np.array([text.lstrip(">") for text in texts(rows["blob/path"])], dtype=object)
    sections = rows["blob/idx"].astype(np.int64)
    sign, notes = signs(_numbers(path, rows, "blob/sign")) if has(rows, "blob/sign") else (None, [])
    boxes = None
    if has(rows, "blob/shape"):
        sides = rows["blob/shape"].reshape(len(rows), -1)[:, 0].astype(np.int64)
        boxes = BoxColumn("blob/shape", sides)
    images = open_images(files, sections, path, str(path), datadir, sign, boxes, faults)
    labels = [f"{s + 1:06d}@{f}" for f, s in zip(files, sections, strict=True)]
    notes = [*notes, *images.notes, *images.repetition_notes()]
    return (np.array(labels, dtype=object), images), notes


def _pixel_sizes(
    path: Path, rows: np.ndarray, pixel_size: float | None
) -> tuple[NDArray[np.float64], list[Note]]:
    if pixel_size is not None:
        return np.full(len(rows), pixel_size), [pixel_size_note(pixel_size, path)]
    return decimal(_numbers(path, rows, "blob/psize_A")), []


def _optics(
    path: Path, rows: np.ndarray, boxes: NDArray[np.int64], pixel_size: float | None,
    named: ExposureGroups,
) -> tuple[tuple[Optics, NDArray[np.int64]], list[Note]]:  # fmt: skip
    notes = NoteCollector()
    columns = {
        "pixel_size": notes.collect(_pixel_sizes(path, rows, pixel_size)),
        "box_size": boxes,
        "voltage": decimal(_numbers(path, rows, "ctf/accel_kv")) * 1e3,
        "spherical_aberration": decimal(_numbers(path, rows, "ctf/cs_mm")) * 1e7,
        "amplitude_contrast": decimal(_numbers(path, rows, "ctf/amp_contrast")),
    }
    groups, group, first = group_rows(named.names, named.key, columns, str(path), CsError)
    label, nyquist = "ctf/bfactor", 0.5 / groups[0].pixel_size
    b_factors = _numbers(path, rows, label, 0.0)
    own = [
        _numbers(path, rows, "ctf/df1_A"), _numbers(path, rows, "ctf/df2_A"),
        _numbers(path, rows, "ctf/df_angle_rad"),
        _numbers(path, rows, "ctf/phase_shift_rad", 0.0),
        notes.collect(damping_b_factors(b_factors, None, label, nyquist)),
        notes.collect(_scales(path, rows)),
    ]  # fmt: skip
    optics = Optics(groups, torch.from_numpy(group), *map(torch.from_numpy, own))
    return (optics, first), list(notes)


def _exposure_groups(rows: np.ndarray) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the exposure groups, and the group (n,) of each row as an index of them."""
    label = "ctf/exp_group_id"
    ids = rows[label] if has(rows, label) else np.zeros(len(rows))
    names = [f"exposureGroup{int(i)}" for i in pd.unique(pd.Series(np.asarray(ids, float)))]
    return names, integer_codes(ids)


def _scales(path: Path, rows: np.ndarray) -> tuple[NDArray[np.float64], list[Note]]:
    """The scale of each particle's image: ``ctf/scale`` times ``alignments3D/alpha``; notes."""
    label = "ctf/scale"
    scale, notes = scales(_numbers(path, rows, label, 1.0), label, str(path), CsError)
    label = "alignments3D/alpha"
    alpha = numbers_if_any(rows[label], 0.0) if has(rows, label) else np.ones(len(rows))
    if np.all(alpha == 1.0):
        return scale, notes
    if np.any(alpha <= 0.0):
        text = "alignments3D/alpha is not positive everywhere and is not applied."
        return scale, [*notes, Note("scale-not-applied", "warning", text)]
    text = (
        f"The particles' scale factors (alignments3D/alpha, {alpha.min():.3g} to "
        f"{alpha.max():.3g}) are applied."
    )
    return scale * alpha, [*notes, Note("scale-applied", "note", text)]


def _replaced_fields(path: Path, rows: np.ndarray, ctf: Path) -> list[Note]:
    """A note on fields that a pickle's CTF, or none, replaces without having columns for them."""
    neutral = {"ctf/bfactor": 0.0, "ctf/scale": 1.0, "alignments3D/alpha": 1.0}
    fields = [
        c for c, v in neutral.items() if has(rows, c) and np.any(numbers_if_any(rows[c], v) != v)
    ]
    return [unused_columns_note(fields, path, ctf)] if fields else []


def _poses(path: Path, rows: np.ndarray, pixel_size: float | None) -> Poses:
    """Poses of the table; with another ``pixel_size`` shifts keep their number of pixels."""
    vectors = np.stack([numbers(rows["alignments3D/pose"][:, i], "alignments3D/pose", str(path),
                                CsError) for i in range(3)], axis=1)  # fmt: skip
    pixels = np.stack([numbers(rows["alignments3D/shift"][:, i], "alignments3D/shift", str(path),
                               CsError) for i in range(2)], axis=1)  # fmt: skip
    own = "alignments3D/psize_A"
    size = decimal(_numbers(path, rows, own if has(rows, own) else "blob/psize_A"))
    if pixel_size is not None and has(rows, "blob/psize_A"):
        own_size = _numbers(path, rows, "blob/psize_A")
        known = own_size > 0.0
        size = size * np.where(known, pixel_size / np.where(known, own_size, 1.0), 1.0)
    rotations = torch.from_numpy(rotations_from_vectors(vectors))
    return Poses(rotations, torch.from_numpy(pixels * size[:, None]))


def _half_sets(path: Path, rows: np.ndarray) -> tuple[torch.Tensor, list[Note]]:
    name = "alignments3D/split"
    if not has(rows, name):
        return half_set_labels(None, len(rows), str(path), name)
    split = rows[name].astype(np.int64)
    if not np.isin(split, (0, 1)).all():
        raise InputError(
            f"{path}: {name} has the values {np.unique(split)[:6].tolist()}, expected 0 and 1.\n"
            f"  Remedy: use the particles of one refinement."
        )
    return half_set_labels((split + 1).astype(np.float64), len(rows), str(path), name)


def _numbers(
    path: Path, rows: np.ndarray, name: str, default: float | None = None
) -> NDArray[np.float64]:
    if default is not None and not has(rows, name):
        return np.full(len(rows), default)
    return numbers(rows[name], name, str(path), CsError)


def _codes(rows: np.ndarray, name: str) -> NDArray[np.int64] | None:
    return integer_codes(rows[name]) if has(rows, name) else None

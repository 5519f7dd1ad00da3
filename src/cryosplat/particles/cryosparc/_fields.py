"""Fields of cryoSPARC tables: poses of several classes, and fields that are only kept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import CsError
from ...notes import Note

POSE = ("alignments3D/pose", "alignments3D/shift")
_WHOLE, _NUMBER, _TEXT = "iu", "iuf", "SU"
# Kind and shape of a field in one row; None: any shape.
_TYPES: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "blob/path": (_TEXT, ()), "blob/idx": (_WHOLE, ()), "blob/shape": (_WHOLE, (2,)),
    "blob/psize_A": (_NUMBER, ()), "blob/sign": (_NUMBER, ()),
    "alignments3D/pose": (_NUMBER, (3,)), "alignments3D/shift": (_NUMBER, (2,)),
    "alignments3D/psize_A": (_NUMBER, ()), "alignments3D/split": (_WHOLE, ()),
    "alignments3D/alpha": (_NUMBER, ()), "alignments3D/class": (_WHOLE, ()),
    "location/micrograph_uid": (_WHOLE, ()), "location/micrograph_path": (_TEXT, ()),
    "filament/filament_uid": (_WHOLE, ()), "ctf/exp_group_id": (_WHOLE, ()),
    **dict.fromkeys(
        (f"ctf/{name}" for name in ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A",
                                    "df_angle_rad", "phase_shift_rad", "bfactor", "scale",
                                    "scale_const")),
        (_NUMBER, ()),
    ),
    **dict.fromkeys(
        (f"ctf/{name}" for name in ("shift_A", "tilt_A", "trefoil_A", "tetra_A", "anisomag")),
        (_NUMBER, None),
    ),
}  # fmt: skip
_OF_CLASS = re.compile(r"alignments_class_(\d+)/(.+)")


def has(rows: np.ndarray, name: str) -> bool:
    """Whether the table has the field."""
    return name in (rows.dtype.names or ())


def check_types(path: Path, rows: np.ndarray) -> None:
    """Raise `CsError` where a field that will be read is not of cryoSPARC's type."""
    for name, (kinds, shape) in _TYPES.items():
        if not has(rows, name):
            continue
        values = rows[name]
        if values.dtype.kind not in kinds or (shape is not None and values.shape[1:] != shape):
            what = {"iu": "whole numbers", "iuf": "numbers", "SU": "text"}[kinds]
            raise CsError(
                f"{path}: {name} holds {values.dtype} of shape {values.shape}, expected {what}"
                f"{'' if shape is None else f' of shape {(len(rows), *shape)}'}.\n"
                f"  Remedy: export the job's particles again."
            )


def with_single_alignment(
    path: Path, rows: np.ndarray, number: int | None
) -> tuple[np.ndarray, list[Note]]:
    """``rows`` with ``alignments3D`` fields, alignment from ``alignments3D_multi`` (heterogeneous
    refinement) or ``alignments_class_K`` (ab initio) where they have none; notes.

    Each particle gets its pose in its most probable class, or in the class ``number``.
    """
    fields, labels = _by_class(rows)
    classes = np.unique(labels)
    if number is not None and (len(classes) == 0 or not (labels == number).any(axis=1).all()):
        raise CsError(
            f"{path}: there are no poses in class {number}; the file has poses in "
            f"{', '.join(map(str, classes)) if len(classes) else 'a single class'}.\n"
            f"  Remedy: leave --alignment-class out, or give one of those."
        )
    if len(classes) == 0 or (number is None and has(rows, POSE[0])):
        return rows, []
    if number is None:
        column = _most_probable(path, fields, labels)
        numbers, counts = np.unique(labels[np.arange(len(rows)), column], return_counts=True)
        members = ", ".join(f"{n} in class {k}" for k, n in zip(numbers, counts, strict=True))
        note = Note(
            "alignment-most-probable", "note",
            f"Each particle has poses in {len(classes)} classes; the one in its most probable class "
            f"is used ({members}). --alignment-class K selects class K.",
        )  # fmt: skip
    else:
        column = (labels == number).argmax(axis=1)
        text = f"The poses in class {number} are used, as requested."
        note = Note("alignment-class", "note", text)
    fields["class"] = labels
    at = np.arange(len(rows))
    alignment = {f"alignments3D/{name}": values[at, column] for name, values in fields.items()}
    kept = [name for name in rows.dtype.names or () if name not in alignment]
    types = [(name, rows.dtype[name]) for name in kept]
    types += [(name, values.dtype, values.shape[1:]) for name, values in alignment.items()]
    merged = np.empty(len(rows), types)
    for name in kept:
        merged[name] = rows[name]
    for name, values in alignment.items():
        merged[name] = values
    return merged, [note]


def _by_class(rows: np.ndarray) -> tuple[dict[str, np.ndarray], NDArray[np.int64]]:
    """Fields (n, k, ...) of poses in k classes, and the numbers (n, k) of those classes.

    In ``alignments3D_multi`` the field ``class`` is the class of each column of a row.
    """
    n, names = len(rows), rows.dtype.names or ()
    if has(rows, "alignments3D_multi/pose") and rows["alignments3D_multi/pose"].ndim == 3:
        k = rows["alignments3D_multi/pose"].shape[1]
        multi = {m.partition("/")[2]: rows[m] for m in names if m.startswith("alignments3D_multi/")}
        fields = {
            name: v if v.ndim > 1 and v.shape[1] == k else np.stack([v] * k, axis=1)
            for name, v in multi.items()
        }
        own = multi.get("class", np.empty(0))
        labels = own if own.shape == (n, k) and own.dtype.kind in "iu" else np.arange(k)
        return fields, np.broadcast_to(labels, (n, k)).astype(np.int64)
    matches = [match for match in map(_OF_CLASS.fullmatch, names) if match]
    classes = sorted({int(m[1]) for m in matches if m[2] == "pose" and len(m[1]) < 9})
    fields = {}
    for name in dict.fromkeys(m[2] for m in matches):
        columns = [f"alignments_class_{k}/{name}" for k in classes]
        if columns and all(
            has(rows, c) and rows.dtype[c] == rows.dtype[columns[0]] for c in columns
        ):
            fields[name] = np.stack([rows[c] for c in columns], axis=1)
    return fields, np.broadcast_to(np.array(classes, np.int64), (n, len(classes)))


def _most_probable(
    path: Path, fields: dict[str, np.ndarray], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    posterior = fields.get("class_posterior")
    if posterior is None or posterior.shape != labels.shape or posterior.dtype.kind != "f":
        raise CsError(
            f"{path}: the particles have poses in several classes, but no class_posterior to choose "
            f"by.\n  Remedy: --alignment-class K, or the particles of one class."
        )
    return np.where(np.isfinite(posterior), posterior, -np.inf).argmax(axis=1).astype(np.int64)


def kept_table(rows: np.ndarray, names: NDArray[np.object_], read: frozenset[str]) -> pd.DataFrame:
    """The image names, and as columns ``cs/...`` all fields that are not among those ``read``.

    A field of several numbers becomes ``cs/.../0``, ``cs/.../1`` and so on.
    """
    columns: dict[str, NDArray] = {"rlnImageName": names}
    if has(rows, "location/micrograph_path"):
        paths = [text.lstrip(">") for text in texts(rows["location/micrograph_path"])]
        columns["rlnMicrographName"] = np.array(paths, dtype=object)
    for name in rows.dtype.names or ():
        values = rows[name]
        if name in read or name == "location/micrograph_path" or values.dtype.kind not in "biufSU":
            continue
        flat = values.reshape(len(rows), -1)
        for i in range(flat.shape[1]):
            label = "cs/" + "".join(name.split()) + (f"/{i}" if values.ndim > 1 else "")
            column = flat[:, i]
            columns[label] = texts(column) if values.dtype.kind in "SU" else column
    return pd.DataFrame(columns)


def texts(values: NDArray) -> NDArray[np.object_]:
    """Bytes or text as text."""
    unique, index = np.unique(values, return_inverse=True)
    decoded = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in unique]
    return np.array(decoded, dtype=object)[index]

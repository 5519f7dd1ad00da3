"""cryoSPARC ``.cs`` files: what their fields mean.

``alignments3D/pose`` is a rotation vector, ``alignments3D/shift`` counts pixels of
``alignments3D/psize_A`` with the sign of RELION's origins, ``alignments3D/split`` is 0 or 1 where
RELION has 1 or 2, ``blob/idx`` counts from 0 and ``blob/path`` is relative to the project.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ...errors import CsError, InputError, StackError
from ...io.cs import read_cs, read_csg
from ...optics import Optics
from ...poses import Poses, rotations_from_vectors
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
from ..tables.columns import codes, decimal, numbers, scales, signs
from ..tables.exposure import decaying
from ..tables.groups import group_rows
from ..values import Particles
from ._fields import POSE, check_types, has, kept_table, one_alignment, texts
from .aberrations import ExposureGroups, fitting_groups, rows_values, with_fields

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
    given: dict[Path, tuple[str, ...]] = {}
    for file, kinds in (*((p, _ALIGNMENTS) for p in poses), *([(ctf, ("ctf/",))] if ctf else [])):
        if file.suffix.lower() == ".cs":
            given[file] = (*given.get(file, ()), *kinds)
    poses = tuple(p for p in poses if p not in given)
    ctf = None if ctf in given else ctf
    group = path.suffix.lower() == ".csg"
    if group and given:
        raise CsError(
            f"{path}: a group names its own files; {next(iter(given))} cannot be added to it.\n"
            f"  Remedy: give the job's particles .cs file in place of the .csg."
        )
    notes: list[str] = []
    rows = read_csg(path, notes) if group else read_cs(path, given, notes)
    rows = rows if poses else one_alignment(path, rows, alignment_class, notes)
    check_types(path, rows)
    _require(path, rows, _BLOB + (() if ctf else _CTF) + (() if poses else POSE))
    half_sets = _half_sets(path, rows, notes)
    names, images = _images(path, rows, datadir, notes, faults)
    boxes = images.box_sizes
    ignored = ctf is not None and without_ctf(ctf)
    held = fitting_groups(_exposure_groups(rows), rows_values(path, rows))
    if ctf is None:
        optics, first = _optics(path, rows, boxes, pixel_size, held, notes)
    elif ignored:
        pixels = _pixel_sizes(path, rows, pixel_size, notes)
        optics, first = optics_without_ctf(pixels, boxes, str(path), notes, held.names, held.key)
    else:
        optics, first = pickled_optics(ctf, boxes, pixel_size, notes, held.names, held.key)
    if ctf is not None:
        notes.extend(_replaced(path, rows, ctf))
    optics = with_fields(path, rows, held, optics, first, notes, not ignored)
    if poses:
        placed = pickled_poses(poses, optics.of_group("pixel_size").numpy() * boxes, notes)
    else:
        placed = _poses(path, rows, pixel_size)
    return Particles(
        images=images, poses=placed, optics=optics, half_sets=half_sets, names=names, source=path,
        table=kept_table(rows, names, _READ | frozenset(held.values)),
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
            f"*_passthrough_particles.cs beside it{', or pass --poses poses.pkl' if pose else ''}"
        )


def _images(
    path: Path, rows: np.ndarray, datadir: Path | None, notes: list[str],
    faults: StackFaults | None = None,
) -> tuple[NDArray[np.object_], ImageSource]:  # fmt: skip
    files = np.array([text.lstrip(">") for text in texts(rows["blob/path"])], dtype=object)
    sections = rows["blob/idx"].astype(np.int64)
    sign = signs(_numbers(path, rows, "blob/sign"), notes) if has(rows, "blob/sign") else None
    if faults is not None and has(rows, "blob/shape"):
        faults.told_boxes = rows["blob/shape"].reshape(len(rows), -1)[:, 0].astype(np.int64)
    images = open_images(files, sections, path, str(path), datadir, sign, faults)
    notes.extend(images.notes)
    if has(rows, "blob/shape"):
        told = rows["blob/shape"].reshape(len(rows), -1)[:, 0].astype(np.int64)
        bad = np.flatnonzero(told != images.box_sizes)
        if faults is not None:
            faults.resized = bad
        elif len(bad):
            raise StackError(
                f"{path} row {bad[0] + 1}: the images of {files[bad[0]]} measure "
                f"{images.box_sizes[bad[0]]} pixels, but blob/shape is {told[bad[0]]} "
                f"({len(bad)} rows of this file are affected).\n"
                f"  Remedy: give the .cs file that was written with these stacks."
            )
    if images.n_repeated:
        notes.append(f"{images.n_repeated} rows repeat an image that an earlier row lists.")
    labels = [f"{s + 1:06d}@{f}" for f, s in zip(files, sections, strict=True)]
    return np.array(labels, dtype=object), images


def _pixel_sizes(
    path: Path, rows: np.ndarray, given: float | None, notes: list[str]
) -> NDArray[np.float64]:
    if given is not None:
        notes.append(pixel_size_note(given, path))
        return np.full(len(rows), given)
    return decimal(_numbers(path, rows, "blob/psize_A"))


def _optics(
    path: Path, rows: np.ndarray, boxes: NDArray[np.int64], pixel_size: float | None,
    named: ExposureGroups, notes: list[str],
) -> tuple[Optics, NDArray[np.int64]]:  # fmt: skip
    held = {
        "pixel_size": _pixel_sizes(path, rows, pixel_size, notes),
        "box_size": boxes,
        "voltage": decimal(_numbers(path, rows, "ctf/accel_kv")) * 1e3,
        "spherical_aberration": decimal(_numbers(path, rows, "ctf/cs_mm")) * 1e7,
        "amplitude_contrast": decimal(_numbers(path, rows, "ctf/amp_contrast")),
    }
    groups, group, first = group_rows(named.names, named.key, held, str(path), CsError)
    own = [
        _numbers(path, rows, "ctf/df1_A"), _numbers(path, rows, "ctf/df2_A"),
        _numbers(path, rows, "ctf/df_angle_rad"),
        _numbers(path, rows, "ctf/phase_shift_rad", 0.0),
        decaying(_numbers(path, rows, "ctf/bfactor", 0.0), None, "ctf/bfactor",
                 0.5 / groups[0].pixel_size, notes),
        _scales(path, rows, notes),
    ]  # fmt: skip
    return Optics(groups, torch.from_numpy(group), *map(torch.from_numpy, own)), first


def _exposure_groups(rows: np.ndarray) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the exposure groups, and the group (n,) of each row as an index of them."""
    given = has(rows, "ctf/exp_group_id")
    ids = rows["ctf/exp_group_id"] if given else np.zeros(len(rows))
    named = [f"exposureGroup{int(i)}" for i in pd.unique(pd.Series(np.asarray(ids, float)))]
    return named, codes(ids)


def _scales(path: Path, rows: np.ndarray, notes: list[str]) -> NDArray[np.float64]:
    """The scale of each particle's image: ``ctf/scale`` times ``alignments3D/alpha``."""
    label = "ctf/scale"
    scale = scales(_numbers(path, rows, label, 1.0), label, str(path), CsError, notes)
    alpha = _numbers(path, rows, "alignments3D/alpha", 1.0)
    if np.all(alpha == 1.0):
        return scale
    if np.any(alpha <= 0.0):
        notes.append("warning: alignments3D/alpha is not positive everywhere and is not applied.")
        return scale
    notes.append(
        f"the particles' scale factors (alignments3D/alpha, {alpha.min():.3g} to "
        f"{alpha.max():.3g}) are applied."
    )
    return scale * alpha


def _replaced(path: Path, rows: np.ndarray, ctf: Path) -> Iterator[str]:
    """What of the table a pickle's CTF, or none, replaces without having columns for it."""
    neutral = {"ctf/bfactor": 0.0, "ctf/scale": 1.0, "alignments3D/alpha": 1.0}
    held = [c for c, one in neutral.items() if np.any(_numbers(path, rows, c, one) != one)]
    if held:
        yield replaced_note(held, path, ctf)


def _poses(path: Path, rows: np.ndarray, pixel_size: float | None) -> Poses:
    """Poses of the table; of a given ``pixel_size`` shifts keep their number of pixels."""
    vectors = np.stack([numbers(rows["alignments3D/pose"][:, i], "alignments3D/pose", str(path),
                                CsError) for i in range(3)], axis=1)  # fmt: skip
    pixels = np.stack([numbers(rows["alignments3D/shift"][:, i], "alignments3D/shift", str(path),
                               CsError) for i in range(2)], axis=1)  # fmt: skip
    own = "alignments3D/psize_A"
    size = decimal(_numbers(path, rows, own if has(rows, own) else "blob/psize_A"))
    if pixel_size is not None and has(rows, "blob/psize_A"):
        told = _numbers(path, rows, "blob/psize_A")
        size = size * np.where(told > 0.0, pixel_size / np.where(told > 0.0, told, 1.0), 1.0)
    rotations = torch.from_numpy(rotations_from_vectors(vectors))
    return Poses(rotations, torch.from_numpy(pixels * size[:, None]))


def _half_sets(path: Path, rows: np.ndarray, notes: list[str]) -> torch.Tensor:
    name = "alignments3D/split"
    if not has(rows, name):
        return checked_half_sets(None, len(rows), str(path), name, notes)
    split = rows[name].astype(np.int64)
    if not np.isin(split, (0, 1)).all():
        raise InputError(
            f"{path}: {name} has the values {np.unique(split)[:6].tolist()}, expected 0 and 1.\n"
            f"  Remedy: give the particles of one refinement."
        )
    return checked_half_sets((split + 1).astype(np.float64), len(rows), str(path), name, notes)


def _numbers(
    path: Path, rows: np.ndarray, name: str, default: float | None = None
) -> NDArray[np.float64]:
    if default is not None and not has(rows, name):
        return np.full(len(rows), default)
    return numbers(rows[name], name, str(path), CsError)


def _codes(rows: np.ndarray, name: str) -> NDArray[np.int64] | None:
    return codes(rows[name]) if has(rows, name) else None

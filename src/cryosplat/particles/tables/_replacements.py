"""What the user gives in place of a table's own columns: a pixel size, no CTF, pickles of cryoDRGN.

``poses.pkl``: rotations (n, 3, 3) as in `Poses`, and translations (n, 2) as fractions of the box
with the sign of RELION's origins. ``ctf.pkl``: (n, 9) with original box, its pixel size, defocus u
and v in Angstrom, angle in degrees, kV, Cs in mm, amplitude contrast, phase shift in degrees.
(cryoDRGN 4, ``pose.py``, ``ctf.py``: the formats only.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError, PickleError
from ...io.pickles import load_pickle
from ...notes import Note
from ...optics import Optics
from ...poses import Poses
from ._columns import decimal, numbers
from ._groups import group_rows

_CTF_COLUMNS = ("box size", "pixel size", "defocus u", "defocus v", "defocus angle", "voltage",
                "Cs", "amplitude contrast", "phase shift")  # fmt: skip


def is_no_ctf(ctf: Path) -> bool:
    """Whether the user said that the images have no CTF."""
    return str(ctf) == "none"


def no_poses(n: int) -> Poses:
    """The identity and no shift, where poses are yet to be found."""
    rotations = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
    return Poses(rotations, torch.zeros(n, 2, dtype=torch.float64))


def optics_without_ctf(
    pixel_size: NDArray[np.float64], boxes: NDArray[np.int64], where: str,
    names: Sequence[str] = ("no CTF",), key: NDArray[np.int64] | None = None,
) -> tuple[tuple[Optics, NDArray[np.int64]], list[Note]]:  # fmt: skip
    """Optics whose CTF is 1 at every frequency (all contrast is amplitude contrast), as
    `pickled_optics`."""
    columns = {
        "pixel_size": pixel_size, "box_size": boxes, "voltage": 3e5, "spherical_aberration": 0.0,
        "amplitude_contrast": 1.0,
    }  # fmt: skip
    key = np.zeros_like(boxes) if key is None else key
    groups, group, first = group_rows(names, key, columns, where, InputError)
    zero = torch.zeros(len(boxes), dtype=torch.float64)
    optics = Optics(groups, torch.from_numpy(group), zero, zero, zero, zero, zero, zero + 1)
    text = "The images are taken to have no CTF, as requested."
    return (optics, first), [Note("no-ctf", "note", text)]


def unused_columns_note(columns: Sequence[str], source: Path, ctf: Path) -> Note:
    """On the ``columns`` of a file that a pickle's CTF, or none, replaces without having them."""
    why = "the images are taken to have no CTF" if is_no_ctf(ctf) else f"{ctf} is used instead"
    text = f"{', '.join(columns)} of {source} are not used: {why}."
    return Note("columns-replaced", "note", text)


def pixel_size_note(pixel_size: float, source: Path) -> Note:
    """On a pixel size that the user gives in place of the file's."""
    text = (
        f"The pixel size is {pixel_size:g} A as given, in place of the one in {source}. Shifts keep "
        f"their number of pixels."
    )
    return Note("pixel-size-replaced", "note", text)


def pickled_optics(
    path: Path, boxes: NDArray[np.int64], pixel_size: float | None,
    names: Sequence[str] = ("opticsGroup1",), key: NDArray[np.int64] | None = None,
) -> tuple[tuple[Optics, NDArray[np.int64]], list[Note]]:  # fmt: skip
    """The `Optics` of ``ctf.pkl`` for images of ``boxes`` (n,) pixels and each group's first row;
    notes.

    The pixel size in the file is that of its original box: it is converted row by row. ``key`` (n,)
    indexes the ``names`` of groups that the rows belong to.
    """
    values = np.asarray(_array(path, load_pickle(path)))
    if values.ndim != 2 or values.shape[1] != len(_CTF_COLUMNS):
        raise PickleError(
            f"{path}: holds an array of shape {values.shape}, expected (n, 9): "
            f"{', '.join(_CTF_COLUMNS)}.\n"
            f"  Remedy: write it again with cryodrgn parse_ctf_star or parse_ctf_csparc"
        )
    _check_length(path, len(values), len(boxes), "rows")
    columns = {
        name: numbers(values[:, i], name, str(path), PickleError)
        for i, name in enumerate(_CTF_COLUMNS)
    }
    pixels = columns["box size"] * decimal(columns["pixel size"]) / boxes
    if pixel_size is not None:
        pixels = np.full(len(boxes), pixel_size)
    shared = {
        "pixel_size": pixels,
        "box_size": boxes,
        "voltage": decimal(columns["voltage"]) * 1e3,
        "spherical_aberration": decimal(columns["Cs"]) * 1e7,
        "amplitude_contrast": decimal(columns["amplitude contrast"]),
    }
    key = np.zeros(len(boxes), dtype=np.int64) if key is None else key
    groups, group, first = group_rows(names, key, shared, str(path), PickleError)
    u, v = columns["defocus u"], columns["defocus v"]
    angle, phase = np.deg2rad(columns["defocus angle"]), np.deg2rad(columns["phase shift"])
    own = [torch.from_numpy(c) for c in (u, v, angle, phase, np.zeros_like(u), np.ones_like(u))]
    notes = [] if pixel_size is None else [pixel_size_note(pixel_size, path)]
    return (Optics(groups, torch.from_numpy(group), *own), first), notes


def pickled_poses(paths: tuple[Path, ...], side: ArrayLike) -> tuple[Poses, list[Note]]:
    """The `Poses` of one pickle, or of one of rotations and one of translations, and notes; ``side``
    (n,) is the side of each image in Angstrom. Of "none" in the place of a pickle: `no_poses`."""
    side = np.asarray(side, dtype=np.float64)
    if list(map(str, paths)) == ["none"]:
        return no_poses(len(side)), []
    parts: list[np.ndarray] = []
    for path in paths:
        loaded = load_pickle(path)
        arrays = loaded if isinstance(loaded, (tuple, list)) else (loaded,)
        parts += [_array(path, array) for array in arrays]
    name = " and ".join(map(str, paths))
    if len(parts) not in (1, 2):
        raise PickleError(
            f"{name}: holds {len(parts)} arrays, expected rotations and translations.\n"
            f"  Remedy: write it again with cryodrgn parse_pose_star or parse_pose_csparc"
        )
    rotations = torch.from_numpy(_rotations(name, parts[0], len(side)))
    if len(parts) == 1:
        note = Note("no-origins", "note", f"{name} has no translations; zero is used.")
        return Poses(rotations, torch.zeros(len(side), 2, dtype=torch.float64)), [note]
    fractions = _translations(name, parts[1], len(side))
    return Poses(rotations, torch.from_numpy(fractions * side[:, None])), []


def _rotations(name: str, values: np.ndarray, n: int) -> NDArray[np.float64]:
    if values.ndim != 3 or values.shape[1:] != (3, 3):
        raise PickleError(
            f"{name}: the rotations have shape {values.shape}, expected (n, 3, 3).\n"
            f"  Remedy: pass the rotations first, --poses rotations.pkl translations.pkl"
        )
    _check_length(name, len(values), n, "rotations")
    rotations = values.astype(np.float64)
    plausible = np.abs(rotations).max(axis=(1, 2), initial=0.0) < 2  # False for NaN
    rotations[~plausible] = 0.0
    error = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    wrong = ~((error < 1e-3) & (np.linalg.det(rotations) > 0))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise PickleError(
            f"{name}, row {row + 1}: the matrix is not a rotation "
            f"({int(wrong.sum())} of {n} rows are affected).\n"
            f"  Remedy: write it again with cryodrgn parse_pose_star or parse_pose_csparc"
        )
    return rotations


def _translations(name: str, values: np.ndarray, n: int) -> NDArray[np.float64]:
    if values.shape[1:] != (2,):
        raise PickleError(f"{name}: the translations have shape {values.shape}, expected (n, 2).")
    _check_length(name, len(values), n, "translations")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise PickleError(
            f"{name}, row {int(np.flatnonzero(~finite)[0]) + 1}: the translation is not finite "
            f"({int((~finite).sum())} rows are affected).\n  Remedy: write it again."
        )
    largest = float(np.abs(values).max(initial=0.0))
    if largest > 1.0:
        raise PickleError(
            f"{name}: translations reach {largest:.4g}, expected fractions of the box, below 1.\n"
            f"  This is the old format of cryoDRGN, in pixels.\n"
            f"  Remedy: parse the poses again with cryoDRGN 0.3 or newer, or divide by the box size"
        )
    return values.astype(np.float64)


def _array(path: Path, value: object) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise PickleError(
            f"{path}: holds {type(value).__name__}, expected a numpy array of numbers.\n"
            f"  Remedy: give poses.pkl and ctf.pkl as cryodrgn writes them."
        )
    return value


def _check_length(name: Path | str, n: int, expected: int, what: str) -> None:
    if n != expected:
        raise PickleError(
            f"{name}: holds {n} {what} for {expected} images.\n"
            f"  Rows and images are matched by position, so their numbers must agree.\n"
            f"  Remedy: use the pickle that was written from this very file, or the .star file"
        )

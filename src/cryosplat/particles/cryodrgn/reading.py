"""cryoDRGN pickles: poses, CTF values, and the stacks they describe by position.

``poses.pkl``: rotations (n, 3, 3) as in `Poses`, and translations (n, 2) as fractions of the box
with the sign of RELION's origins. ``ctf.pkl``: (n, 9) with original box, its pixel size, defocus u
and v in Angstrom, angle in degrees, kV, Cs in mm, amplitude contrast, phase shift in degrees.
``halfsets.pkl``: the positions of half-set 1 and of half-set 2 (RECOVAR).
(cryoDRGN 4, ``pose.py``, ``ctf.py``: the formats only.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError, PickleError, StackError
from ...io.mrc import StackFile
from ...io.pickles import load_pickle
from ...optics import Optics
from ...poses import Poses
from ..faults import StackFaults
from ..images import open_images
from ..resolving import resolve_all
from ..tables.columns import decimal, numbers
from ..tables.groups import group_rows
from ..values import Particles

HALF_SETS = "halfsets.pkl"
_CTF_COLUMNS = ("box size", "pixel size", "defocus u", "defocus v", "defocus angle", "voltage",
                "Cs", "amplitude contrast", "phase shift")  # fmt: skip


def read_stack(
    path: Path, datadir: Path | None, poses: tuple[Path, ...], ctf: Path | None,
    pixel_size: float | None, faults: StackFaults | None = None,
) -> Particles:  # fmt: skip
    """Particles of a stack, or of a ``.txt`` list of stacks, that pickles describe in its order."""
    poses = poses or (_beside(path, "poses.pkl", "--poses"),)
    ctf = ctf or _beside(path, "ctf.pkl", "--ctf")
    names, sections = _listed(path, datadir)
    images = open_images(names, sections, path, str(path), datadir, faults=faults)
    notes = list(images.notes)
    if without_ctf(ctf):
        pixels = np.full(len(images), _pixel_size(path, pixel_size))
        optics, first = optics_without_ctf(pixels, images.box_sizes, str(path), notes)
    else:
        optics, first = pickled_optics(ctf, images.box_sizes, pixel_size, notes)
    side = optics.of_group("pixel_size").numpy() * images.box_sizes
    placed = pickled_poses(poses, side, notes)
    labels = np.array([f"{s + 1:06d}@{n}" for n, s in zip(names, sections, strict=True)], object)
    return Particles(
        images=images, poses=placed, optics=optics,
        half_sets=_half_sets(poses[0].parent / HALF_SETS, len(images), notes), names=labels,
        source=path,
        table=pd.DataFrame({"rlnImageName": labels}),
        optics_table=pd.DataFrame(index=range(len(first))), notes=tuple(notes),
    )  # fmt: skip


def _half_sets(path: Path, n: int, notes: list[str]) -> torch.Tensor:
    """Half-sets out of the positions (m,), (n - m,) that a pickle beside the poses may hold."""
    labels = torch.zeros(n, dtype=torch.int8)
    if not path.is_file():
        return labels
    loaded = load_pickle(path)
    parts = [np.asarray(part) for part in loaded] if isinstance(loaded, (list, tuple)) else []
    if len(parts) != 2 or any(part.ndim != 1 or part.dtype.kind not in "iu" for part in parts):
        raise PickleError(
            f"{path}: expected two arrays of positions, one for each half-set.\n"
            f"  Remedy: write it again, or remove it to have the particles split at random."
        )
    if not np.array_equal(np.sort(np.concatenate(parts)), np.arange(n)):
        raise PickleError(
            f"{path}: the half-sets hold {len(parts[0])} and {len(parts[1])} positions, expected "
            f"each of the {n} particles once.\n"
            f"  Remedy: give the file that belongs to these images, or remove it."
        )
    for label, part in enumerate(parts, 1):
        labels[torch.from_numpy(part.astype(np.int64))] = label
    notes.append(f"the half-sets are those of {path}.")
    return labels


def without_ctf(ctf: Path) -> bool:
    """Whether the user said that the images have no CTF."""
    return str(ctf) == "none"


def optics_without_ctf(
    pixel_size: NDArray[np.float64], boxes: NDArray[np.int64], where: str, notes: list[str],
    names: Sequence[str] = ("no CTF",), key: NDArray[np.int64] | None = None,
) -> tuple[Optics, NDArray[np.int64]]:  # fmt: skip
    """Optics whose CTF is 1 at every frequency, as `pickled_optics`: all contrast is amplitude
    contrast."""
    notes.append("the images are taken to have no CTF, as given.")
    held = {
        "pixel_size": pixel_size, "box_size": boxes, "voltage": 3e5, "spherical_aberration": 0.0,
        "amplitude_contrast": 1.0,
    }  # fmt: skip
    key = np.zeros_like(boxes) if key is None else key
    groups, group, first = group_rows(names, key, held, where, InputError)
    zero = torch.zeros(len(boxes), dtype=torch.float64)
    return Optics(groups, torch.from_numpy(group), zero, zero, zero, zero, zero, zero + 1), first


def replaced_note(columns: Sequence[str], source: Path, ctf: Path) -> str:
    """What of a file's ``columns`` a pickle's CTF, or none, replaces without having them."""
    why = "the images have no CTF" if without_ctf(ctf) else f"{ctf} replaces them"
    return f"{', '.join(columns)} of {source} are not used: {why}, as given."


def pixel_size_note(given: float, source: Path) -> str:
    """What a pixel size that the user gives does to that of a file."""
    return (
        f"pixel size {given:g} A as given; the one in {source} is not used. Shifts keep their number "
        f"of pixels."
    )


def pickled_optics(
    path: Path, boxes: NDArray[np.int64], pixel_size: float | None, notes: list[str],
    names: Sequence[str] = ("opticsGroup1",), key: NDArray[np.int64] | None = None,
) -> tuple[Optics, NDArray[np.int64]]:  # fmt: skip
    """The `Optics` of ``ctf.pkl`` for images of ``boxes`` (n,) pixels, and each group's first row.

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
        notes.append(pixel_size_note(pixel_size, path))
        pixels = np.full(len(boxes), pixel_size)
    held = {
        "pixel_size": pixels,
        "box_size": boxes,
        "voltage": decimal(columns["voltage"]) * 1e3,
        "spherical_aberration": decimal(columns["Cs"]) * 1e7,
        "amplitude_contrast": decimal(columns["amplitude contrast"]),
    }
    key = np.zeros(len(boxes), dtype=np.int64) if key is None else key
    groups, group, first = group_rows(names, key, held, str(path), PickleError)
    u, v = columns["defocus u"], columns["defocus v"]
    angle, phase = np.deg2rad(columns["defocus angle"]), np.deg2rad(columns["phase shift"])
    own = [torch.from_numpy(c) for c in (u, v, angle, phase, np.zeros_like(u), np.ones_like(u))]
    return Optics(groups, torch.from_numpy(group), *own), first


def pickled_poses(paths: tuple[Path, ...], side: ArrayLike, notes: list[str]) -> Poses:
    """The `Poses` of one pickle, or of one of rotations and one of translations; ``side`` (n,) is
    the side of each image in Angstrom."""
    side = np.asarray(side, dtype=np.float64)
    parts: list[np.ndarray] = []
    for path in paths:
        loaded = load_pickle(path)
        found = loaded if isinstance(loaded, (tuple, list)) else (loaded,)
        parts += [_array(path, part) for part in found]
    name = " and ".join(map(str, paths))
    if len(parts) not in (1, 2):
        raise PickleError(
            f"{name}: holds {len(parts)} arrays, expected rotations and translations.\n"
            f"  Remedy: write it again with cryodrgn parse_pose_star or parse_pose_csparc"
        )
    rotations = _rotations(name, parts[0], len(side))
    if len(parts) == 1:
        notes.append(f"{name} has no translations; they are taken to be zero.")
        return Poses(torch.from_numpy(rotations), torch.zeros(len(side), 2, dtype=torch.float64))
    fractions = _translations(name, parts[1], len(side))
    return Poses(torch.from_numpy(rotations), torch.from_numpy(fractions * side[:, None]))


def _rotations(name: str, given: np.ndarray, n: int) -> NDArray[np.float64]:
    if given.ndim != 3 or given.shape[1:] != (3, 3):
        raise PickleError(
            f"{name}: the rotations have shape {given.shape}, expected (n, 3, 3).\n"
            f"  Remedy: pass the rotations first, --poses rotations.pkl translations.pkl"
        )
    _check_length(name, len(given), n, "rotations")
    rotations = given.astype(np.float64)
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


def _translations(name: str, given: np.ndarray, n: int) -> NDArray[np.float64]:
    if given.shape[1:] != (2,):
        raise PickleError(f"{name}: the translations have shape {given.shape}, expected (n, 2).")
    _check_length(name, len(given), n, "translations")
    finite = np.isfinite(given).all(axis=1)
    if not finite.all():
        raise PickleError(
            f"{name}, row {int(np.flatnonzero(~finite)[0]) + 1}: the translation is not finite "
            f"({int((~finite).sum())} rows are affected).\n  Remedy: write it again."
        )
    largest = float(np.abs(given).max(initial=0.0))
    if largest > 1.0:
        raise PickleError(
            f"{name}: translations reach {largest:.4g}, expected fractions of the box, below 1.\n"
            f"  This is the old format of cryoDRGN, in pixels.\n"
            f"  Remedy: parse the poses again with cryoDRGN 0.3 or newer, or divide by the box size"
        )
    return given.astype(np.float64)


def _array(path: Path, value: object) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise PickleError(
            f"{path}: holds {type(value).__name__}, expected a numpy array of numbers.\n"
            f"  Remedy: give poses.pkl and ctf.pkl as cryodrgn writes them."
        )
    return value


def _check_length(name: Path | str, given: int, expected: int, what: str) -> None:
    if given != expected:
        raise PickleError(
            f"{name}: holds {given} {what} for {expected} images.\n"
            f"  Rows belong to images by their position, so the numbers must agree.\n"
            f"  Remedy: give the pickle that was written from this very file, or the .star file"
        )


def _beside(path: Path, name: str, option: str) -> Path:
    found = path.parent / name
    if not found.is_file():
        raise InputError(
            f"{path}: a stack alone has no {name.removesuffix('.pkl')}, and there is no {found}.\n"
            f"  Remedy: {option} FILE.pkl, or give the .star or .cs file of the particles"
        )
    return found


def _pixel_size(path: Path, given: float | None) -> float:
    if given is None:
        raise InputError(f"{path}: nothing states the pixel size.\n  Remedy: --pixel-size ANGSTROM")
    return given


def _listed(path: Path, datadir: Path | None) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Stack names (n,) and sections from 0 (n,) of all images of all listed stacks."""
    if path.suffix.lower() == ".txt":
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise StackError(f"{path}: cannot be read ({error.strerror}).") from None
        listed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not listed:
            raise StackError(f"{path}: lists no stacks; expected one file name a line.")
    else:
        listed = [path.name]
    files = resolve_all(listed, [1] * len(listed), path, str(path), datadir)
    counts = [StackFile(file).n_images for file in files]
    names = np.repeat(np.array(listed, dtype=object), counts)
    return names, np.concatenate([np.arange(c, dtype=np.int64) for c in counts])

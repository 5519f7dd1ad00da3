"""Stacks with poses and CTFs in pickles of cryoDRGN, which describe images by their position.

``halfsets.pkl``: the positions of half-set 1 and of half-set 2 (RECOVAR).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ...errors import InputError, PickleError, StackError
from ...io.mrc import StackFile
from ...io.pickles import load_pickle
from ...notes import Note, NoteCollector
from ..faults import StackFaults
from ..images import open_images
from ..resolving import resolve_all
from ..tables import is_no_ctf, optics_without_ctf, pickled_optics, pickled_poses
from ..values import Particles

HALF_SETS = "halfsets.pkl"


def read_stack(
    path: Path, datadir: Path | None, poses: tuple[Path, ...], ctf: Path | None,
    pixel_size: float | None, faults: StackFaults | None = None,
) -> Particles:  # fmt: skip
    """Particles of a stack, or of a ``.txt`` list of stacks, that pickles describe in its order."""
    poses = poses or (_beside(path, "poses.pkl", "--poses"),)
    ctf = ctf or _beside(path, "ctf.pkl", "--ctf")
    names, sections = _listed_images(path, datadir)
    images = open_images(names, sections, path, str(path), datadir, faults=faults)
    notes = NoteCollector(images.notes)
    if is_no_ctf(ctf):
        pixels = np.full(len(images), _pixel_size(path, pixel_size))
        result = optics_without_ctf(pixels, images.box_sizes, str(path))
    else:
        result = pickled_optics(ctf, images.box_sizes, pixel_size)
    optics, first = notes.collect(result)
    side = optics.of_group("pixel_size").numpy() * images.box_sizes
    labels = np.array([f"{s + 1:06d}@{n}" for n, s in zip(names, sections, strict=True)], object)
    return Particles(
        images=images, poses=notes.collect(pickled_poses(poses, side)), optics=optics,
        half_sets=notes.collect(_half_sets(poses[0].parent / HALF_SETS, len(images))),
        names=labels, source=path,
        table=pd.DataFrame({"rlnImageName": labels}),
        optics_table=pd.DataFrame(index=range(len(first))), notes=tuple(notes),
    )  # fmt: skip


def _half_sets(path: Path, n: int) -> tuple[torch.Tensor, list[Note]]:
    """Half-sets (n,) out of the positions (m,), (n - m,) that a pickle beside the poses may hold."""
    labels = torch.zeros(n, dtype=torch.int8)
    if not path.is_file():
        return labels, []
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
    return labels, [Note("half-sets-pickled", "note", f"The half-sets are taken from {path}.")]


def _beside(path: Path, name: str, option: str) -> Path:
    file = path.parent / name
    if not file.is_file():
        raise InputError(
            f"{path}: a stack alone has no {name.removesuffix('.pkl')}, and there is no {file}.\n"
            f"  Remedy: {option} FILE.pkl, or give the .star or .cs file of the particles"
        )
    return file


def _pixel_size(path: Path, pixel_size: float | None) -> float:
    if pixel_size is None:
        raise InputError(f"{path}: nothing states the pixel size.\n  Remedy: --pixel-size ANGSTROM")
    return pixel_size


def _listed_images(
    path: Path, datadir: Path | None
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
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

"""Reading particles, whatever program wrote them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..io.foreign import FIRST, foreign
from .cryodrgn import read_stack
from .cryosparc import read_cryosparc
from .faults import StackFaults
from .jobs import table_of
from .relion import read_relion
from .values import Particles

PathLike = str | os.PathLike[str]


def read_particles(
    path: PathLike,
    *,
    datadir: PathLike | None = None,
    poses: PathLike | Sequence[PathLike] | None = None,
    ctf: PathLike | None = None,
    pixel_size: float | None = None,
    alignment_class: int | None = None,
    faults: StackFaults | None = None,
) -> Particles:
    """Particles of a RELION ``.star``, a cryoSPARC ``.cs``, or a stack with cryoDRGN pickles.

    Or of the folder of a job: of its newest table (`jobs.table_of`).

    All images are checked for existence; no pixel is read.

    Parameters
    ----------
    datadir
        The last place to look for stacks with relative names.
    poses, ctf
        Pickles of cryoDRGN, which replace the file's own columns row by row (``poses`` may be two
        files, rotations and translations). With a stack, ``poses.pkl`` and ``ctf.pkl`` beside it
        are the default. With a ``.cs`` file they may be ``.cs`` files too, joined by uid.
        ``ctf="none"``: the images have no CTF (it is 1 everywhere). ``poses="none"``: they are yet
        to be found, and none of the table are read.
    pixel_size
        In Angstrom, where the file has none or a wrong one.
    alignment_class
        The class whose poses to use, where a ``.cs`` file has poses in several; default: each
        particle's most probable class.
    faults
        Collects faults of the stacks, which are errors otherwise.

    Raises
    ------
    InputError
        Or one of its kinds, naming file, row and remedy.
    """
    path = Path(path)
    folder = None if datadir is None else Path(datadir)
    if folder is not None and not folder.is_dir():
        raise InputError(f"--datadir {folder}: no such folder.\n  Remedy: check the path.")
    if not path.exists():
        raise InputError(f"{path}: no such file.\n  Remedy: check the path.")
    if path.is_dir():
        path = table_of(path)
    if pixel_size is not None and not 0.0 < pixel_size < 1e3:
        raise InputError(f"--pixel-size {pixel_size:g}: expected Angstrom, between 0 and 1000.")
    pose_paths = _paths(poses)
    ctf_path = None if ctf is None else Path(ctf)
    suffix = path.suffix.lower()
    _check_others(path, pose_paths, ctf_path)
    if alignment_class is not None and suffix not in (".cs", ".csg"):
        raise InputError(
            f"--alignment-class {alignment_class}: only .cs files have poses in several classes, not "
            f"{path}.\n  Remedy: use --classes {alignment_class} for the particles of a class."
        )
    if suffix == ".star":
        return read_relion(path, folder, pose_paths, ctf_path, pixel_size, faults)
    if suffix in (".cs", ".csg"):
        return read_cryosparc(
            path, folder, pose_paths, ctf_path, pixel_size, alignment_class, faults
        )
    if suffix in (".mrcs", ".mrc", ".txt", ".st"):
        return read_stack(path, folder, pose_paths, ctf_path, pixel_size, faults)
    with open(path, "rb") as stream:
        begins = stream.read(FIRST)
    raise InputError(
        foreign(path, begins, "a particle table or an MRC stack")
        or f"{path}: particles cannot be read from {suffix or 'a file without suffix'}; expected .star "
        f"(RELION, cisTEM), .cs or .csg (cryoSPARC), or .mrcs, .mrc or .txt with poses.pkl and ctf.pkl "
        f"(cryoDRGN).\n  Remedy: use the run_data.star of the last refinement."
    )


def _check_others(path: Path, poses: tuple[Path, ...], ctf: Path | None) -> None:
    """Raise `InputError` where tables are given in place of pickles."""
    options = [("--poses", p) for p in poses] + ([("--ctf", ctf)] if ctf is not None else [])
    for option, file in options:
        suffix = file.suffix.lower()
        cryosparc = path.suffix.lower() in (".cs", ".csg")
        if suffix in (".star", ".csg") or (suffix == ".cs" and not cryosparc):
            also = ", or a .cs file" if cryosparc else ""
            raise InputError(
                f"{option} {file}: expected a cryoDRGN .pkl{also}.\n  Remedy: reconstruct from {file} "
                f"itself, or cryosplat convert {file} -o FOLDER writes poses.pkl and ctf.pkl, whose "
                f"rows match images by position."
            )


def _paths(paths: PathLike | Sequence[PathLike] | None) -> tuple[Path, ...]:
    if paths is None:
        return ()
    if isinstance(paths, (str, os.PathLike)):
        return (Path(paths),)
    return tuple(map(Path, paths))

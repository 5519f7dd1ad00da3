"""Options that several commands share."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import InputError

DeviceName = Literal["auto", "cpu", "cuda"]
Seed = Annotated[int, typer.Option(metavar="N", help="Random seed.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", help="Number of threads. Default: all cores.")
]
Device = Annotated[
    DeviceName | None,
    typer.Option(help="Compute on the CPU or a CUDA GPU. Default: the GPU if there is one."),
]
Invert = Annotated[
    bool | None,
    typer.Option(
        "--invert/--no-invert",
        help="Protein is dark (or bright) in the images. Default: detected from the data.",
    ),
]
Downsample = Annotated[
    int | None, typer.Option(metavar="BOX", help="Fourier-crop the images to this box size.")
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Folder for the results.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier run in that folder.")
]


def existing(name: str) -> Path:
    """The path of a file or folder that is read.

    Raises `InputError` where there is none: before anything is imported that takes seconds.
    """
    path = Path(name)
    try:
        os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a byte that no name has
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: {reason}.\n  Remedy: {_meant(path)}") from error
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise InputError(f"{path}: you may not read it.\n  Remedy: ask its owner.")
    return path


def existing_or_growing(name: str) -> Path:
    """Likewise; of a run that is being made there is a map already, beside its place."""
    whole = os.path.abspath(name)  # "." has no name of its own
    return Path(whole) if os.path.isfile(f"{whole}.growing.mrc") else existing(name)


def existing_or_none(name: str) -> Path:
    """Likewise; ``none`` stands for itself."""
    return Path(name) if name == "none" else existing(name)


def _meant(path: Path) -> str:
    """What to do about a name that is not there, by those beside it."""
    try:
        beside = os.listdir(path.parent)
    except (OSError, ValueError):
        return f"check the path: there is no folder {path.parent} that you can read."
    near = difflib.get_close_matches(path.name, beside, 1)
    return f"did you mean {path.with_name(near[0])}?" if near else "check the path."

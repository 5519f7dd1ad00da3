"""The other places in which images may be, kept beside the poses that were found from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..io.arrays import read_arrays, write_arrays
from ..poses import Poses
from .folder import RunFolder

FORMAT = 1
SAME = 1e-4, 1e-3
"""As far as a star file rounds a pose: of a matrix's entries, and of a shift in Angstrom."""


def write_places(folder: RunFolder, poses: Poses, others: Sequence[Poses]) -> None:
    """Keep the ``others`` of particles whose likeliest ``poses`` are in the star file."""
    held = [poses, *others]
    arrays = {
        "rotations": torch.stack([each.rotations for each in held]).float().numpy(),
        "shifts": torch.stack([each.shifts for each in held]).float().numpy(),
    }
    write_arrays(folder.places, "places", FORMAT, arrays, {})


def read_places(particles: Path, poses: Poses) -> tuple[Poses, ...]:
    """The other places of particles with ``poses``, read from the star file ``particles``.

    A particle is known by its pose, so some of the particles in any order have theirs; one that was
    given another pose since has none, and stays where it is. Empty where the star file is not beside
    such places. Raises `InputError` for a damaged file.
    """
    path = RunFolder(particles.parent).places
    if not path.exists():
        return ()
    arrays, _ = read_arrays(path, "places", FORMAT, "delete this file, or run abinit again.")
    rotations, shifts = arrays["rotations"].astype(float), arrays["shifts"].astype(float)
    tree = cKDTree(_keys(rotations[0], shifts[0]))
    distance, row = tree.query(_keys(poses.rotations.numpy(), poses.shifts.numpy()))
    known = torch.from_numpy(distance < 1.0)
    if not bool(known.any()):
        return ()
    row = np.where(known.numpy(), row, 0)
    return tuple(
        Poses(
            torch.where(known[:, None, None], torch.from_numpy(r[row]), poses.rotations),
            torch.where(known[:, None], torch.from_numpy(s[row]), poses.shifts),
        )
        for r, s in zip(rotations[1:], shifts[1:], strict=True)
    )  # fmt: skip


def _keys(rotations: NDArray, shifts: NDArray) -> NDArray:
    """(n, 11): the same pose where two are less than 1 apart."""
    return np.concatenate([rotations.reshape(-1, 9) / SAME[0], shifts / SAME[1]], 1)

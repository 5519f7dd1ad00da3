"""Half-sets: the labels a file gives, and a seeded random split where it gives none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .tables.columns import codes
from .values import Particles

_LARGEST_SHARE, _LARGEST_WHOLE = 0.1, 0.5  # of the particles in one unit; in one not to divide
_LARGE = 0.01  # share of units that are dealt out first


def checked_half_sets(
    labels: NDArray[np.float64] | None, n: int, where: str, column: str, notes: list[str]
) -> Tensor:
    """Labels (n,) as int8 in {1, 2}, or zeros where the file gives none.

    Raises `InputError` where only some rows are labelled or a label is neither 1 nor 2.
    """
    if labels is None:
        return torch.zeros(n, dtype=torch.int8)
    bad = np.flatnonzero(~np.isin(labels, (1, 2)))
    found = np.unique(labels)
    if len(bad) and np.any(labels != 0):
        counts = ", ".join(f"{v:g} ({int(np.sum(labels == v))} rows)" for v in found[:6])
        raise InputError(
            f"{where} row {bad[0] + 1}: {column} is {labels[bad[0]]:g}, expected 1 or 2 in every "
            f"row; the file has {counts}.\n"
            f"  Files with and without half-sets were probably joined.\n"
            f"  Remedy: take the half-sets of the refinement that gave the poses, or remove the "
            f"column {column} to have the particles split at random."
        )
    if len(found) == 1 and len(labels) > 1:
        if found[0] != 0:
            notes.append(
                f"{column} is {found[0]:g} in every row; this is no split and is not used."
            )
        return torch.zeros(len(labels), dtype=torch.int8)
    return torch.from_numpy(labels.astype(np.int8))


def split_half_sets(particles: Particles, generator: torch.Generator) -> Particles:
    """The particles, divided at random into half-sets 1 and 2 of nearly equal size.

    What is not independent stays together: tilt images of one particle, filaments, and rows with the
    same image; micrographs too (or, where those are not named, stacks), unless one holds more than a
    tenth of the particles. A warning says where a particle or filament had to be divided, because
    it is more than half of all.
    """
    unit, kind, warnings = _units(particles)
    sizes = np.bincount(unit)
    halves = np.zeros(len(sizes), dtype=np.int8)
    totals = [0, 0]
    order = torch.randperm(len(sizes), generator=generator).numpy()
    large = sizes[order] > _LARGE * len(unit)  # the small ones even out what those leave
    largest = order[large][np.argsort(-sizes[order[large]], kind="stable")]
    for i in np.concatenate([largest, order[~large]]):
        smaller = int(totals[1] < totals[0])
        halves[i] = smaller + 1
        totals[smaller] += int(sizes[i])
    note = (
        f"no half-sets were given: {totals[0]} and {totals[1]} particles were drawn at random, by "
        f"{kind}. If the poses come from a refinement with its own half-sets, use those."
    )
    return replace(
        particles, half_sets=torch.from_numpy(halves[unit]),
        notes=(*particles.notes, note, *warnings),
    )  # fmt: skip


def _units(particles: Particles) -> tuple[NDArray[np.int64], str, list[str]]:
    """The unit (n,) that each row belongs to, what the units are, and what the user must know."""
    images = particles.images
    image = codes(images.stack * (int(images.section.max()) + 1) + images.section)
    choices = (
        (particles.tilt_particles, "particle of the tilt series", _LARGEST_WHOLE),
        (particles.filaments, "filament", _LARGEST_WHOLE),
        (particles.micrographs, "micrograph", _LARGEST_SHARE),
        (images.stack if particles.micrographs is None else None, "stack", _LARGEST_SHARE),
    )
    warnings = []
    for unit, kind, most in choices:
        if unit is None:
            continue
        unit = codes(unit)
        share = float(np.bincount(unit).max()) / len(particles)
        if share <= max(1 / len(particles), most):
            return unit, kind, warnings
        if most == _LARGEST_WHOLE:
            warnings.append(
                f"warning: one {kind} has {100 * share:.0f} % of all images and is divided between "
                f"the half-sets, which so are not independent: their FSC will be too high."
            )
    return image, "particle", warnings

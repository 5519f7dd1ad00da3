"""Half-sets drawn at random, where the file has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..notes import Note
from .tables import integer_codes
from .values import Particles

_LARGEST_SHARE, _LARGEST_WHOLE = 0.1, 0.5  # of the particles in one unit; in an indivisible one
_LARGE = 0.01  # share of the particles; larger units are assigned first


def split_half_sets(particles: Particles, generator: torch.Generator) -> Particles:
    """The particles, divided at random into half-sets 1 and 2 of nearly equal size.

    Rows that are not independent stay together: tilt images of one particle, filaments, and rows
    with the same image; micrographs too (or, if those are not named, stacks), unless one holds more
    than a tenth of the particles. A warning is added where a particle or filament has to be divided
    because it is more than half of all.
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
    note = Note(
        "half-sets-drawn", "note",
        f"The file has no half-sets: {totals[0]} and {totals[1]} particles were drawn at random, by "
        f"{kind}.",
        "If the poses come from a refinement with its own half-sets, use those.",
    )  # fmt: skip
    return replace(
        particles, half_sets=torch.from_numpy(halves[unit]),
        notes=(*particles.notes, note, *warnings),
    )  # fmt: skip


def _units(particles: Particles) -> tuple[NDArray[np.int64], str, list[Note]]:
    """The unit (n,) that each row belongs to, what the units are, and warnings."""
    images = particles.images
    image = integer_codes(images.stack * (int(images.section.max()) + 1) + images.section)
    choices = (
        (particles.tilt_particles, "particle of the tilt series", _LARGEST_WHOLE),
        (particles.filaments, "filament", _LARGEST_WHOLE),
        (particles.micrographs, "micrograph", _LARGEST_SHARE),
        (images.stack if particles.micrographs is None else None, "stack", _LARGEST_SHARE),
    )
    warnings: list[Note] = []
    for unit, kind, most in choices:
        if unit is None:
            continue
        unit = integer_codes(unit)
        share = float(np.bincount(unit).max()) / len(particles)
        if share <= max(1 / len(particles), most):
            return unit, kind, warnings
        if most == _LARGEST_WHOLE:
            warnings.append(Note(
                "half-sets-divide-unit", "warning",
                f"One {kind} has {100 * share:.0f} % of all images and is divided between the "
                f"half-sets, so they are not independent and their FSC will be too high.",
                "Add particles from other micrographs.",
            ))  # fmt: skip
    return image, "particle", warnings

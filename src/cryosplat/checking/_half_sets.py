"""Half-sets: are there two of similar size, and are dependent images on one side?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..notes import Note, codes
from ..particles import Particles
from .values import Item

UNEQUAL = 0.2  # difference over the larger one
CHANCE = 3.0  # standard deviations of the difference in a random split


def half_set_item(particles: Particles) -> Item:
    """The half-sets of the file."""
    if not particles.has_half_sets:
        return Item("half-sets", "none in the file", tuple(_missing_notes(particles)))
    half = particles.half_sets.numpy()
    first, second = int((half == 1).sum()), int((half == 2).sum())
    findings = []
    chance = CHANCE * (first + second) ** 0.5
    if abs(first - second) > max(UNEQUAL * max(first, second), chance):
        findings.append(Note(
            "half-sets-unequal", "warning",
            f"The half-sets hold {first:,} and {second:,} particles; the FSC is limited by the "
            f"smaller one.",
            "Was one half lost in a selection? Use all particles of one refinement.",
        ))  # fmt: skip
    findings.extend(_split_notes(particles, half))
    return Item("half-sets", f"{first:,} + {second:,}", tuple(findings))


def _missing_notes(particles: Particles) -> Iterator[Note]:
    if "half-sets-one-value" in codes(particles.notes):
        yield Note(
            "half-sets-one-value", "warning",
            "All rows have the same half-set: one half was selected, or the column was never "
            "filled. A random split will be made instead; the poses may depend on both halves.",
            "Use the particles of both half-sets of the refinement.",
        )  # fmt: skip
    else:
        yield Note(
            "half-sets-missing", "note",
            "The file has no half-sets: a random split will be made. If the poses come from a "
            "refinement with its own half-sets, the halves are not independent.",
            "Use the star or cs file of the refinement, which has them.",
        )  # fmt: skip


def _split_notes(particles: Particles, half: NDArray[np.int8]) -> Iterator[Note]:
    tilts = on_both_sides(particles.tilt_particles, half)
    if tilts:
        yield Note(
            "tilt-series-split", "alarm",
            f"{tilts:,} particles of tilt series have images in both half-sets, so the halves are "
            f"not independent.",
            "Remove the column of half-sets to have a split by particle.",
        )  # fmt: skip
    filaments = on_both_sides(particles.filaments, half)
    if filaments:
        yield Note(
            "filaments-split", "alarm",
            f"{filaments:,} filaments have segments in both half-sets. Neighbouring segments "
            f"overlap, so the halves share noise and their FSC is too high.",
            "Remove the column of half-sets to have a split by filament.",
        )  # fmt: skip
    micrographs = on_both_sides(particles.micrographs, half)
    if micrographs and not filaments:
        yield Note(
            "micrographs-split", "note",
            f"{micrographs:,} micrographs have particles in both half-sets, as is usual; only "
            f"overlapping boxes would matter.",
        )  # fmt: skip


def on_both_sides(unit: NDArray[np.int64] | None, half: NDArray[np.int8]) -> int:
    """How many units have members in both half-sets."""
    if unit is None or not len(unit):
        return 0
    sides = np.zeros((int(unit.max()) + 1, 3), bool)
    sides[unit, half] = True
    return int((sides[:, 1] & sides[:, 2]).sum())

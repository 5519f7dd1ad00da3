"""Half-sets: are there two of similar size, and is what belongs together on one side?"""

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
    """The half-sets as the file has them."""
    if not particles.has_half_sets:
        return Item("half-sets", "none in the file", tuple(_absent(particles)))
    half = particles.half_sets.numpy()
    first, second = int((half == 1).sum()), int((half == 2).sum())
    findings = []
    chance = CHANCE * (first + second) ** 0.5
    if abs(first - second) > max(UNEQUAL * max(first, second), chance):
        findings.append(Note(
            "half-sets-unequal", "warning",
            f"The half-sets hold {first:,} and {second:,} particles; the FSC speaks for the "
            f"smaller one.",
            "Was one half lost in a selection? Take the particles of one refinement.",
        ))  # fmt: skip
    findings.extend(_divided(particles, half))
    return Item("half-sets", f"{first:,} + {second:,}", tuple(findings))


def _absent(particles: Particles) -> Iterator[Note]:
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
            "A random split is made; if the poses come from a refinement with its own half-sets, "
            "the two halves are not independent.",
            "Take the star or cs file of the refinement, which has them.",
        )  # fmt: skip


def _divided(particles: Particles, half: NDArray[np.int8]) -> Iterator[Note]:
    tilts = _on_both_sides(particles.tilt_particles, half)
    if tilts:
        yield Note(
            "tilt-series-split", "alarm",
            f"{tilts:,} particles of tilt series have images in both half-sets: the halves are not "
            f"independent.",
            "Remove the column of half-sets; the split is then made by particle.",
        )  # fmt: skip
    filaments = _on_both_sides(particles.filaments, half)
    if filaments:
        yield Note(
            "filaments-split", "alarm",
            f"{filaments:,} filaments have segments in both half-sets. Neighbouring segments "
            f"overlap, so that the halves share noise and their FSC is too high.",
            "Remove the column of half-sets; the split is then made by filament.",
        )  # fmt: skip
    micrographs = _on_both_sides(particles.micrographs, half)
    if micrographs and not filaments:
        yield Note(
            "micrographs-split", "note",
            f"{micrographs:,} micrographs have particles in both half-sets, as refinement programs "
            f"do it; only overlapping boxes would matter.",
        )  # fmt: skip


def _on_both_sides(unit: NDArray[np.int64] | None, half: NDArray[np.int8]) -> int:
    """How many units have members in both half-sets."""
    if unit is None or not len(unit):
        return 0
    sides = np.zeros((int(unit.max()) + 1, 3), bool)
    sides[unit, half] = True
    return int((sides[:, 1] & sides[:, 2]).sum())

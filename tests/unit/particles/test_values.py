"""Some of the particles: every kind of index says the same, and wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryosplat.errors import SettingsError
from cryosplat.particles import Particles, read_particles

Star = Callable[..., Path]


@pytest.fixture
def particles(star: Star) -> Particles:
    return read_particles(star(rlnMicrographName=list("abcabcabcabc")))


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (slice(2, 9, 3), [2, 5, 8]),
        (slice(None, None, -4), [11, 7, 3]),
        ([3, 1, 1], [3, 1, 1]),
        (np.array([-1, 0], np.int32), [11, 0]),
        (np.arange(12)[::-5], [11, 6, 1]),
        (torch.tensor([4, 2]), [4, 2]),
        (torch.arange(12) % 5 == 0, [0, 5, 10]),
        (np.arange(12) > 9, [10, 11]),
        ([True] + 11 * [False], [0]),
        (-2, [10]),
        (np.int64(3), [3]),
        ([], []),
    ],
)
def test_all_columns_follow_the_index(particles: Particles, index: Any, rows: list[int]) -> None:
    some = particles[index]
    assert some.images.section.tolist() == rows == (some.images.row - 1).tolist()
    assert some.names.tolist() == particles.names[rows].tolist()
    assert some.table["rlnImageName"].tolist() == particles.names[rows].tolist()
    assert torch.equal(some.poses.rotations, particles.poses.rotations[rows])
    assert torch.equal(some.optics.defocus_u, particles.optics.defocus_u[rows])
    assert torch.equal(some.half_sets, particles.half_sets[rows])
    assert some.micrographs is not None and particles.micrographs is not None
    assert some.micrographs.tolist() == particles.micrographs[rows].tolist()
    assert some.filaments is None


@pytest.mark.parametrize(
    ("index", "fragment"),
    [
        ([0, 12, -13], "position 12 is not among the 12 particles (2 of 3"),
        ([0.5, 1.0], "expected integers"),
        (np.zeros((2, 2), int), "of shape (2, 2)"),
        (torch.ones(11, dtype=torch.bool), "a mask of 11 for 12 particles"),
        (["a"], "expected integers"),
    ],
)
def test_wrong_indices_are_refused(particles: Particles, index: Any, fragment: str) -> None:
    with pytest.raises(SettingsError) as error:
        particles[index]
    assert fragment in str(error.value)


def test_a_loop_ends_after_the_last_one(particles: Particles) -> None:
    assert [len(single) for single in particles] == [1] * 12  # type: ignore[attr-defined]
    with pytest.raises(IndexError):
        particles[12]


def test_columns_of_other_lengths_or_labels_are_refused(particles: Particles) -> None:
    with pytest.raises(SettingsError, match="11 micrographs for 12 images"):
        replace(particles, micrographs=np.zeros(11, int))
    with pytest.raises(SettingsError, match="half_sets are 0, 1, expected 1 and 2, or only 0"):
        replace(particles, half_sets=torch.tensor([0, 1] * 6, dtype=torch.int8))


def test_they_are_shown_in_one_line(particles: Particles) -> None:
    assert repr(particles) == (
        "Particles(12 of 8 px of 1.5 Å; 1 optics group; half-sets 6 + 6; particles.star)"
    )
    assert len(repr(particles[:0])) < 100

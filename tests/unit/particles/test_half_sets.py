from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from data_sets import DataSet
from noting import only, states, warnings

from cryosplat.io.mrc import write_stack
from cryosplat.particles import Particles, read_particles, split_half_sets

Star = Callable[..., Path]


def _split(particles: Particles, seed: int = 0) -> Particles:
    return split_half_sets(particles, torch.Generator().manual_seed(seed))


def test_the_split_is_even_seeded_and_said(star: Star) -> None:
    particles = read_particles(star(rlnRandomSubset=None))
    halves = _split(particles)
    assert halves.has_half_sets and not particles.has_half_sets
    assert torch.bincount(halves.half_sets.long()).tolist() == [0, 6, 6]
    assert torch.equal(halves.half_sets, _split(particles).half_sets)
    different = [_split(particles, seed).half_sets for seed in range(1, 5)]
    assert any(not torch.equal(halves.half_sets, other) for other in different)
    assert states(only(halves.notes, "half-sets-drawn"), "6 and 6", "by particle.")


@pytest.mark.parametrize(
    ("column", "kind"),
    [("rlnTomoParticleName", "particle of the tilt series"), ("rlnHelicalTubeID", "filament")],
)
def test_what_belongs_together_stays_together(star: Star, column: str, kind: str) -> None:
    # twelve units of two rows: each holds less than a tenth of the particles
    particles = read_particles(star(rlnRandomSubset=None, **{column: range(12)}))
    repeated = particles[torch.arange(12).repeat_interleave(2)]
    halves = _split(repeated)
    pairs = halves.half_sets.reshape(12, 2)
    assert torch.equal(pairs[:, 0], pairs[:, 1])
    assert states(only(halves.notes, "half-sets-drawn"), f"by {kind}.")


def test_whole_micrographs_go_to_one_half(star: Star) -> None:
    particles = read_particles(star(rlnRandomSubset=None, rlnMicrographName=list("abcdefghijkl")))
    many = particles[torch.arange(12).repeat_interleave(5)]
    halves = _split(many).half_sets.reshape(12, 5)
    assert (halves == halves[:, :1]).all()
    assert torch.bincount(halves.flatten().long()).tolist() == [0, 30, 30]


def test_too_coarse_a_unit_gives_way_to_single_particles(star: Star) -> None:
    particles = read_particles(star(rlnRandomSubset=None, rlnMicrographName=["a"] * 11 + ["b"]))
    halves = _split(particles)
    assert torch.bincount(halves.half_sets.long()).tolist() == [0, 6, 6]
    assert states(only(halves.notes, "half-sets-drawn"), "by particle.")


@pytest.mark.parametrize("column", ["rlnTomoParticleName", "rlnHelicalTubeID"])
def test_one_long_filament_leaves_the_others_whole(star: Star, column: str) -> None:
    particles = read_particles(star(rlnRandomSubset=None, **{column: [1] * 5 + list(range(2, 9))}))
    many = particles[torch.arange(12).repeat_interleave(3)]
    for seed in range(5):
        halves = _split(many, seed)
        assert not states(only(halves.notes, "half-sets-drawn"), "by particle.")
        whole = halves.half_sets.reshape(12, 3)
        assert (whole == whole[:, :1]).all() and (whole[:5] == whole[0, 0]).all()
        assert torch.bincount(halves.half_sets.long()).tolist() == [0, 18, 18]


def test_a_filament_that_is_most_of_the_set_is_divided_and_that_is_said(star: Star) -> None:
    halves = _split(read_particles(star(rlnRandomSubset=None, rlnHelicalTubeID=[1] * 9 + [2] * 3)))
    assert torch.bincount(halves.half_sets.long()).tolist() == [0, 6, 6]
    assert states(only(halves.notes, "half-sets-divide-unit"), "filament", "75 %")
    assert warnings(halves.notes) == ["half-sets-divide-unit"]


def test_rows_with_the_same_image_stay_together(star: Star) -> None:
    names = [f"{i // 3 + 1}@particles.mrcs" for i in range(12)]
    particles = read_particles(star(rlnRandomSubset=None, rlnImageName=names))
    halves = _split(particles).half_sets.reshape(4, 3)
    assert (halves == halves[:, :1]).all()


def test_stacks_stand_for_micrographs_that_are_not_named(data_set: DataSet, star: Star) -> None:
    for i in range(12):
        write_stack(data_set.folder / f"{i}.mrcs", data_set.images, 1.5)
    names = [f"{i % 5 + 1}@{i}.mrcs" for i in range(12)]
    particles = read_particles(star(rlnRandomSubset=None, rlnImageName=names))
    many = particles[torch.arange(12).repeat_interleave(5)]
    assert states(only(_split(many).notes, "half-sets-drawn"), "by stack.")
    halves = _split(many).half_sets.reshape(12, 5)
    assert (halves == halves[:, :1]).all()

"""Whether two sets of particles are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import pytest
import torch
from data_sets import make_data_set

from cryosplat.particles import Particles, read_particles, write_particles
from cryosplat.reconstruction._identity import digest_of_half_sets, digests

N = 120


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    folder = tmp_path_factory.mktemp("set")
    (folder / "a.star").write_text(make_data_set(folder, N).star_rows())
    return read_particles(folder / "a.star")


def test_the_digest_of_half_sets_follows_images_not_rows(
    particles: Particles, tmp_path: Path
) -> None:
    expected = digest_of_half_sets(particles)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    assert digest_of_half_sets(particles[order]) == expected
    written = read_particles(write_particles(particles, tmp_path / "elsewhere.star"))
    assert str(written.names[0]) != str(particles.names[0])
    assert digest_of_half_sets(written) == expected
    swapped = replace(particles, half_sets=3 - particles.half_sets)
    exchanged = replace(particles, names=particles.names[order.numpy()])
    for other in (swapped, exchanged, particles[torch.arange(N - 1)]):
        assert digest_of_half_sets(other) != expected


def test_digests_tell_what_differs(particles: Particles) -> None:
    def differing(other: Particles) -> set[str]:
        mine, theirs = digests(particles), digests(other)
        return {name for name, digest in mine.items() if theirs[name] != digest}

    assert differing(particles[torch.arange(N)]) == set()
    turned = replace(particles.poses, rotations=particles.poses.rotations.mT.contiguous())
    assert differing(replace(particles, poses=turned)) == {"poses"}
    assert differing(replace(particles, half_sets=3 - particles.half_sets)) == {"half-sets"}
    assert differing(replace(particles, names=particles.names[::-1].copy())) == {"particles"}
    optics = replace(particles.optics, scale=2.0 * particles.optics.scale)
    assert differing(replace(particles, optics=optics)) == {"optics"}
    assert "particles" in differing(particles[torch.arange(N).flip(0)])


def test_other_images_of_the_same_names_are_told_apart(
    particles: Particles, tmp_path: Path
) -> None:
    path = tmp_path / "a.star"
    path.write_text(make_data_set(tmp_path, N).star_rows())
    (stack,) = tmp_path.glob("*.mrcs")
    mine = digests(read_particles(path))
    with mrcfile.open(stack, "r+") as file:
        file.data[0, 0, 0] += 1.0
    theirs = digests(read_particles(path))
    assert {name for name, digest in mine.items() if theirs[name] != digest} == {"images"}

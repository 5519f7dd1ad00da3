"""Which images are one particle, and whether two sets of particles are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import make_data_set

from cryosplat.particles import Particles, read_particles, write_particles
from cryosplat.reconstruction._identity import digest_of_half_sets, digests, held_out_sets

N = 120


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    folder = tmp_path_factory.mktemp("set")
    (folder / "a.star").write_text(make_data_set(folder, N).star_rows())
    return read_particles(folder / "a.star")


def _sets(particles: Particles, share: float = 0.2, seed: int = 1) -> tuple[np.ndarray, list[int]]:
    sets, held = held_out_sets(particles, share, torch.Generator().manual_seed(seed))
    return sets.numpy(), held


def test_a_share_of_each_half_set_is_held_out(particles: Particles) -> None:
    sets, held = _sets(particles, 0.4)
    assert held == [24, 24] == [int((sets == 1).sum()), int((sets == 3).sum())]
    assert np.array_equal(sets // 2 + 1, particles.half_sets.numpy())
    assert not np.array_equal(sets, _sets(particles, 0.4, seed=2)[0])


def test_copies_of_a_particle_are_held_out_together(particles: Particles) -> None:
    """Symmetry expansion lists every image several times, once per orientation."""
    expanded = particles[torch.arange(N).repeat(4)]
    sets, held = _sets(expanded)
    of_image = sets.reshape(4, N)
    assert bool((of_image == of_image[0]).all())
    assert held == [52, 52]  # 13 images: 50 rows or a little more


@pytest.mark.parametrize("field", ["tilt_particles", "filaments"])
def test_what_belongs_together_is_held_out_together(field: str, particles: Particles) -> None:
    unit = np.random.default_rng(3).permutation(N // 6).repeat(6)  # both halves hold some of each
    sets, held = _sets(replace(particles, **{field: unit}))
    for half in (0, 1):
        inside = sets // 2 == half
        for number in range(N // 6):
            assert len(set(sets[inside & (unit == number)])) == 1
    assert all(20 <= n < 23 for n in held)


def test_one_large_filament_is_divided(particles: Particles) -> None:
    whole = replace(particles, filaments=np.zeros(N, np.int64))
    assert _sets(whole)[1] == [20, 20]


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

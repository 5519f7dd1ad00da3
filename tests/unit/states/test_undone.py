"""Motion undone: what all particles say of one state, where a mixture says too little."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch

from cryosplat import fourier
from cryosplat.fitting import NOWHERE, Encoding
from cryosplat.grid import Grid
from cryosplat.io.star import read_star, write_star
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.maps.mask import spherical_mask
from cryosplat.mixture import GaussianMixture
from cryosplat.particles import Particles, read_particles
from cryosplat.progress import SilentProgress
from cryosplat.simulation import SimulationSettings, simulate_particles
from cryosplat.splatting import voxelize
from cryosplat.states import StateMap, motion_undone, whole_images
from cryosplat.states._expectation import Assumptions
from cryosplat.states._finer import finer_halves, with_heirs
from cryosplat.states._preparation import Prepared
from cryosplat.states.canonical import Canonical, flat
from cryosplat.states.coordinates import functions_at, nodes_of
from cryosplat.states.moving import Motion, Skeleton
from cryosplat.states.undone import Traced, local_motions, matched, moving_mask
from cryosplat.statistics import accumulate
from cryosplat.validation.baseline import voxel_maps

GRID = Grid(24, 4.0)
STATES, EACH = 7, 40


def _bent(turn: float) -> Motion:
    """A body about one anchor, and an arm about another that turns by ``turn`` about z."""
    draw = torch.Generator().manual_seed(5)
    body = 6.0 * torch.randn(30, 3, generator=draw) - torch.tensor([12.0, 0.0, 0.0])
    arm = torch.randn(12, 3, generator=draw) * torch.tensor([8.0, 3.0, 3.0])
    means = torch.cat([body, arm + torch.tensor([20.0, 0.0, 0.0])])
    mixture = GaussianMixture(
        means, torch.full((42, 3), 6.0), torch.tensor([[1.0, 0, 0, 0]]).repeat(42, 1),
        torch.ones(42),
    )  # fmt: skip
    encoding = Encoding(GRID.pixel_size, 1.0, 0.4)
    shared = encoding.encode(mixture)
    anchors = torch.tensor([[-3.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    skeleton = Skeleton(anchors, Skeleton.blended(shared["means"], anchors))
    basis = functions_at(nodes_of(1))
    turns = torch.zeros(basis.shape[1], 2, 3)
    turns[0, 1, 2] = turn
    return Motion(shared, encoding, skeleton, basis, turns, torch.zeros_like(turns))


def _functions(*z: float) -> torch.Tensor:
    return functions_at(torch.tensor(z, dtype=torch.float32)[:, None])


def test_about_each_anchor_the_molecule_moves_as_the_anchor_does() -> None:
    rotations, moves = local_motions(_bent(0.5), _functions(0.0), _functions(0.0, 1.0))
    still = torch.eye(3, dtype=torch.float64)
    assert torch.allclose(rotations[0], still.expand(2, 3, 3), atol=1e-4)
    assert float(moves[0].abs().max()) < 1e-2
    angle = torch.atan2(rotations[1, :, 1, 0], rotations[1, :, 0, 0])
    assert abs(float(angle[0])) < 0.05 and abs(float(angle[1]) - 0.5) < 0.1
    # the arm's anchor itself stays where it is
    at = torch.tensor([5.0, 0.0, 0.0], dtype=torch.float64) * GRID.pixel_size
    assert float((rotations[1, 1] @ at + moves[1, 1] - at).norm()) < 2.0


def test_a_coordinate_is_found_again_in_that_of_another_model() -> None:
    z = np.linspace(-1.0, 1.0, 400)[:, None]
    assert abs(matched(np.array([0.5]), z, -(z**3))[0] + 0.125) < 0.02


Z = np.linspace(-1.0, 1.0, STATES)


@pytest.fixture(scope="module")
def fine() -> Motion:
    """What the images show; `_bent` has less detail."""
    model = with_heirs(_bent(1.0), 160, GRID.pixel_size, torch.Generator().manual_seed(1))
    assert isinstance(model, Motion)
    return model


@pytest.fixture(scope="module")
def particles(fine: Motion, tmp_path_factory: pytest.TempPathFactory) -> Particles:
    """`EACH` images of every state."""
    folder = tmp_path_factory.mktemp("bent")
    tables, blocks = [], {}
    draw = torch.Generator().manual_seed(2)
    for i, mixture in enumerate(fine.at(_functions(*Z))):
        star = simulate_particles(
            mixture, GRID, SimulationSettings(EACH, 0.5), folder / str(i), draw
        )
        blocks = read_star(star)
        rows = blocks["particles"]
        rows["rlnImageName"] = rows["rlnImageName"].str.replace("@", f"@{i}/")
        tables.append(rows)
    write_star(folder / "all.star", blocks | {"particles": pd.concat(tables, ignore_index=True)})
    return read_particles(folder / "all.star")


def test_half_sets_are_refined_in_a_larger_box_apart(particles: Particles) -> None:
    half = particles.half_sets.numpy()
    rows = np.flatnonzero(half == 1), np.flatnonzero(half == 2)
    start = _bent(1.0), Assumptions.even(8)
    before = SimpleNamespace(
        particles=particles,
        polarity=SimpleNamespace(sign=1.0),
        seen=SimpleNamespace(box=16, device=torch.device("cpu")),
    )

    def first(rows: tuple[np.ndarray, np.ndarray]) -> Motion:
        before.rows = rows
        found = finer_halves((start, start), cast(Prepared, before), SilentProgress(), NOWHERE)
        assert found is not None  # images of the other half-set are better explained
        halves, seen = found
        assert seen.box == GRID.box_size and isinstance(halves[0][0], Motion)
        return halves[0][0]

    whole, part = first(rows), first((rows[0], rows[1][::2]))
    assert len(whole.values["means"]) > len(start[0].values["means"])
    for name, value in whole.values.items():
        assert torch.equal(value, part.values[name])


def test_detail_that_the_mixture_lacks_comes_from_all_particles(
    fine: Motion, particles: Particles
) -> None:
    coarse = _bent(1.0)
    particles, noise = whole_images(particles, SilentProgress())
    coordinate = np.repeat(Z, EACH)[:, None]
    half = particles.half_sets.numpy()
    halves = tuple(
        Traced(coarse, np.flatnonzero(half == h), coordinate[half == h], np.zeros(1))
        for h in (1, 2)
    )
    found = motion_undone(particles, (halves[0], halves[1]), noise, SilentProgress())
    truth = voxelize(fine.at(_functions(0.0))[0], GRID)
    drawn = voxelize(coarse.at(_functions(0.0))[0], GRID)
    sets = particles.half_sets.long() - 1
    sums = accumulate(particles.batches(), sets, 2, GRID, noise)
    still = voxel_maps((sums[0], sums[1]))[0]
    ends = torch.tensor([[-1.0], [1.0]])
    arm = moving_mask(coarse, torch.zeros(1), ends, GRID)

    def alike(volume: torch.Tensor) -> float:
        both = torch.stack([(volume * arm).flatten(), (truth * arm).flatten()])
        return float(torch.corrcoef(both)[0, 1])

    wrong = 1.0 - max(alike(drawn), alike(still))
    assert 1.0 - alike(found.full) < 0.5 * wrong
    assert alike(found.full) > 0.9
    # in the units of the images, as voxel maps are
    ratio = float((found.full * truth * arm).sum() / (still * truth * arm).sum())
    assert 0.8 < ratio < 1.5


def test_flat_maps_do_not_leak_through_a_small_mask() -> None:
    grid, draw = Grid(48, 3.0), torch.Generator().manual_seed(0)
    radii = fourier.squared_radii((48,) * 3).sqrt()
    low, high = 30.0 * (radii <= 10.0), (radii > 10.0).double()
    shared = torch.randn((48,) * 3, generator=draw)
    maps = [
        fourier.filter(shared, low, 3)
        + fourier.filter(torch.randn((48,) * 3, generator=draw), high, 3)
        for _ in range(2)
    ]
    evened = [flat(volume) for volume in maps]
    mask = spherical_mask(grid, 20.0, 6.0)
    before, after = (
        fourier_shell_correlation(a * mask, b * mask)[12:15].max() for a, b in (maps, evened)
    )
    assert before > 0.6 and after < 0.3  # nothing is shared there
    whole = fourier_shell_correlation(*evened)
    assert torch.allclose(whole, fourier_shell_correlation(*maps), atol=0.1)


@pytest.mark.parametrize(
    ("before", "after", "told"), [(8.0, 7.0, False), (8.0, 8.5, False), (8.0, 9.0, True),
                                  (8.0, None, True), (None, None, False)],
)  # fmt: skip
def test_a_motion_undone_for_the_worse_is_told(
    before: float | None, after: float | None, told: bool
) -> None:
    angstrom = {"all particles": before, "those in this state": 8.0, "motion undone": after}
    nothing = cast(StateMap, None)
    found = Canonical(np.zeros(1), nothing, torch.zeros(()), {}, angstrom)
    assert [note.code for note in found.notes] == ["motion-undone-worse"] * told

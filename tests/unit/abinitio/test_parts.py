"""The parts of the search for poses, each by its law."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cryosplat import GaussianMixture, Grid, voxelize
from cryosplat.abinitio import AbinitSettings, Score
from cryosplat.abinitio import _axes as axes
from cryosplat.abinitio._assignment import (
    assign,
    effective,
    log_likelihoods,
    observed,
    posterior,
    posterior_there,
    temperature_for,
)
from cryosplat.abinitio._first import First
from cryosplat.abinitio._images import SmallImages, half_plane
from cryosplat.abinitio._orientations import at_random, evenly
from cryosplat.abinitio._search import (
    KEPT,
    WIDE_CROSS,
    Candidates,
    Hypotheses,
    Template,
    apart,
    assigned_everywhere,
    compared,
    searched_everywhere,
    searched_near,
)
from cryosplat.abinitio._second import sums_of
from cryosplat.abinitio._slices import slices_at, slices_there, transform_of
from cryosplat.abinitio._work import Branch, Start, Work
from cryosplat.abinitio.recipe import _mirror, mirrored
from cryosplat.errors import SettingsError
from cryosplat.formation import VolumeProjector
from cryosplat.maps.point_group import PointGroup
from cryosplat.poses import Poses, random_poses
from cryosplat.progress import SilentProgress
from cryosplat.statistics import QuadraticForm

BOX, SIDE = 32, 128.0
GRID = Grid(BOX, SIDE / BOX)
POINTS = half_plane(10.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def molecule(k: int = 25) -> GaussianMixture:
    """Gaussians of 9 to 14 Angstrom within 30 of the centre."""
    g = generator(3)
    quaternions = torch.nn.functional.normalize(torch.randn(k, 4, generator=g), dim=-1)
    scales = 9.0 + 5.0 * torch.rand(k, 3, generator=g)
    means = (15.0 * torch.randn(k, 3, generator=g)).clamp(-30.0, 30.0)
    return GaussianMixture(means, scales, quaternions, 20.0 + torch.rand(k, generator=g))


def true_slices(rotations: Tensor, volume: Tensor) -> Tensor:
    """The map's transform at all `POINTS`, complex (n, m), by the program's own slices."""
    poses = Poses(rotations, torch.zeros(len(rotations), 2, dtype=torch.float64))
    whole = VolumeProjector(volume, GRID).slices(poses, GRID.pixel_size, BOX)
    return whole[:, POINTS[:, 1] % BOX, POINTS[:, 0]]


def images_of(
    mixture: GaussianMixture, rotations: Tensor, centres: Tensor, noise: float, seed: int = 1
) -> SmallImages:
    """Images of CTF 1 with white noise, as `SmallImages`."""
    phase = -2.0 * math.pi * centres.float() @ POINTS.float().T
    clean = true_slices(rotations, voxelize(mixture, GRID)) * torch.polar(
        torch.ones_like(phase), phase
    )
    shape = (*clean.shape, 2)
    added = torch.view_as_complex(torch.randn(shape, generator=generator(seed)) / math.sqrt(2.0))
    values = (clean + noise * added) / noise**2
    return SmallImages(values, torch.full(clean.shape, 1.0 / noise**2), POINTS, SIDE, BOX)


def test_a_half_plane_holds_one_of_every_pair() -> None:
    points = {tuple(p) for p in half_plane(5.5).tolist()}
    assert (0, 0) not in points
    assert not points & {(-x, -y) for x, y in points}
    whole = sum(0 < x * x + y * y < 5.5**2 for x in range(-6, 7) for y in range(-6, 7))
    assert 2 * len(points) == whole
    radii = half_plane(5.5).double().square().sum(1)
    assert bool((radii.diff() >= 0).all())


def test_orientations_are_even() -> None:
    """Means of rotation matrices vanish; the nearest of many is as near as their number allows."""
    rotations = evenly(2000)
    assert float(rotations.mean(0).abs().max()) < 0.01
    random = at_random(200, generator())
    traces = torch.einsum("nij,oij->no", random, rotations).amax(1)
    angles = torch.arccos(((traces - 1.0) / 2.0).clamp(-1, 1))
    spacing = (8.0 * math.pi**2 / 2000) ** (1 / 3)
    assert float(angles.max()) < spacing


def test_slices_are_the_programs_slices() -> None:
    volume = voxelize(molecule(), GRID)
    rotations = random_poses(6, generator()).rotations
    found = slices_at(transform_of(volume, 2), rotations, POINTS, 2)
    m = len(POINTS)
    wanted = true_slices(rotations, volume)
    error = torch.complex(found[:, :m], found[:, m:]) - wanted
    assert float(error.abs().square().sum() / wanted.abs().square().sum()) < 1e-3


def test_likelihoods_are_the_sum_over_both_of_a_pair() -> None:
    g = generator()
    values = torch.view_as_complex(torch.randn(3, 7, 2, generator=g))
    precisions = torch.rand(3, 7, generator=g)
    points, shifts = half_plane(3.0)[:7], 0.05 * torch.randn(3, 2, 2, generator=g)
    slices = torch.randn(4, 14, generator=g)
    prior = torch.randn(3, 2, generator=g)
    found = log_likelihoods(observed(values, precisions, points, shifts, prior), slices)
    s = torch.complex(slices[:, :7], slices[:, 7:])
    for i in range(3):
        for t in range(2):
            turn = torch.exp(2j * math.pi * (points.float() @ shifts[i, t]))
            each = (values[i] * turn * s.conj()).real - 0.5 * precisions[i] * s.abs().square()
            torch.testing.assert_close(found[i, t], 2.0 * each.sum(1) + prior[i, t])


def test_assigned_sums_are_weighted_images() -> None:
    g = generator()
    values = torch.view_as_complex(torch.randn(40, 20, 2, generator=g))
    precisions = torch.rand(40, 20, generator=g)
    points, shifts = half_plane(5.0)[:20], 0.02 * torch.randn(40, 3, 2, generator=g)
    images = observed(values, precisions, points, shifts, torch.zeros(40, 3))
    slices = torch.randn(30, 40, generator=g)
    found = assign(images, slices, 2.0)
    scores = log_likelihoods(images, slices)
    weights = torch.softmax(scores.reshape(40, -1) / 2.0, 1).reshape(40, 3, 30)
    mean = (scores.reshape(40, -1) / 2.0).logsumexp(1) - math.log(30)
    present = weights * (mean.exp() / (1.0 + mean.exp()))[:, None, None]
    wanted = torch.cat([
        torch.einsum("nso,nsc->oc", present, images.moved),
        torch.einsum("nso,nc->oc", present, precisions),
    ], 1)  # fmt: skip
    torch.testing.assert_close(found.sums, wanted, atol=0.02 * float(wanted.abs().max()), rtol=0)
    torch.testing.assert_close(found.centres, weights.sum(2), atol=0.01, rtol=0)
    torch.testing.assert_close(
        found.evidence, 2.0 * (scores.reshape(40, -1) / 2.0).logsumexp(1), atol=0.05, rtol=0
    )


def test_what_another_device_computes_is_what_the_cpu_does() -> None:
    g = generator(12)
    poses = random_poses(30, g).rotations
    images = images_of(molecule(), poses, torch.zeros(30, 2), 300.0)
    transform, padding = transform_of(voxelize(molecule(), GRID), 2), 2
    rotations = torch.cat([poses[:20], torch.eye(3, dtype=torch.float64)[None]])
    m = images.columns(9.0)
    points = images.points[:m]
    wanted = slices_at(transform, rotations, points, padding)
    found = slices_there(transform, rotations[:, :2].float(), points.float(), padding)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5

    shifts = 0.02 * torch.randn(30, 5, 2, generator=g)
    prior = torch.log_softmax(torch.randn(30, 5, generator=g), 1)
    seen = observed(images.values[:, :m], images.precisions[:, :m], points, shifts, prior)
    weights, evidence = posterior(seen, wanted, 1.7)
    there, evidence_there = posterior_there(log_likelihoods(seen, wanted), 1.7)
    assert float((there - weights).abs().max()) < 1e-4
    assert float((evidence_there - evidence).abs().max() / evidence.abs().max()) < 1e-5

    template = Template(transform, padding, 9.0, 0.05)
    turned = rotations[torch.randint(21, (30, 8), generator=g)].float()
    near = compared(images, template, turned[:, :, :2], shifts)
    for i in (0, 17):
        rows = slice(i, i + 1)
        alone = observed(
            images.values[rows, :m], images.precisions[rows, :m], points, shifts[rows],
            torch.zeros(1, 5),
        )  # fmt: skip
        expected = log_likelihoods(alone, slices_at(transform, turned[i], points, padding))[0]
        assert float((near[i] - expected).abs().max() / expected.abs().max()) < 1e-4


def test_a_temperature_leaves_as_many_poses_as_wanted() -> None:
    scores = 10.0 * torch.randn(50, 500, generator=generator())
    temperature = temperature_for(scores, 40.0, 1.0, 1.0)
    assert effective(scores, temperature) == pytest.approx(40.0, rel=0.1)
    assert temperature_for(scores, 1.01, 1.0, 5.0) == 1.0


def test_poses_are_found_everywhere_then_nearer() -> None:
    mixture, n = molecule(), 30
    rotations = random_poses(n, generator(5)).rotations
    centres = 0.03 * torch.randn(n, 2, generator=generator(6))
    images = images_of(mixture, rotations, centres, noise=10.0)
    template = Template.of(voxelize(mixture, GRID), 2, 6.0, 0.05)
    found = searched_everywhere(images, template, evenly(4000), torch.zeros(n, 2), 0.04, KEPT)
    first = _errors(found, rotations)
    g = generator(7)
    for angle, step in ((0.15, 0.02), (0.1, 0.01), (0.05, 0.01)):
        found = searched_near(images, template, found, angle, step, g, likeliest)
    errors = _errors(found, rotations)
    assert float(errors.median()) < 0.5 * float(first.median()) < math.radians(10.0)
    assert float((found.centres - centres).norm(dim=1).median()) < 0.01
    assert found.rotations.shape == (n, KEPT, 3, 3)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(n))


def likeliest(found: Candidates) -> Candidates:
    return found.likeliest(KEPT)


def test_images_that_tell_little_stay_in_all_the_places_where_they_fit() -> None:
    """The likelihood of what is drawn is that of the whole posterior, also after steps about it.

    The likeliest few of all would be far above it: a map made of these is sharper than images are.
    """
    mixture, n = molecule(), 300
    rotations, centres = random_poses(n, generator(5)).rotations, torch.zeros(n, 2)
    images = images_of(mixture, rotations, centres, noise=150.0)
    template = Template.of(voxelize(mixture, GRID), 2, 6.0, 0.05)
    everywhere = searched_everywhere(images, template, evenly(4000), centres, 0.0, 4000)
    scores = everywhere.weights.clamp_min(1e-30).log()
    wanted = float((everywhere.weights * scores).sum(1).mean())
    best = float(scores[:, :KEPT].mean())
    m, g = images.columns(8.0), generator(7)
    found, sums = assigned_everywhere(images, template, evenly(4000), centres, 0.0, 8.0, g)
    assert sums.shape == (4000, 3 * m)
    weighed = found.shown @ images.precisions[:, :m]
    torch.testing.assert_close(sums[:, 2 * m :].sum(0), weighed, rtol=1e-4, atol=0.0)
    offset = float(found.scores.mean()) - wanted
    assert abs(offset) < 0.1 * (best - wanted)
    level = float((everywhere.evidence).mean()) + math.log(4000)
    for _ in range(4):
        found = searched_near(
            images, template, found, 0.25, 0.0, g, lambda c: c.drawn(KEPT, g)
        )  # fmt: skip
        torch.testing.assert_close(found.weights, torch.full((n, KEPT), 1.0 / KEPT))
        assert abs(float(found.scores.mean()) - level - wanted) < 0.2 * (best - wanted)


def _errors(found: Candidates, rotations: Tensor) -> Tensor:
    traces = torch.einsum("nij,nij->n", found.rotations[:, 0].double(), rotations)
    return torch.arccos(((traces - 1.0) / 2.0).clamp(-1, 1))


def test_a_symmetrised_map_that_is_put_back_lies_where_it_was() -> None:
    """Of a map that has the symmetry, about an axis off the centre: nothing changes."""
    rotation = at_random(1, generator(5))[0]
    centre = torch.tensor([1.5, -0.5, 1.0]) * GRID.pixel_size
    upright = replace(molecule(), symmetry="C3").whole()
    tilted = upright.rotated(rotation.T.float())
    tilted = replace(tilted, means=tilted.means + centre)
    group = PointGroup("C3", rotation.numpy(), (centre / GRID.pixel_size).numpy(), 1.0, {})
    averaged = axes._in_axes(tilted, group, GRID)
    there, back = voxelize(tilted, GRID), voxelize(axes.in_place(averaged, group, GRID), GRID)
    assert float((back - there).norm() / there.norm()) < 1e-3
    moved = voxelize(averaged, GRID)
    assert float((moved - there).norm() / there.norm()) > 0.3


def test_held_out_images_choose_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest that they do not refuse, against none and against smaller ones."""
    mixture = molecule()
    names = ["D4", "C4", "C1"]
    groups = [PointGroup(name, np.eye(3), np.zeros(3), 1.0, {}) for name in names]
    monkeypatch.setattr(axes, "point_groups", lambda *_: groups)
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def chosen(d4: float, c4: float, name: str | None = None) -> tuple[str, str]:
        gain = {8: d4 + 0.1 * noise.roll(1), 4: c4 + 0.1 * noise.roll(2), 1: 0.0}

        def explain(of: GaussianMixture) -> Tensor:
            copies = len(of.whole().means) // (2 * len(mixture.means))
            return 50.0 + 9.0 * noise + gain[copies]

        group, pair, note = axes.symmetry_of((mixture, mixture), GRID, explain, name)
        assert pair[0].symmetry == group.name
        return group.name, note.code

    assert chosen(0.05, 0.0) == ("D4", "symmetry-found")
    assert chosen(-0.005, 0.0) == ("D4", "symmetry-found")
    assert chosen(0.05, 0.2) == ("C4", "symmetry-found")  # D4 is better than none, not than C4
    assert chosen(-0.1, -0.1) == ("C1", "symmetry-refused")
    assert chosen(-0.1, -0.1, "D4") == ("D4", "symmetry-found")


@pytest.mark.parametrize(
    ("asked", "gained", "nearly", "wanted"),
    [
        ("auto", 0.1, True, "O"), ("auto", 0.0, True, "C1"), ("auto", 0.1, False, "C2"),
        ("C2", 0.0, True, "C2"),
    ],
)  # fmt: skip
def test_a_hinted_group_is_proven_by_images_or_left(
    monkeypatch: pytest.MonkeyPatch, asked: str, gained: float, nearly: bool, wanted: str
) -> None:
    """Both half-sets are refined further in it, where the map is so round that it proves no group."""
    mixture, n = molecule(), 40
    group, hint = (PointGroup(name, np.eye(3), np.zeros(3), 1.0, {}) for name in ("C2", "O"))
    monkeypatch.setattr(axes, "point_groups", lambda *_: [group, replace(group, name="C1")])
    monkeypatch.setattr(axes, "hinted_group", lambda *_: hint)
    monkeypatch.setattr(axes, "is_nearly_round", lambda *_: nearly)
    noise = torch.randn(400, generator=generator(), dtype=torch.float64)
    grown: list[str] = []

    class FakeWork(Work):
        def gains_of(self, mixture: GaussianMixture, fsc: Tensor) -> Tensor:
            own = 0.1 * noise.roll(1) + gained
            return 9.0 * noise + (own if float(fsc.max()) < 1.0 else 0.0)

        def grown(self, branch: Branch, mixtures: Any, *_: object) -> Branch:
            grown.append(mixtures[0].symmetry)
            return replace(branch, mixtures=mixtures, fsc=0.5 * branch.fsc)

        def finish(self, branch: Branch, *_: object) -> Hypotheses:
            return places

    places = Hypotheses(
        torch.eye(3).repeat(n, 2, 1, 1),
        torch.zeros(n, 2, 2),
        torch.full((n, 2), 0.5),
        torch.zeros(n),
    )
    images = SmallImages(torch.zeros(n, 1), torch.zeros(n, 1), POINTS[:1], SIDE, BOX)
    work = FakeWork(images, torch.ones(n, dtype=torch.bool), torch.ones(n), torch.zeros(n, 2), 0.05)
    score = Score(1.0, 1.0, 0.1, n)
    start = Start(0, First(mixture, torch.zeros(n, 2)), score, torch.zeros(n), ())
    branch = Branch(start, (mixture, mixture), torch.ones(GRID.n_shells), score, ())
    found, _, note = axes.with_symmetry(
        work, branch, places, AbinitSettings(symmetry=asked), SilentProgress()
    )
    assert found.mixtures[0].symmetry == wanted
    assert note.code == ("symmetry-none" if wanted == "C1" else "symmetry-found")
    assert grown == ([{"auto": "O", "C2": "C2"}[asked]] if nearly else [])


def test_places_lie_apart_and_come_in_the_order_of_their_evidence() -> None:
    """Four orientations a quarter turn apart, each three times within a few degrees."""
    angles = torch.arange(4)[:, None] * (math.pi / 2.0) + torch.tensor([0.0, 0.05, -0.05])
    c, s, one = angles.flatten().cos(), angles.flatten().sin(), torch.ones(12)
    zero = torch.zeros(12)
    rotations = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], 1).reshape(1, 12, 3, 3)
    weights = torch.tensor([[3.0, 2.0, 1.0] * 4]) + torch.arange(4.0).repeat_interleave(3)
    found = Candidates(
        rotations, weights / weights.sum(), weights.log(), torch.zeros(1, 2), torch.zeros(1),
        torch.ones(1), torch.ones(1),
    )  # fmt: skip
    places = apart(found, 0.3, 4)
    wanted = rotations[0, [9, 6, 3, 0]]
    torch.testing.assert_close(torch.cat([p.rotations[0] for p in places]), wanted)
    scored = [
        replace(p, centres=torch.full((1, 2), float(e)), evidence=torch.tensor([float(e)]))
        for p, e in zip(places, (1, 4, 2, 3), strict=True)
    ]
    ranked = Hypotheses.of(scored)
    torch.testing.assert_close(ranked.rotations[0], wanted[[1, 3, 2, 0]])
    assert ranked.centres[0, :, 0].tolist() == [4.0, 3.0, 2.0, 1.0]
    assert float(ranked.weights.sum()) == pytest.approx(1.0)
    mean = sum(math.exp(e) for e in (1, 2, 3, 4)) / 4.0
    assert float(ranked.evidence) == pytest.approx(math.log(mean), abs=1e-5)


def test_statistics_are_the_sum_of_the_images_likelihoods() -> None:
    """The quadratic form of the sums is what every image says of a map at its pose."""
    mixture, n = molecule(), 12
    rotations = random_poses(n, generator(8)).rotations
    centres = 0.02 * torch.randn(n, 2, generator=generator(9))
    images = images_of(mixture, rotations, centres, noise=100.0)
    known = rotations[:, None].float().expand(n, KEPT, 3, 3).contiguous()
    weights = torch.zeros(n, KEPT)
    weights[:, 0] = 1.0
    nothing, one = torch.zeros(n), torch.ones(n)
    poses = Candidates(known, weights, weights, centres, nothing, one, one)
    statistics = sums_of(images, poses, GRID, 10.0)
    volume = voxelize(mixture, GRID)
    gain = -float(QuadraticForm(statistics, BOX)(volume))
    s = true_slices(rotations, volume)
    seen = observed(images.values, images.precisions, POINTS, centres[:, None], torch.zeros(n, 1))
    slices = torch.cat([s.real, s.imag], 1)
    wanted = float(log_likelihoods(seen, slices)[:, 0].diagonal().sum())
    assert gain == pytest.approx(wanted, rel=2e-3)
    assert statistics.n_images == n


def test_images_without_the_particle_do_not_enter_the_sums() -> None:
    """Of 36 images, a third shows the molecule, a third nothing, and a third its negative."""
    mixture, n = molecule(), 12
    rotations = evenly(300)
    which = torch.randperm(300, generator=generator(2))[:n]
    centres = torch.zeros(n, 2)
    seen = images_of(mixture, rotations[which], centres, noise=100.0)
    noise = seen.values - seen.precisions * true_slices(rotations[which], voxelize(mixture, GRID))
    values = torch.cat([seen.values, noise, -seen.values])
    images = replace(seen, values=values, precisions=seen.precisions.repeat(3, 1))
    template = Template.of(voxelize(mixture, GRID), 2, 10.0, 0.06)
    found, sums = assigned_everywhere(
        images, template, rotations, centres.repeat(3, 1), 0.02, 10.0, generator()
    )
    assert found.shown[:n].min() > 0.99
    assert found.shown[n:].max() < 0.01
    _, alone = assigned_everywhere(seen, template, rotations, centres, 0.02, 10.0, generator())
    torch.testing.assert_close(sums, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()))


def test_the_other_hand_gives_the_same_images() -> None:
    mixture = molecule()
    rotations = random_poses(5, generator()).rotations
    other = true_slices(mirrored(rotations), voxelize(_mirror(mixture), GRID))
    torch.testing.assert_close(
        other, true_slices(rotations, voxelize(mixture, GRID)), atol=0.05, rtol=1e-3
    )
    torch.testing.assert_close(torch.linalg.det(mirrored(rotations)), torch.ones(5).double())


@pytest.mark.parametrize(
    "wrong", [{"starts": 0}, {"starts": 1, "carried": 2}, {"shift": -1.0}, {"contrast": "grey"}]
)
def test_settings_name_what_is_wrong(wrong: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong)) if len(wrong) == 1 else "carried"):
        AbinitSettings(**wrong)


def test_centres_that_are_far_off_are_found() -> None:
    """By three steps along an axis, or two and one; the cross alone does not reach that far."""
    mixture, n, step = molecule(), 12, 0.03
    rotations = evenly(300)
    which = torch.randperm(300, generator=generator(2))[:n]
    moves = torch.tensor([[3.0, 0.0], [-2.0, 1.0], [0.0, -3.0]]).repeat(n // 3, 1)
    images = images_of(mixture, rotations[which], step * moves, noise=30.0)
    template = Template.of(voxelize(mixture, GRID), 2, 10.0, 0.06)
    begun = torch.zeros(n, 2)
    wide = searched_everywhere(images, template, rotations, begun, step, 1, WIDE_CROSS)
    torch.testing.assert_close(wide.centres, step * moves, atol=0.5 * step, rtol=0.0)
    torch.testing.assert_close(wide.rotations[:, 0], rotations[which].float())
    near = searched_everywhere(images, template, rotations, begun, step, 1)
    assert float((near.centres - step * moves).norm(dim=1).min()) > step

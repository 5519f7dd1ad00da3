"""Classes and motion found again in images of small mixtures."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from pretended_device import pretended_device
from problems import no_optics, white
from scipy.spatial.transform import Rotation
from scipy.stats import spearmanr

from cryosplat.batch import Batch
from cryosplat.fitting import NOWHERE, Encoding
from cryosplat.formation import MixtureProjector, form_images
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.optics import OpticsGroup
from cryosplat.poses import random_poses
from cryosplat.progress import SilentProgress
from cryosplat.states._expectation import Assumptions, expected, products_with
from cryosplat.states._freeing import freed
from cryosplat.states._judging import SURE, clear, gains, judged, rival_gain, shown
from cryosplat.states._learned import best
from cryosplat.states._learning import Plan, evidence, learn, volumes_of
from cryosplat.states._posterior import coordinates_of
from cryosplat.states._preparation import Prepared
from cryosplat.states.coordinates import functions_at, nodes_of
from cryosplat.states.models import Classes, Single
from cryosplat.states.moving import Displaced, Motion, Skeleton
from cryosplat.states.observations import Observations, Observer
from cryosplat.states.values import Gain

GRID = Grid(20, 4.0)
PLAN = Plan(iterations=16, first=150, batch=300)
N = 360


def _molecule() -> GaussianMixture:
    """A body of 30 Gaussians, and an arm of 10 that sticks out along x."""
    draw = torch.Generator().manual_seed(5)
    body = 7.0 * torch.randn(30, 3, generator=draw) - torch.tensor([6.0, 0.0, 0.0])
    arm = torch.stack([torch.linspace(10.0, 26.0, 10), torch.zeros(10), torch.zeros(10)], 1)
    means = torch.cat([body, arm])
    return GaussianMixture(
        means,
        torch.full((40, 3), 3.5),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(40, 1),
        torch.ones(40),
    )


def _images(mixtures: list[GaussianMixture], noise: float, seed: int) -> Observations:
    """Image i of mixture i."""
    generator = torch.Generator().manual_seed(seed)
    group = OpticsGroup("g", GRID.pixel_size, GRID.box_size, 300e3, 0.0, 1.0)
    observer = Observer(len(mixtures), GRID, white(GRID, noise))
    for i, mixture in enumerate(mixtures):
        poses, optics = random_poses(1, generator), no_optics(1, group)
        image = form_images(MixtureProjector(mixture), poses, optics, GRID.box_size)
        image = image + noise * torch.randn(image.shape, generator=generator)
        observer.add(Batch(torch.tensor([i]), image, poses, optics))
    return observer.result()


def _single(seen: Observations, begun: GaussianMixture | None = None) -> tuple[Single, Assumptions]:
    encoding = Encoding(GRID.pixel_size, 1.0, 0.4)
    model = Single(encoding.encode(begun or _molecule()), encoding)
    rows = np.arange(len(seen))
    plan = Plan(iterations=6, first=300, batch=300, hottest=1.0)
    return model, learn(model, Assumptions.even(1), seen, rows, plan, torch.Generator())


def _posterior(model, given, seen) -> np.ndarray:
    found = expected(products_with(seen, np.arange(len(seen)), volumes_of(model, seen)), given)
    return (found.weights / found.weights.sum(1, keepdim=True)).numpy()


def test_an_arm_that_is_there_or_not_makes_two_classes() -> None:
    whole = _molecule()
    label = np.arange(N) % 3 == 0
    short = whole.select(torch.arange(30))
    seen = _images([short if absent else whole for absent in label], 0.25, 1)
    one, alone = _single(seen)
    model = Classes.begun(one.values, one.encoding, 2, torch.Generator().manual_seed(3))
    rows = np.arange(N)
    given = learn(model, Assumptions.even(2), seen, rows, PLAN, torch.Generator().manual_seed(4))
    found = _posterior(model, given, seen).argmax(1).astype(bool)
    accuracy = max((found == label).mean(), (found != label).mean())
    assert accuracy > 0.97
    assert sorted(given.shares.tolist()) == pytest.approx([1 / 3, 2 / 3], abs=0.05)
    gain = evidence(model, given, seen, rows) - evidence(one, alone, seen, rows)
    assert float(gain.mean()) > 1.0


def _about_z(angle: float) -> torch.Tensor:
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _turned(whole: GaussianMixture, angle: np.ndarray) -> list[GaussianMixture]:
    """The arm turned in the plane of x and y by each angle."""
    mixtures = []
    for a in angle:
        means = whole.means.clone()
        hinge = torch.tensor([8.0, 0.0, 0.0])
        means[30:40] = (means[30:40] - hinge) @ _about_z(a).T + hinge
        mixtures.append(replace(whole, means=means))
    return mixtures


def _followed(
    seen: Observations, rows: np.ndarray, begun: GaussianMixture | None = None
) -> tuple[Motion, Assumptions]:
    """The motion that the images ``rows`` show."""
    one, _ = _single(seen, begun)
    nodes, draw = nodes_of(1), torch.Generator().manual_seed(3)
    begun_at = [
        (
            Motion.begun(one.values, one.encoding, functions_at(nodes), 8, draw),
            Assumptions.even(len(nodes)),
        )
        for _ in range(3)
    ]
    model, given, _ = best(begun_at, seen, rows, PLAN, 4, NOWHERE)
    assert isinstance(model, Motion)
    return model, given


def test_an_arm_that_turns_is_followed() -> None:
    angle = np.linspace(-0.7, 0.7, N)
    seen = _images(_turned(_molecule(), angle), 0.25, 2)
    model, given = _followed(seen, np.arange(N))
    mean, width = coordinates_of(model, given, seen, 1)
    assert abs(spearmanr(mean[:, 0], angle)[0]) > 0.96
    assert len(np.unique(mean.round(2))) > 40  # between the nodes, too
    assert 0.0 < width.mean() < 0.2


@pytest.mark.parametrize("fades", [True, False])
def test_a_part_that_goes_while_an_arm_turns_is_told_from_one_that_stays(fades: bool) -> None:
    whole = _molecule()
    cap = torch.stack([torch.full((10,), -8.0), torch.linspace(14.0, 30.0, 10), torch.zeros(10)], 1)
    whole = GaussianMixture(
        torch.cat([whole.means, cap]), torch.full((50, 3), 3.5),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(50, 1), torch.ones(50),
    )  # fmt: skip
    angle = np.linspace(-0.7, 0.7, 2 * N)
    there = np.linspace(1.0, 0.0, 2 * N) if fades else np.ones(2 * N)
    in_cap = torch.arange(50) >= 40
    seen = _images([
        replace(mixture, amplitudes=torch.where(in_cap, float(left), 1.0))
        for mixture, left in zip(_turned(whole, angle), there, strict=True)
    ], 0.25, 2)  # fmt: skip
    first, second = np.arange(0, 2 * N, 2), np.arange(1, 2 * N, 2)
    prepared = cast(Prepared, SimpleNamespace(seen=seen, rows=(first, second)))
    followed = _followed(seen, first, whole)
    halves = followed, followed
    (found, *_), gain = freed(halves, Motion.fading, "fading", prepared, SilentProgress(), NOWHERE)
    assert clear(gain) == fades == ("fades" in found[0].values)
    if not fades:
        assert found is followed
        return
    z = coordinates_of(*found, seen, 1)[0]
    nodes = found[0].at(functions_at(torch.from_numpy(np.quantile(z, [0.1, 0.9])[:, None]).float()))
    near = [(m.means - torch.tensor([-8.0, 22.0, 0.0])).norm(dim=1) < 9.0 for m in nodes]
    masses = [float(m.amplitudes[own].sum()) for m, own in zip(nodes, near, strict=True)]
    assert abs(spearmanr(z[:, 0], angle)[0]) > 0.93
    assert min(masses) < 0.3 * max(masses)  # truth: 0.1 of 0.9
    rest = [float(m.amplitudes.sum()) - own for m, own in zip(nodes, masses, strict=True)]
    assert min(rest) > 0.85 * max(rest)


@pytest.mark.parametrize("moved", [True, False])
def test_what_lies_elsewhere_in_a_class_is_told_from_what_is_not_there(moved: bool) -> None:
    whole, label = _molecule(), np.arange(2 * N) % 4 < 2
    body = torch.arange(40) < 30
    means = torch.where(body[:, None], whole.means @ _about_z(0.8).T, whole.means)
    other = replace(whole, means=means) if moved else whole.select(torch.arange(30))
    seen = _images([whole if own else other for own in label], 0.25, 8)
    first, second = np.arange(0, 2 * N, 2), np.arange(1, 2 * N, 2)
    prepared = cast(Prepared, SimpleNamespace(seen=seen, rows=(first, second)))
    one, _ = _single(seen)
    draw, halves = torch.Generator().manual_seed(3), []
    for rows in (first, second):
        begun = [
            (Classes.begun(one.values, one.encoding, 2, draw), Assumptions.even(2))
            for _ in range(3)
        ]
        model, given, _ = best(begun, seen, rows, PLAN, 4, NOWHERE)
        assert isinstance(model, Classes)
        halves.append((model, given))
    own = halves[0], halves[1]
    (found, *_), gain = freed(own, Displaced.of, "moving", prepared, SilentProgress(), NOWHERE)
    assert clear(gain) == moved == isinstance(found[0], Displaced)
    own = _posterior(*found, seen).argmax(1).astype(bool)
    assert max((own == label).mean(), (own != label).mean()) > 0.97


def test_particles_past_the_last_node_have_coordinates_there() -> None:
    encoding = Encoding(GRID.pixel_size, 1.0, 0.4)
    shared = encoding.encode(_molecule())
    anchors = torch.tensor([[-2.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    skeleton = Skeleton(anchors, Skeleton.blended(shared["means"], anchors))
    basis = functions_at(nodes_of(1))
    turns = torch.zeros(basis.shape[1], 2, 3)
    turns[0, 1, 2] = 1.0
    model = Motion(shared, encoding, skeleton, basis, turns, torch.zeros_like(turns))
    z = torch.linspace(-0.95, 0.95, 200)
    seen = _images(model.at(functions_at(z[:, None])), 0.1, 3)
    mean, _ = coordinates_of(model, Assumptions.even(len(basis)), seen, 1)
    assert float(nodes_of(1).max()) < 0.9
    assert np.abs(mean[-20:, 0] - z[-20:].numpy()).mean() < 0.05


@pytest.mark.parametrize("error", [0.0, 0.08])
def test_one_state_gains_nothing_and_wrong_poses_say_so(error: float) -> None:
    seen = _images([_molecule()] * (2 * N), 0.25, 6)
    if error:
        turned = Rotation.from_rotvec(error * np.random.default_rng(1).normal(size=(len(seen), 3)))
        size = np.linalg.norm(seen.steps, axis=2, keepdims=True)
        rows = seen.steps / size
        frame = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
        seen = seen.at((turned.as_matrix() @ frame)[:, :2] * size)
    halves = np.arange(N), np.arange(N, 2 * N)
    basis = functions_at(nodes_of(1))
    ones, several = [], []
    for half, rows in enumerate(halves):
        one, given = _single(seen.select(rows))
        draw = torch.Generator().manual_seed(half)
        moving = Motion.begun(one.values, one.encoding, basis, 8, draw)
        for model, found in ((one, ones), (moving, several)):
            draw = torch.Generator().manual_seed(4)
            even = Assumptions.even(model.n_states)
            given = learn(model, even, seen, rows, PLAN, draw)
            found.append((model, given))
    prepared = cast(Prepared, SimpleNamespace(seen=seen, rows=halves))
    gain, rival = gains(prepared, several, ones), rival_gain(prepared, ones)
    verdict = judged(gain, rival, 1.0, 0.3, "motion", shown(prepared, ones))
    assert not verdict.found and ("poses are wrong" in verdict.cause) == (error > 0.0)
    if error:
        assert rival.mean > max(g.mean for g in gain) and rival.deviations > 5.0
    else:
        assert rival.mean < 0.02 and max(g.deviations for g in gain) < SURE


@pytest.mark.parametrize(
    ("gain", "rival", "image", "cause"),
    [
        (-0.1, 0.5, 40.0, "poses are wrong"), (0.2, 0.5, 40.0, "poses are wrong"),
        (-0.1, 0.0, 40.0, "not better explained by motion"), (-0.1, 0.5, -0.6, "noise"),
        (0.2, 0.5, -0.6, "noise"), (0.9, 0.5, 40.0, ""),
    ],
)  # fmt: skip
def test_what_is_no_motion_is_named(gain: float, rival: float, image: float, cause: str) -> None:
    own, other, whole = (Gain(mean, 0.02) for mean in (gain, rival, image))
    verdict = judged((own, own), other, 0.9, 0.3, "motion", whole)
    assert verdict.found == (not cause) and cause in verdict.cause


@pytest.mark.parametrize("kind", ["classes", "displaced", "motion"])
def test_states_are_learned_on_another_device_as_on_the_cpu(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _images(_turned(_molecule(), np.linspace(-0.7, 0.7, 40)), 0.25, 2)
    one, _ = _single(seen)
    draw = torch.Generator().manual_seed(3)
    classes = Classes.begun(one.values, one.encoding, 2, draw)
    model = {
        "classes": classes,
        "displaced": Displaced.of(classes),
        "motion": Motion.begun(
            one.values, one.encoding, functions_at(nodes_of(1)), 8, draw
        ).fading(),
    }[kind]
    plan, even = replace(PLAN, iterations=3), Assumptions.even(model.n_states)

    def learned(own: Observations) -> tuple[dict[str, torch.Tensor], Assumptions]:
        there = model.copy()
        given = learn(there, even, own, np.arange(40), plan, torch.Generator().manual_seed(4))
        return there.values, given

    wanted, theirs = learned(seen)
    with pretended_device(monkeypatch) as device:
        found, given = learned(replace(seen, device=device))
    assert torch.allclose(given.shares, theirs.shares, atol=1e-4)
    for name, value in wanted.items():
        assert found[name].device.type == "cpu" and not torch.equal(value, model.values[name])
        assert torch.allclose(found[name], value, atol=1e-3), name

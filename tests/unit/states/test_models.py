"""States that share their Gaussians, how two classes become one, and coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cryosplat.fitting import Encoding
from cryosplat.mixture import GaussianMixture
from cryosplat.states._expectation import Assumptions
from cryosplat.states._judging import class_agreement, matching
from cryosplat.states._merging import Stage, joined
from cryosplat.states.coordinates import (
    agreement_of,
    finer_nodes,
    functions_at,
    nodes_of,
    shares_at,
    turned_to,
)
from cryosplat.states.maps import binned
from cryosplat.states.models import Classes
from cryosplat.states.motion import rigid_share
from cryosplat.states.moving import Motion

ENCODING = Encoding(2.0, 1.0, 0.4)


def _shared(k: int = 40):
    draw = torch.Generator().manual_seed(0)
    mixture = GaussianMixture(
        12.0 * torch.randn(k, 3, generator=draw), torch.full((k, 3), 3.0),
        functional.normalize(torch.randn(k, 4, generator=draw), dim=1), torch.rand(k, generator=draw),
    )  # fmt: skip
    return mixture, ENCODING.encode(mixture)


def _motion(n: int = 1, size: float = 0.0) -> Motion:
    basis = functions_at(nodes_of(n))
    return Motion.begun(
        _shared()[1], ENCODING, basis, 6, torch.Generator().manual_seed(1), n, size
    )  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 3])
def test_without_motion_all_nodes_are_the_same_mixture(n: int) -> None:
    mixture, _ = _shared()
    for node in _motion(n).mixtures():
        assert torch.allclose(node.means, mixture.means, atol=1e-3)
        assert torch.allclose(node.covariances(), mixture.covariances(), atol=1e-3)


def test_one_turn_of_all_anchors_is_rigid_and_one_of_some_is_not() -> None:
    model = _motion()
    turn = torch.tensor([0.0, 0.0, 0.3])
    model.values["turns"][0] = turn
    # about the origin, not about each anchor: to first order, anchors move along
    model.values["moves"][0] = torch.linalg.cross(turn.expand(6, 3), model.skeleton.anchors)
    assert rigid_share(model) > 0.97
    model.values["turns"][0, 3:] = 0.0
    model.values["moves"][0, 3:] = 0.0
    assert rigid_share(model) < 0.8


def test_two_classes_are_joined_by_their_shares() -> None:
    _, shared = _shared()
    model = Classes.begun(shared, ENCODING, 3, torch.Generator().manual_seed(2))
    given = Assumptions(torch.tensor([0.5, 0.2, 0.3]).double())
    before = [m.amplitudes for m in model.mixtures()]
    after, new = joined(Stage(model, given), 0, 2)
    assert new.shares.tolist() == pytest.approx([0.8, 0.2])
    found = [m.amplitudes for m in after.mixtures()]
    assert torch.allclose(found[0], (0.5 * before[0] + 0.3 * before[2]) / 0.8, atol=1e-4)
    assert torch.allclose(found[1], before[1], atol=1e-4)


def test_coordinates_of_half_sets_are_turned_to_each_other() -> None:
    z = np.random.default_rng(0).normal(size=(500, 2))
    c, s = np.cos(0.7), np.sin(0.7)
    other = z @ np.array([[c, s], [s, -c]])  # turned and mirrored
    turned = turned_to(z, other)
    assert np.corrcoef(turned[:, 0], z[:, 0])[0, 1] > 0.99
    assert agreement_of(z, other) > 0.95
    assert agreement_of(z[:, :1], -z[:, :1]) > 0.999
    noise = np.random.default_rng(1).normal(size=(500, 1))
    assert agreement_of(z[:, :1], noise) < 0.15
    # one of two that both find is not enough
    assert agreement_of(z, np.column_stack([z[:, 0], noise])) < 0.15


@pytest.mark.parametrize("n", [1, 2, 3])
def test_finer_nodes_hold_the_nodes_and_their_distribution(n: int) -> None:
    nodes, finer = nodes_of(n), finer_nodes(n)
    near = torch.cdist(nodes, finer)
    assert float(near.min(1).values.max()) < 1e-5
    # past the ends, too, for the particles of an end node lie on both sides of it
    assert float(finer.max()) == 1.0 and float(nodes.max()) < 0.9
    # between the ends, a distribution that is a straight line stays one
    shares = 1.0 + 0.5 * nodes.double().sum(1) / n
    found = shares_at(shares / shares.sum(), n)
    held = (finer.abs() <= nodes.max() + 1e-6).all(1)
    wanted = 1.0 + 0.5 * finer[held].double().sum(1) / n
    assert torch.allclose(found[held] / found[held].sum(), wanted / wanted.sum(), atol=1e-7)
    assert float(found.sum()) == pytest.approx(1.0) and float(found.min()) > 0.0


def test_classes_are_matched_by_what_they_say_of_images() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(0, 4, 300)
    first = np.eye(4)[label]
    order = np.array([2, 0, 3, 1])
    second = np.eye(4)[order[label]]
    match = matching(first, second)
    assert match.tolist() == order.tolist()
    assert class_agreement(first, second[:, match]) == pytest.approx(1.0)
    dealt = np.eye(4)[draw.integers(0, 4, 300)]
    assert abs(class_agreement(first, dealt[:, matching(first, dealt)])) < 0.2


def test_parts_along_a_coordinate_are_equal_in_each_half_set() -> None:
    draw = np.random.default_rng(0)
    halves = draw.integers(1, 3, 203)
    weights = binned(draw.normal(size=203), halves, 5)
    assert (weights.sum(1) == 1).all()
    for half in (1, 2):
        counts = weights[halves == half].sum(0)
        assert counts.max() - counts.min() <= 1

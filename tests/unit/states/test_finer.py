"""States with more Gaussians than before: the same maps, the same differences."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch.nn import functional

from cryosplat.fitting import Encoding
from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.progress import SilentProgress
from cryosplat.splatting import voxelize
from cryosplat.states import _finer
from cryosplat.states._finer import memory_of, with_heirs
from cryosplat.states._preparation import Prepared
from cryosplat.states.coordinates import functions_at, nodes_of
from cryosplat.states.models import Classes, Model
from cryosplat.states.moving import Motion

COARSE, FINE = Grid(16, 6.0), Grid(20, 4.8)
ENCODING = Encoding(COARSE.pixel_size, 1.0, 0.4)


def _shared() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    k = 60
    mixture = GaussianMixture(
        14.0 * torch.randn(k, 3, generator=draw), torch.full((k, 3), 6.0),
        functional.normalize(torch.randn(k, 4, generator=draw), dim=1),
        0.2 + torch.rand(k, generator=draw),
    )  # fmt: skip
    return ENCODING.encode(mixture)


def _alike(before: Model, after: Model) -> float:
    """The least correlation of the maps of a state before and after."""
    pairs = zip(before.mixtures(), after.mixtures(), strict=True)
    maps = (torch.stack([voxelize(m, FINE).flatten() for m in pair]) for pair in pairs)
    return min(float(torch.corrcoef(both)[0, 1]) for both in maps)


def _differences(model: Model) -> torch.Tensor:
    maps = torch.stack([voxelize(m, FINE).flatten() for m in model.mixtures()])
    return (maps - maps.mean(0)).flatten()


def test_heirs_of_classes_differ_as_their_parents() -> None:
    before = Classes.begun(_shared(), ENCODING, 3, torch.Generator().manual_seed(1))
    after = with_heirs(before, 9000, FINE.pixel_size, torch.Generator().manual_seed(2))
    assert len(after.values["means"]) == 9000 and after.encoding.length == FINE.pixel_size
    assert _alike(before, after) > 0.9
    both = torch.stack([_differences(before), _differences(after)])
    assert float(torch.corrcoef(both)[0, 1]) > 0.8


def test_heirs_move_as_their_parents() -> None:
    basis = functions_at(nodes_of(1))
    before = Motion.begun(_shared(), ENCODING, basis, 6, torch.Generator().manual_seed(1), 1, 0.8)
    before = before.fading()
    before.values["turns"][0, 2, 1], before.values["fades"][0, 3] = 0.3, -2.0
    after = with_heirs(before, 9000, FINE.pixel_size, torch.Generator().manual_seed(2))
    assert _alike(before, after) > 0.9
    both = torch.stack([_differences(before), _differences(after)])
    assert float(torch.corrcoef(both)[0, 1]) > 0.8


def test_memory_grows_with_states_and_box() -> None:
    assert memory_of(64, 8, 1000) > 6 * memory_of(32, 8, 0)
    assert memory_of(32, 64, 1000) > memory_of(32, 8, 1000)


@pytest.mark.parametrize(
    ("box", "resolution", "n", "side"),
    [
        (100, 5.0, 8, 80), (100, 3.0, 8, 128), (100, 20.0, 8, 64), (100, None, 8, 64),
        (48, 5.0, 8, 64), (100, 5.0, 25, 54), (100, 5.0, 2, 80),
    ],
)  # fmt: skip
def test_states_are_refined_as_far_as_half_maps_go(
    box: int, resolution: float | None, n: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    particles = SimpleNamespace(box_size=box, pixel_size=200.0 / box)
    prepared = SimpleNamespace(particles=particles, polarity=SimpleNamespace(sign=1.0))
    monkeypatch.setattr(_finer, "whole_images", lambda *a: (range(7), None))
    every = SimpleNamespace(resolution=resolution)
    monkeypatch.setattr(_finer, "voxel_states", lambda *a: [every])
    found = _finer._resolved(cast(Prepared, prepared), SilentProgress())
    assert _finer._shared(n, found) == side

"""Poses found on another device are those of the CPU: in Triton's interpreter, and on a GPU if any."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tolerances
import torch
import triton_process
from pretended_device import THERE, pretended_device
from problems import ABERRATIONS, blobs, noise_model, random_batch
from torch import Tensor
from triton_process import DEVICE, INTERPRETED, needs_gpu, needs_triton

from cryosplat.alignment import (
    DefocusSums,
    LensSlopes,
    OpenImages,
    Prior,
    ReadyImages,
    ShellProducts,
    Template,
    ball,
    evaluated,
    refined,
    searched,
)
from cryosplat.alignment import _device as on_device
from cryosplat.alignment._definition import turned
from cryosplat.alignment._places import places_of
from cryosplat.batch import Batch
from cryosplat.grid import Grid
from cryosplat.optics import OpticsGroup
from cryosplat.poses import Poses
from cryosplat.splatting import voxelize

GRID = Grid(20, 2.0)
GROUPS = (
    OpticsGroup("aberrant", 2.4, 16, 300e3, 2.7e7, 0.1, **ABERRATIONS),
    OpticsGroup("plain", 2.4, 16, 300e3, 2.7e7, 0.1),
)
LIMIT = 0.17  # 1/Angstrom


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's process")
def test_interpreted_the_kernel_passes_the_other_tests() -> None:
    triton_process.passes(__file__)


@pytest.fixture
def volume() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return voxelize(blobs(20, 10.0, generator, 1.6), GRID).float()


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    parts = Batch.concatenate([random_batch(2, GROUPS, generator, group) for group in (0, 1)])
    rotations = parts.poses.rotations.clone()
    rotations[0] = torch.eye(3)
    return replace(parts, poses=Poses(rotations, parts.poses.shifts))


@needs_gpu
def test_the_kernel_is_that_of_the_cpu(volume: Tensor, batch: Batch) -> None:
    images = ReadyImages.of(batch, noise_model(GROUPS))
    for limit in (LIMIT, 0.6 * LIMIT):
        template = Template.of(volume, GRID, limit)
        stretch, radii = images.steps(template)
        moves = torch.randn(len(images), 2, dtype=torch.float64)
        rotations = images.poses.rotations.double()
        wanted = places_of(images, template).evaluated(rotations, moves)
        order = torch.tensor([3, 0, 0, 2, 1])
        kernels: Any = importlib.import_module("cryosplat.alignment._cuda")
        given = (stretch, radii, order, rotations[order], moves[order])
        found = kernels.evaluated(
            template.transform.to(DEVICE), images.values.to(DEVICE), *(t.to(DEVICE) for t in given)
        )
        assert found.device.type == DEVICE and found.dtype == torch.float64
        scale = wanted.abs().amax(0)
        error = ((found.cpu() - wanted[order]).abs() / scale).max()
        assert float(error) < tolerances.LIKELIHOOD_KERNEL


@needs_gpu
def test_no_entries_have_no_sums(volume: Tensor, batch: Batch) -> None:
    images, template = ReadyImages.of(batch, noise_model(GROUPS)), Template.of(volume, GRID, LIMIT)
    stretch, radii = images.steps(template)
    kernels: Any = importlib.import_module("cryosplat.alignment._cuda")
    none = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, 3), torch.zeros(0, 2)
    given = (template.transform, images.values, stretch, radii, *none)
    assert kernels.evaluated(*(t.to(DEVICE) for t in given)).shape == (0, 21)


def _looks(batch: Batch, volume: Tensor, device: torch.device | str) -> dict[str, Tensor]:
    """All that images are held against maps for."""
    noise = noise_model(GROUPS).to(device)
    there = volume.to(device)
    images = ReadyImages.of(batch, noise, device)
    template = Template.of(there, GRID, LIMIT)
    shells = ShellProducts.of(images, template)
    gained = Template.of(there, GRID, LIMIT, shells.gains().clamp_min(0.1))
    open_ = OpenImages.of(batch, noise, device)
    prior = Prior(0.1, 2.0)
    found = {
        "here": evaluated(images, gained),
        "refined": refined(images, template, prior),
        "free": refined(images, template),
        "searched": searched(images, template.within(0.1), 0.3, prior, reach=2.0),
    }
    lenses = LensSlopes.of(open_, template)
    return {
        "products": shells.products, "powers": shells.powers,
        "defocus": DefocusSums.of(open_, template).profile(),
        "lenses": lenses.likelihood, "slopes": lenses.gradient, "curvature": lenses.curvature,
        **{f"{name}, {part}": getattr(value, part) for name, value in found.items()
           for part in ("likelihood", "gradient", "curvature")},
        **{f"{name}, rotations": value.poses.rotations for name, value in found.items()},
        **{f"{name}, shifts": value.poses.shifts for name, value in found.items()},
    }  # fmt: skip


def _agree(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, value in found.items():
        assert value.device.type == "cpu", name
        error = (value.double() - wanted[name].double()).abs().max() / wanted[name].abs().max()
        # at its top a slope is what rounding left of it
        assert float(error) < (1e-2 if ", " in name else 1e-4), (name, float(error))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter's process has no second device")
def test_images_on_another_device_find_the_poses_of_the_cpu(
    volume: Tensor, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _looks(batch, volume, "cpu")
    with pretended_device(monkeypatch):
        found = _looks(batch, volume, THERE)
    _agree(found, wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_images_on_a_gpu_find_the_poses_of_the_cpu(volume: Tensor, batch: Batch) -> None:
    _agree(_looks(batch, volume, "cuda"), _looks(batch, volume, "cpu"))


def test_scores_of_turns_and_moves_are_those_of_the_cpu(
    volume: Tensor, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, template = ReadyImages.of(batch, noise_model(GROUPS)), Template.of(volume, GRID, LIMIT)
    stretch, radii = images.steps(template)
    held = on_device.Held(template.transform, images.values, stretch.double(), radii.double())
    turns, moves = ball(0.2, 0.1), torch.linspace(-2.0, 2.0, 5, dtype=torch.float64)
    given, centres = images.poses.rotations.double(), torch.randn(len(images), 2).double()
    precision = torch.tensor([[20.0, 0.3]] * len(images), dtype=torch.float64)
    wanted, at = places_of(images, template).scores(given, centres, turns, moves, precision)
    for room in (on_device.ROOM, 1):
        monkeypatch.setattr(on_device, "ROOM", room)
        found, where = on_device.scores(held, given, centres, turns, moves, precision)
        assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-4
        assert float((where == at).double().mean()) > 0.99


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 1e-3, 1.0, 3.0])
def test_turns_are_those_of_the_definition(angle: float, batch: Batch) -> None:
    direction = torch.randn(len(batch), 3, generator=torch.Generator().manual_seed(5)).double()
    vectors = angle * torch.nn.functional.normalize(direction, dim=1)
    found = on_device.turned(vectors, batch.poses.rotations.double())
    wanted = turned(vectors, batch.poses.rotations.double())
    assert float((found - wanted).abs().max()) < 1e-14


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="the interpreter's process compiles nothing")
def test_the_kernel_compiles_for_an_h200(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernels: Any = importlib.import_module("cryosplat.alignment._cuda")
    double = ("stretch", "radii", "rotations", "shifts")
    types = dict.fromkeys(("box", "period", "reach"), "i32") | dict.fromkeys(double, "*fp64")
    triton_process.compiles(
        kernels._evaluated, {"PARTS": 16, "POINTS": 16}, types | {"images": "*i64"}
    )

"""Triton's kernels are the definitions: through Triton's interpreter, and on a GPU if there is one.

The interpreter has to be asked for before Triton is loaded, hence in a process of its own: one test
of this file runs the others there. In this process they need a GPU, for which they are compiled.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tolerances
import torch
import triton_process
from torch import Tensor
from triton_process import DEVICE, INTERPRETED, needs_gpu, needs_triton

from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture, quaternions_to_matrices
from cryosplat.poses import Poses
from cryosplat.splatting import project
from cryosplat.splatting._reference import voxelize_dense, voxelize_dense_adjoint
from cryosplat.splatting._splat_reference import splat_dense, splat_dense_adjoint

SEED = 3


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's process")
def test_interpreted_the_kernels_pass_the_other_tests() -> None:
    triton_process.passes(__file__)


def _bodies(operator: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A kernel and its adjoint: as Python functions if interpreted, through PyTorch on a GPU."""
    if not INTERPRETED:
        found = torch.ops.cryosplat
        return getattr(found, operator), getattr(found, f"{operator}_adjoint")
    module = importlib.import_module(f"cryosplat.splatting._{operator}_cuda")
    return getattr(module, operator), getattr(module, f"{operator}_adjoint")


def _uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def _scales(kind: str, generator: torch.Generator, *shape: int) -> Tensor:
    """Standard deviations in pixels, of as many axes as the shape's last number."""
    if kind == "needles":  # 10 to 1
        long = torch.tensor([10.0] + [1.0] * (shape[-1] - 1), dtype=torch.float64)
        return 0.55 * _uniform(0.9, 1.1, generator, *shape) * long
    low, high = {"narrow": (0.4, 0.8), "usual": (0.7, 2.0), "wide": (3.0, 6.0)}[kind]
    return _uniform(low, high, generator, *shape)


def _in_pixels(
    kind: str, n: int, k: int, spread: float, side: int, generator: torch.Generator
) -> list[Tensor]:
    """Centres (n, k, 2), precisions (n, k, 3), weights (n, k) of turned Gaussians, float32."""
    certainty = _scales(kind, generator, n, k, 2) ** -2
    angle = _uniform(0.0, math.pi, generator, n, k)
    axis = torch.stack([angle.cos(), angle.sin()], -1)
    across = torch.stack([-angle.sin(), angle.cos()], -1)
    matrix = certainty[..., :1, None] * axis[..., :, None] * axis[..., None, :]
    matrix = matrix + certainty[..., 1:, None] * across[..., :, None] * across[..., None, :]
    upper = torch.stack([matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]], -1)
    centres = side / 2 + _uniform(-spread / 2, spread / 2, generator, n, k, 2)
    return [t.float() for t in (centres, upper, _uniform(0.2, 1.2, generator, n, k))]


def _in_voxels(
    kind: str, k: int, spread: float, side: int, generator: torch.Generator
) -> list[Tensor]:
    """Centres (k, 3), precisions (k, 6), weights (k,) of turned Gaussians, float32."""
    quaternions = torch.randn(k, 4, generator=generator, dtype=torch.float64)
    half = quaternions_to_matrices(quaternions) / _scales(kind, generator, k, 3)[:, None, :]
    matrix = half @ half.transpose(1, 2)
    upper = torch.stack([matrix[:, i, j] for i in range(3) for j in range(i, 3)], -1)
    centres = side / 2 + _uniform(-spread / 2, spread / 2, generator, k, 3)
    return [t.float() for t in (centres, upper, _uniform(0.2, 1.2, generator, k))]


def _relative(given: Tensor, wanted: Tensor) -> float:
    return float((given.cpu().double() - wanted).norm() / wanted.norm())


def _check(
    bodies: tuple[Callable[..., Any], Callable[..., Any]],
    definitions: tuple[Callable[..., Any], Callable[..., Any]],
    inputs: list[Tensor],
    side: int,
    generator: torch.Generator,
) -> None:
    """Kernel and adjoint against their definitions, at the same float32 inputs in float64."""
    exact = [t.double() for t in inputs]
    given = [t.to(DEVICE) for t in inputs]
    wanted = definitions[0](*exact, side)
    assert _relative(bodies[0](*given, side), wanted) < tolerances.TRITON_KERNEL
    noise = torch.randn(wanted.shape, generator=generator)
    for kind, gradient in (("noise", noise), ("smooth", wanted.float())):
        found = bodies[1](*given, gradient.to(DEVICE))
        for name, a, b in zip(
            ("centres", "precisions", "weights"), found,
            definitions[1](*exact, gradient.double()), strict=True,
        ):  # fmt: skip
            assert a.device.type == DEVICE and a.dtype == torch.float32
            assert _relative(a, b) < tolerances.TRITON_KERNEL, (kind, name)


CASES = [
    pytest.param(kind, spread, side, id=f"{kind}, {where}, {side}")
    for kind in ("narrow", "usual", "wide", "needles")
    for where, spread, side in (("inside", 20.0, 64), ("partly outside", 50.0, 31))
]


@needs_gpu
@pytest.mark.parametrize(("kind", "spread", "side"), CASES)
def test_images_are_the_definition(
    kind: str, spread: float, side: int, generator: torch.Generator
) -> None:
    inputs = _in_pixels(kind, 2, 8, spread, side, generator)
    _check(_bodies("splat"), (splat_dense, splat_dense_adjoint), inputs, side, generator)


@needs_gpu
@pytest.mark.parametrize(("k", "side"), [(30, 100), (200, 256)])
def test_large_images_are_the_definition(k: int, side: int, generator: torch.Generator) -> None:
    if INTERPRETED and side > 100:
        pytest.skip("a minute through the interpreter")
    inputs = _in_pixels("usual", 1, k, 0.9 * side, side, generator)
    _check(_bodies("splat"), (splat_dense, splat_dense_adjoint), inputs, side, generator)


@needs_gpu
@pytest.mark.parametrize("kind", ["narrow", "usual", "wide", "needles"])
@pytest.mark.parametrize(("spread", "side"), [(6.0, 20), (20.0, 13)])
def test_maps_are_the_definition(
    kind: str, spread: float, side: int, generator: torch.Generator
) -> None:
    inputs = _in_voxels(kind, 5, spread, side, generator)
    _check(_bodies("voxelize"), (voxelize_dense, voxelize_dense_adjoint), inputs, side, generator)


@needs_gpu
def test_gaussians_far_outside_leave_the_image_and_get_no_gradient() -> None:
    splat, adjoint = _bodies("splat")
    centres = torch.tensor([[[-40.0, 8.0], [8.0, 60.0], [1e9, 8.0]]], device=DEVICE)
    precisions = torch.tensor([1.0, 0.0, 1.0], device=DEVICE).repeat(1, 3, 1)
    weights = torch.ones(1, 3, device=DEVICE)
    assert float(splat(centres, precisions, weights, 16).abs().max()) == 0.0
    for gradient in adjoint(centres, precisions, weights, torch.ones(1, 16, 16, device=DEVICE)):
        assert float(gradient.abs().max()) == 0.0


@needs_gpu
@pytest.mark.parametrize(("n", "k", "side"), [(0, 3, 8), (2, 0, 8), (0, 0, 8), (1, 2, 0)])
def test_empty_batches_make_empty_images(n: int, k: int, side: int) -> None:
    splat, adjoint = _bodies("splat")
    inputs = [torch.ones(n, k, 2), torch.ones(n, k, 3), torch.ones(n, k)]
    inputs = [t.to(DEVICE) for t in inputs]
    images = splat(*inputs, side)
    assert images.shape == (n, side, side) and float(images.abs().sum()) == 0.0
    for gradient, given in zip(adjoint(*inputs, images), inputs, strict=True):
        assert gradient.shape == given.shape and float(gradient.abs().sum()) == 0.0


@needs_gpu
def test_an_empty_mixture_makes_an_empty_map() -> None:
    voxelize, adjoint = _bodies("voxelize")
    inputs = [torch.zeros(0, 3), torch.zeros(0, 6), torch.zeros(0)]
    volume = voxelize(*(t.to(DEVICE) for t in inputs), 8)
    assert volume.shape == (8, 8, 8) and float(volume.abs().max()) == 0.0
    assert [len(t) for t in adjoint(*(t.to(DEVICE) for t in inputs), volume)] == [0, 0, 0]


@needs_gpu
@needs_triton
def test_images_together_apart_and_in_chunks_are_the_same(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    from cryosplat.splatting import _bins

    splat, _ = _bodies("splat")
    inputs = [t.to(DEVICE) for t in _in_pixels("usual", 3, 12, 50.0, 40, generator)]
    together = splat(*inputs, 40)
    apart = torch.cat([splat(*(t[i : i + 1] for t in inputs), 40) for i in range(3)])
    assert torch.equal(together, apart)
    monkeypatch.setattr(_bins, "chunks", functools.partial(_bins.chunks, limit=30))
    assert torch.equal(together, splat(*inputs, 40))


@needs_gpu
@needs_triton
def test_chunks_hold_as_many_images_as_the_limit_allows() -> None:
    from cryosplat.splatting._bins import chunks

    assert chunks([3, 3, 3, 9, 1, 0], limit=6) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert chunks([]) == []


@needs_gpu
@needs_triton
def test_lists_hold_each_gaussian_in_each_of_its_bins_in_order() -> None:
    from cryosplat.splatting import _bins

    first = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.int32)
    extent = torch.tensor([[2, 2, 1], [1, 1, 2], [0, 3, 1], [1, 1, 1]], dtype=torch.int32)
    starts, owners = _bins.lists(first.to(DEVICE), extent.to(DEVICE), 7, (2, 2, 2))
    found = [owners[a:b].tolist() for a, b in pairwise(starts.tolist())]
    assert found == [[], [1], [], [], [0], [0, 1], [0], [0, 3]]


def test_projection_stays_on_the_device_of_the_mixture() -> None:
    """ "meta", which has shapes and no values, stands for any device that is not the CPU."""
    sizes = ((5, 3), (5, 3), (5, 4), (5,))
    parts = [torch.empty(size, device="meta", requires_grad=True) for size in sizes]
    rotations = torch.empty(2, 3, 3, dtype=torch.float64, device="meta", requires_grad=True)
    poses = Poses(rotations, torch.empty(2, 2, device="meta"))
    images = project(GaussianMixture(*parts), poses, Grid(16, 1.0))
    assert images.shape == (2, 16, 16) and images.device.type == "meta"
    images.sum().backward()
    for part in (*parts, rotations):
        assert part.grad is not None and part.grad.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_autograd_reaches_the_kernels(generator: torch.Generator) -> None:
    inputs = _in_pixels("usual", 2, 9, 20.0, 48, generator)
    gradients = []
    for device, dtype in (("cuda", torch.float32), ("cuda", torch.float64), ("cpu", torch.float64)):
        given = [t.to(device, dtype).requires_grad_() for t in inputs]
        torch.ops.cryosplat.splat(*given, 48).square().sum().backward()
        gradients.append([t.grad for t in given])
    for single, double, exact in zip(*gradients, strict=True):
        assert single is not None and double is not None and exact is not None
        assert _relative(single, exact) < tolerances.TRITON_KERNEL
        assert _relative(double, exact) < tolerances.SUM_FLOAT64


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="the interpreter's process compiles nothing")
def test_every_kernel_compiles_for_an_h200(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from cryosplat.splatting import _bins, _splat_cuda, _voxelize_cuda

    constants = {"LANES": 128, "TILE": 16, "BRICK": 8, "CUTOFF": 5.0, "GAUSSIANS": 4, "PIXELS": 8,
                 "VOXELS": 128}  # fmt: skip
    types = dict.fromkeys(("number", "k", "side", "tiles", "bricks", "bins_x", "bins_y"), "i32")
    types |= dict.fromkeys(("first", "extent", "ends", "keys", "owners", "starts"), "*i32")
    for module, name in (
        (_bins, "_fill"), (_splat_cuda, "_boxes"), (_splat_cuda, "_splat"),
        (_splat_cuda, "_splat_adjoint"), (_voxelize_cuda, "_boxes"),
        (_voxelize_cuda, "_voxelize"), (_voxelize_cuda, "_voxelize_adjoint"),
    ):  # fmt: skip
        triton_process.compiles(getattr(module, name), constants, types)

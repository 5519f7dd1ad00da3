"""Triton's gridding is the definition: through Triton's interpreter, and on a GPU if there is one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import tolerances
import torch
import triton_process
from torch import Tensor
from triton_process import DEVICE, INTERPRETED, needs_gpu, needs_triton

from cryosplat.gridding import band
from cryosplat.gridding._reference import slices_dense, slopes_dense, spread_dense
from cryosplat.poses import random_poses


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's process")
def test_interpreted_the_kernels_pass_the_other_tests() -> None:
    triton_process.passes(__file__)


def _kernels() -> Any:
    return importlib.import_module("cryosplat.gridding._cuda")


def _error(given: Tensor, wanted: Tensor) -> float:
    return float((given.cpu() - wanted).abs().max() / wanted.abs().max())


def _problem(n: int, box: int, period: int) -> dict[str, Tensor]:
    """A grid, values, steps and radii in float64: random rotations, and the identity."""
    generator = torch.Generator().manual_seed(8)
    turns = torch.cat([random_poses(n - 1, generator).rotations, torch.eye(3).double()[None]])
    steps = turns[:, :2] * period / max(box, period // 2)
    volume = torch.randn(period, period, period, generator=generator, dtype=torch.float64)
    values = torch.randn(n, box, box // 2 + 1, 2, generator=generator, dtype=torch.float64)
    return {
        "grid": torch.fft.rfftn(volume),
        "values": torch.view_as_complex(values),
        "steps": steps,
        "radii": band(steps, box, period),
    }


def _single(problem: dict[str, Tensor]) -> list[Tensor]:
    """The same on the device, numbers in single precision, points in double."""
    return [
        t.to(DEVICE, torch.complex64 if t.is_complex() else torch.float64) for t in problem.values()
    ]


@needs_gpu
@pytest.mark.parametrize(("box", "period"), [(6, 12), (16, 32), (13, 26), (15, 20), (8, 40)])
def test_kernels_are_the_definition(box: int, period: int) -> None:
    problem = _problem(3, box, period)
    grid, values, steps, radii = problem.values()
    given_grid, given_values, at, within = _single(problem)
    kernels = _kernels()
    for given, wanted in (
        (kernels.slices(given_grid, at, within, box), slices_dense(grid, steps, radii, box)),
        (
            kernels.spread(given_values, at, within, period),
            spread_dense(values, steps, radii, period),
        ),
        (
            kernels.slopes(given_grid, given_values, at, within),
            slopes_dense(grid, values, steps, radii),
        ),
    ):
        assert given.device.type == DEVICE
        assert _error(given, wanted) < tolerances.GRIDDING


@needs_gpu
def test_batches_of_values_and_weights_add_up() -> None:
    problem = _problem(4, 10, 20)
    _, values, steps, radii = problem.values()
    weights = values.abs()
    triples = torch.cat([torch.view_as_real(values), weights[..., None]], -1)
    sums = _kernels().Grids(20, torch.device(DEVICE))
    for part in (slice(0, 1), slice(1, 4)):
        sums.add(*(t[part].to(DEVICE) for t in (triples.float(), steps, radii)))
    wanted = [spread_dense(v, steps, radii, 20) for v in (values, weights.to(values))]
    again = sums.grids()
    for given, whole in zip(sums.grids(), wanted, strict=True):
        assert _error(given, whole if given.is_complex() else whole.real) < tolerances.GRIDDING
    assert all(torch.equal(a, b) for a, b in zip(again, sums.grids(), strict=True))


@needs_gpu
def test_no_images_have_no_slices_and_make_an_empty_grid() -> None:
    grid, *empty = _single(_problem(1, 6, 12))
    values, steps, radii = (t[:0] for t in empty)
    kernels = _kernels()
    assert kernels.slices(grid, steps, radii, 6).shape == (0, 6, 4)
    assert kernels.slopes(grid, values, steps, radii).shape == (0, 2, 3)
    assert float(kernels.spread(values, steps, radii, 12).abs().max()) == 0.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_autograd_reaches_the_kernels() -> None:
    problem = _problem(3, 12, 24)
    gradients = []
    for device, dtype in (("cuda", torch.float32), ("cuda", torch.float64), ("cpu", torch.float64)):
        volume = torch.fft.irfftn(problem["grid"]).to(device, dtype).requires_grad_()
        steps = problem["steps"].to(device).requires_grad_()
        cut = torch.ops.cryosplat.slices(
            torch.fft.rfftn(volume), steps, problem["radii"].to(device), 12
        )
        gradients.append(torch.autograd.grad(cut.abs().square().sum(), (volume, steps)))
    for single, double, exact in zip(*gradients, strict=True):
        assert _error(single, exact) < tolerances.GRIDDING
        assert _error(double, exact) < tolerances.SUM_FLOAT64


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="the interpreter's process compiles nothing")
@pytest.mark.parametrize("name", ["_slices", "_slopes", "_spread"])
def test_kernels_compile_for_an_h200(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    types = {"box": "i32", "period": "i32", "steps": "*fp64", "radii": "*fp64"}
    triton_process.compiles(getattr(_kernels(), name), {"WIDTH": 3, "POINTS": 16}, types)

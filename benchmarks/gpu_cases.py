"""The statistics solver's kernels on a device: rates, and how far from the device's bounds.

Every row has the seconds of one call, the bytes and operations that it has to move and to do at
least, and the share of the larger bound that is reached.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cryosplat.alignment import Prior, ReadyImages, Template, evaluated, refined, searched
from cryosplat.batch import Batch
from cryosplat.fitting import Schedule, StatisticsTerm, descend
from cryosplat.grid import Grid
from cryosplat.gridding import Sums, slices
from cryosplat.mixture import GaussianMixture
from cryosplat.noise import NoiseModel
from cryosplat.optics import Optics, OpticsGroup
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import voxelize
from cryosplat.statistics import Accumulator, QuadraticForm, Statistics

Row = dict[str, Any]
TAPS = 64  # cells that a point of the half plane is spread to
STEPS = 20  # of a descent


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Float32 operations and bytes a second that the device reaches: matrix product and copy."""

    operations: float
    memory: float


def seconds(call: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    """Seconds of one call: the fastest of three runs of some calls, ended by one synchronisation."""
    found = []
    for run in range(4):
        begun = time.perf_counter()
        for _ in range(repeats if run else 2):
            call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append((time.perf_counter() - begun) / (repeats if run else 2))
    return min(found[1:])


def mixture_of(k: int, side: int, device: torch.device) -> GaussianMixture:
    """Gaussians in a ball of 0.3 side, scales from 0.7 to 2 pixels of 1 Å: what fits end with."""
    generator = torch.Generator().manual_seed(4)
    direction = torch.nn.functional.normalize(torch.randn(k, 3, generator=generator), dim=1)
    radius = 0.3 * side * torch.rand(k, 1, generator=generator) ** (1 / 3)
    scales = 0.7 * (2.0 / 0.7) ** torch.rand(k, 3, generator=generator)
    quaternions = torch.nn.functional.normalize(torch.randn(k, 4, generator=generator), dim=1)
    return GaussianMixture(direction * radius, scales, quaternions, torch.ones(k)).to(device)


def poses_of(n: int, device: torch.device | str = "cpu") -> Poses:
    """Random orientations, no shifts."""
    return random_poses(n, torch.Generator().manual_seed(5)).to(device)


def batch_of(n: int, box: int) -> Batch:
    """Images of noise in memory."""
    zero = torch.zeros(n, dtype=torch.float64)
    optics = Optics(
        (OpticsGroup("one", 1.0, box, 300e3, 2.7e7, 0.1),), zero.long(), zero + 15e3, zero + 14e3,
        zero, zero, zero, zero + 1.0,
    )  # fmt: skip
    images = torch.randn(n, box, box, generator=torch.Generator().manual_seed(6))
    return Batch(torch.arange(n), images, poses_of(n), optics)


def white_noise(box: int) -> NoiseModel:
    """Variance 1 in each pixel."""
    return NoiseModel((torch.full((box // 2 + 1,), float(box**2), dtype=torch.float64),), False)


def _row(name: str, size: str, taken: float, moved: float, done: float, limits: Ceilings) -> Row:
    bounds = {"memory": moved / limits.memory, "arithmetic": done / limits.operations}
    bound = max(bounds, key=lambda key: bounds[key])
    return {
        "kernel": name, "size": size, "time_s": taken, "bytes": moved, "operations": done,
        "bound": bound, "bound_reached": bounds[bound] / taken,
    }  # fmt: skip


def gridding(device: torch.device, limits: Ceilings, box: int, n: int) -> list[Row]:
    """Spreading b and K in one pass, and slices of a map.

    Counted: each point reads its values once; each of its cells is read and written, 24 bytes of
    sums or 8 of a map. Cells of neighbouring points are shared by the caches, so that the bound by
    memory can be passed.
    """
    half = box // 2 + 1
    generator = torch.Generator().manual_seed(7)
    values = torch.randn(n, box, half, 3, generator=generator).to(device)
    steps = (2.0 * poses_of(n, device).rotations[:, :2]).contiguous()
    radii = torch.full((n,), box / 2, dtype=torch.float64, device=device)
    sums = Sums(2 * box, device)
    grid = torch.randn(2 * box, 2 * box, box + 1, 2, device=device)
    points = n * math.pi * box**2 / 8
    transform = torch.view_as_complex(grid)
    spread_time = seconds(lambda: sums.add(values, steps, radii), device)
    slice_time = seconds(lambda: slices(transform, steps, radii, box), device)
    size = f"{n} images of {box}²"
    return [
        _row("spread b and K", size, spread_time, points * (12 + 24 * TAPS), 8 * TAPS * points,
             limits) | {"images_per_second": n / spread_time},
        _row("slices of a map", size, slice_time, points * (8 + 8 * TAPS), 6 * TAPS * points,
             limits) | {"images_per_second": n / slice_time},
    ]  # fmt: skip


def accumulation(device: torch.device, limits: Ceilings, box: int, n: int) -> list[Row]:
    """Images in the computer's memory to gridded sums: copy, FFT, response, weights, gridding."""
    batch, noise = batch_of(n, box), white_noise(box)
    accumulator = Accumulator(Grid(box, 1.0), noise, device=device)
    taken = seconds(lambda: accumulator.add(batch), device, 3)
    pixels = n * box * (box // 2 + 1)
    row = _row(
        "accumulation", f"{n} images of {box}²", taken, 40.0 * pixels, 100.0 * pixels, limits
    )
    return [row | {"images_per_second": n / taken}]


def alignment(device: torch.device, limits: Ceilings, box: int, n: int) -> list[Row]:
    """Images at poses: the likelihood with its derivatives, an ascent, and a search within 6 degrees.

    Counted for the first: each point reads three values and 64 cells of the map, and makes sums of
    the cells with four weights.
    """
    noise, grid = white_noise(box), Grid(box, 1.0)
    images = ReadyImages.of(batch_of(n, box), noise.to(device), device)
    volume = voxelize(mixture_of(300, box, torch.device("cpu")), grid).to(device)
    template = Template.of(volume, grid, 0.5)
    coarse, prior = template.within(0.125), Prior(0.05, 1.0)
    points = n * math.pi * box**2 / 8
    looked = seconds(lambda: evaluated(images, template), device, 3)
    climbed = seconds(lambda: refined(images, template, prior), device, 1)
    searched_ = seconds(lambda: searched(images, coarse, 0.1, prior, reach=2.0), device, 1)
    size = f"{n} images of {box}²"
    first = _row("likelihood and derivatives", size, looked, points * (12 + 8 * TAPS),
                 (16 * TAPS + 100) * points, limits)  # fmt: skip
    return [
        first | {"images_per_second": n / looked},
        {"kernel": "ascent to the best pose", "size": size, "time_s": climbed,
         "images_per_second": n / climbed},
        {"kernel": "search within 6 degrees", "size": size, "time_s": searched_,
         "images_per_second": n / searched_},
    ]  # fmt: skip


def descent(device: torch.device, limits: Ceilings, side: int, k: int) -> list[Row]:
    """A step of the statistics solver: voxelise, ``K * V``, back, Adam.

    Counted: the passes of two padded transforms, of K and of the map; transforms' operations.
    """
    grid = Grid(side, 1.0)
    mixture = mixture_of(k, side, device)
    transfer = torch.rand(2 * side, 2 * side, side + 1, device=device) + 0.5
    target = voxelize(mixture, grid)
    form = QuadraticForm(Statistics(grid, target, transfer, 0.0, 1, 1.0), side)
    schedule = Schedule(steps=STEPS)
    term = StatisticsTerm(form)
    whole = seconds(lambda: descend(term, mixture, schedule), device, 1) / STEPS
    gradient = torch.randn(side, side, side, device=device)
    parts = {
        "voxelise": seconds(lambda: voxelize(mixture, grid), device),
        "K * V": seconds(lambda: form.convolve(gradient), device),
    }
    period = 2 * side
    padded = 8.0 * period**2 * (side + 1)
    operations = 2 * 2.5 * period**3 * math.log2(period**3)
    size = f"{k} Gaussians in {side}³"
    return [
        _row("step of the statistics solver", size, whole, 6 * padded, operations, limits)
        | {"parts_s": parts}
    ]


def check(device: torch.device, box: int = 64, n: int = 40) -> dict[str, float]:
    """Relative l2 differences between the device and the CPU: statistics, map, gradient."""
    batch, noise, grid = batch_of(n, box), white_noise(box), Grid(box, 1.0)
    found: list[Tensor] = []
    for where in (device, torch.device("cpu")):
        accumulator = Accumulator(grid, noise, device=where)
        accumulator.add(batch)
        statistics = accumulator.result()
        mixture = mixture_of(300, box, where)
        means = mixture.means.clone().requires_grad_()
        moved = GaussianMixture(means, mixture.scales, mixture.quaternions, mixture.amplitudes)
        volume = voxelize(moved, grid)
        QuadraticForm(statistics, box)(volume).backward()
        assert means.grad is not None
        parts = (statistics.backprojection, statistics.transfer, volume.detach(), means.grad)
        found += [part.cpu() for part in parts]
    names = ("b", "K", "map", "gradient by means")
    return {
        name: float((a - b).norm() / b.norm())
        for name, a, b in zip(names, found[:4], found[4:], strict=True)
    }

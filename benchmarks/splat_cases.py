"""The kernels that splat Gaussians into images, and their bounds."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.mixture import GaussianMixture
from cryosplat.poses import random_poses
from cryosplat.splatting import _splat_cpu as splatting
from cryosplat.splatting._project import view

from .ceilings import Ceilings, best_time

Row = dict[str, Any]
EXPONENTIAL = 20  # operations: 6 multiply-adds, rounding, scaling; the exponent 5


def _gaussians(n: int, k: int, side: int, scales: tuple[float, float]) -> tuple[Tensor, ...]:
    """Centres, precisions and weights of n views of k Gaussians in a ball of radius 0.3 side.

    Scales independent along the three axes, in pixels, evenly on a logarithmic axis.
    """
    generator = torch.Generator().manual_seed(8)
    low, high = (math.log(s) for s in scales)
    widths = torch.exp(low + (high - low) * torch.rand(k, 3, generator=generator))
    direction = torch.nn.functional.normalize(torch.randn(k, 3, generator=generator), dim=1)
    means = 0.3 * side * direction * torch.rand(k, 1, generator=generator) ** (1 / 3)
    quaternions = torch.randn(k, 4, generator=generator)
    mixture = GaussianMixture(means, widths, quaternions, torch.ones(k))
    parts = view(mixture, random_poses(n, generator), Grid(side, 1.0))
    return tuple(t.contiguous() for t in parts)


def _work(precisions: Tensor) -> tuple[float, float]:
    """Pixels inside the cut-off's ellipses, and columns that they touch, over all Gaussians."""
    xx, xy, yy = precisions.double().unbind(-1)
    determinant = xx * yy - xy * xy
    pixels = math.pi * splatting.CUTOFF**2 * determinant.rsqrt()
    columns = 2.0 * splatting.CUTOFF * (yy / determinant).sqrt()
    return float(pixels.sum()), float(columns.sum())


def splats(n: int, k: int, side: int, scales: tuple[float, float], limits: Ceilings) -> list[Row]:
    """Splat forward and backward: Gaussians in image coordinates, and their gradients.

    Counted: the pixels inside the cut-off's ellipses (the kernel also does the rest of its tiles of
    16 columns, and starts each tile anew). Operations a pixel: 2 to step the Gaussian on, then 2 to
    add it forward, 7 for its moments backward; and two exponentials a column. A pixel is read and
    written in the first-level cache forward, read backward. Arrays pass through memory once.
    """
    centres, precisions, weights = _gaussians(n, k, side, scales)
    gradient = torch.randn(n, side, side, generator=torch.Generator().manual_seed(9))
    pixels, columns = _work(precisions)

    def forward() -> Tensor:
        return splatting.images(centres, precisions, weights, side)

    def backward() -> tuple[Tensor, ...]:
        return splatting.gradients(centres, precisions, weights, gradient)

    parameters = 4.0 * 6 * n * k
    rows = []
    for name, call, operations, cached, moved in (
        ("forward", forward, 4, 8.0, parameters + 4.0 * n * side**2),
        ("backward", backward, 9, 4.0, 2 * parameters + 4.0 * n * side**2),
    ):
        taken = best_time(call)
        arithmetic = (operations * pixels + 2 * EXPONENTIAL * columns) / limits.operations
        each = taken * limits.threads / (n * k) * 1e9
        rows.append({
            "kernel": f"splat, {name}",
            "size": f"{k} Gaussians of {scales[0]:g}-{scales[1]:g} px in {n} images of {side}²",
            "time_s": taken,
            "rate": f"{each:.0f} ns a Gaussian, image and thread; {n / taken:.0f} images/s",
            "counted": f"{pixels / (n * k):.0f} pixels a Gaussian, {operations} operations each",
            "bound_s": max(arithmetic, cached * pixels / limits.cache, moved / limits.memory),
            "peers": [],
        })  # fmt: skip
    return rows

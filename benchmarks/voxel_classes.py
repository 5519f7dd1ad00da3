"""Voxel classes that share nothing: expectation and maximisation on the sums that `states` uses."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryosplat import fourier
from cryosplat.particles import read_particles
from cryosplat.progress import SilentProgress
from cryosplat.states import StateSettings
from cryosplat.states._expectation import Assumptions, expected, products_with
from cryosplat.states._grids import convolved, statistics_of
from cryosplat.states._learning import volumes_of
from cryosplat.states._preparation import prepare

ITERATIONS, BATCH, STEPS = 40, 2000, 4
HOTTEST, COOLING, FORGET = 8.0, 0.5, 0.7
SMOOTHNESS = 4.0  # what a map's power counts for in its own penalty, RELION's T


def voxel_classes(
    star: Path, n: int, seed: int = 0
) -> tuple[NDArray[np.float64], list[Tensor], float]:
    """Probabilities (m, n) of the classes of each particle, their maps, and CPU seconds.

    Soft assignment at a temperature that falls to 1, as `states` learns, from the map of all particles
    times random smooth factors; a class's map is the Wiener estimate from its particles.
    """
    begin = time.process_time()
    prepared = prepare(read_particles(star), StateSettings(gaussians=200), SilentProgress())
    seen, generator = prepared.seen, torch.Generator().manual_seed(seed)
    with torch.no_grad():
        start = volumes_of(prepared.ones[0].model, seen)[0]
    volumes = torch.stack([start * (1.0 + 0.3 * _smooth(len(start), generator)) for _ in range(n)])
    given = Assumptions.even(n)
    b = transfer = torch.zeros(())
    rows = np.arange(len(seen))
    for i in range(ITERATIONS):
        heat = HOTTEST ** max(0.0, 1.0 - i / (COOLING * ITERATIONS))
        chosen = rows[torch.randperm(len(rows), generator=generator).numpy()[:BATCH]]
        found = expected(products_with(seen, chosen, volumes), given, heat)
        new_b, new_transfer = statistics_of(seen, chosen, found.weights, found.weights)
        b, transfer = FORGET * b + new_b, FORGET * transfer + new_transfer
        volumes = torch.stack(
            [_solved(v, own, k) for v, own, k in zip(volumes, b, transfer, strict=True)]
        )
        shares = found.weights.sum(0).clamp_min(1.0)
        given = Assumptions(shares / shares.sum())
    weights = expected(products_with(seen, rows, volumes), given).weights
    own = weights / weights.sum(1, keepdim=True).clamp_min(1e-9)
    return own.numpy(), list(volumes), time.process_time() - begin


def _smooth(box: int, generator: torch.Generator) -> Tensor:
    """A random map of deviation 1 that changes over a fifth of the box."""
    white = torch.randn((box,) * 3, generator=generator)
    found = fourier.filter(white, torch.exp(-fourier.squared_radii((box,) * 3) / 8.0), 3)
    return found / found.std()


def _solved(volume: Tensor, b: Tensor, transfer: Tensor) -> Tensor:
    """A few steps of conjugate gradients from ``volume`` to ``(K + penalty)^-1 b``."""
    box = len(volume)
    power = fourier.shell_means(fourier.transform(volume, 3).abs().square()) / box**3
    power = power.clamp_min(1e-6 * float(power.max())) * SMOOTHNESS
    penalty = fourier.at_radii(1.0 / power, fourier.squared_radii((box,) * 3).sqrt())

    def applied(v: Tensor) -> Tensor:
        return convolved(v[None], transfer[None])[0] + fourier.filter(v, penalty, 3)

    residual = b - applied(volume)
    direction, squared = residual, float(residual.square().sum())
    for _ in range(STEPS):
        image = applied(direction)
        step = squared / float((direction * image).sum())
        volume, residual = volume + step * direction, residual - step * image
        before, squared = squared, float(residual.square().sum())
        direction = residual + squared / before * direction
    return volume

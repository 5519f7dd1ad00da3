"""The noise of simulated images."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import fourier
from ..grid import Grid

COLOUR = (2.0, 5.0)
"""Coloured noise has power ``1 + c exp(-f s / Nyquist)``: threefold from the origin to Nyquist, as
the background of real micrographs shows."""


def coloured_gain(grid: Grid) -> Tensor:
    """Fourier gain of coloured noise, ``rfft2`` layout, of unit variance per pixel."""
    d = grid.box_size
    frequency = 2.0 * fourier.squared_radii((d, d)).sqrt() / d  # in units of Nyquist
    rise, fall = COLOUR
    power = 1.0 + rise * torch.exp(-fall * frequency)
    mean = (power * fourier.friedel_counts(d)).sum() / d**2
    return (power / mean).sqrt().float()


def draw_noise(n: int, box_size: int, gain: Tensor | None, generator: torch.Generator) -> Tensor:
    """``n`` images of noise of unit variance: white, or with the Fourier ``gain``; float32."""
    white = torch.randn(n, box_size, box_size, generator=generator)
    if gain is None:
        return white
    return fourier.filter(white, gain, 2)

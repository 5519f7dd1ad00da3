"""Images with larger pixels than the map's, rendered without aliases.

Gaussians are as narrow as the map's pixels allow. Sampled on larger pixels they would alias, and
what the coarse images hold would contradict the fine ones; so they are rendered on pixels as small as
the map's, in a box of the same side, and cropped in Fourier space.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...grid import Grid
from ...mixture import GaussianMixture
from ...poses import Poses

Render = Callable[[GaussianMixture, Poses, Grid], Tensor]
SMALL_ENOUGH = 1.05  # pixels, in pixels of the map, that need no finer ones


def without_aliases(render: Render, pixel_size: float) -> Render:
    """``render`` for a map with pixels of ``pixel_size`` Angstrom and for images with any."""

    def rendered(mixture: GaussianMixture, poses: Poses, grid: Grid) -> Tensor:
        if grid.pixel_size <= SMALL_ENOUGH * pixel_size:
            return render(mixture, poses, grid)
        box = 2 * math.ceil(0.5 * grid.side / pixel_size)
        return cropped(render(mixture, poses, Grid(box, grid.side / box)), grid.box_size)

    return rendered


def cropped(images: Tensor, box_size: int) -> Tensor:
    """Images (n, d, d) on ``box_size`` larger pixels in a box of the same side, differentiable.

    Sums of pixels are kept; the rotation centre stays on pixel ``box_size // 2``. What lies at and
    beyond the Nyquist frequency of the larger pixels is left out.
    """
    d = images.shape[-1]
    k = torch.fft.fftfreq(box_size, 1.0 / box_size, dtype=torch.float64, device=images.device)
    half = k[: box_size // 2 + 1].abs()
    turns = 2.0 * math.pi * ((d // 2) / d - (box_size // 2) / box_size)
    phases = (turns * (k[:, None] + half)).to(images.dtype)
    inside = (k.abs()[:, None] < 0.5 * box_size) & (half < 0.5 * box_size)
    moved = torch.polar(inside.to(images.dtype), phases)
    spectra = torch.fft.rfft2(images)[:, k.long() % d, : box_size // 2 + 1]
    return torch.fft.irfft2(spectra * moved, s=(box_size, box_size))

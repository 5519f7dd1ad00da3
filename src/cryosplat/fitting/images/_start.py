"""Where CryoSplat begins: a random ball."""

from __future__ import annotations

import torch

from ...mixture import GaussianMixture
from ...symmetry import order_of, stored
from .data import ImageData, grey_level

SPREAD = 0.075  # standard deviation of the positions, in boxes
WIDTH = 0.0075  # of a Gaussian, in boxes


def paper_start(
    data: ImageData, gaussians: int, generator: torch.Generator, symmetry: str = "C1"
) -> GaussianMixture:
    """CryoSplat's random start (section 4), in the grey scale of the images.

    In a box of [-1/2, 1/2]: positions normal with deviation 0.075, widths 0.0075, amplitudes
    1 / (2 k), where a mixture of amplitude 1 gives an image a mean of the images' grey level.
    ``gaussians``: k, of the whole map.
    """
    side, k = data.grid.side, stored(gaussians, symmetry)
    mass = grey_level(data) * data.grid.box_size**2
    quaternions = torch.zeros(k, 4)
    quaternions[:, 0] = 1.0
    return GaussianMixture(
        SPREAD * side * torch.randn(k, 3, generator=generator),
        torch.full((k, 3), WIDTH * side),
        quaternions,
        torch.full((k,), mass / (2 * k * order_of(symmetry))),
        symmetry,
    )

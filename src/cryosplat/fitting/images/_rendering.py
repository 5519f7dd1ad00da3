"""Images with larger pixels than the map's, rendered without aliases.

Gaussians are as narrow as the map's pixels allow. Sampled on larger pixels they would alias, and
what the coarse images hold would contradict the fine ones; so they are rendered on pixels as small as
the map's, in a box of the same side, and cropped in Fourier space.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from ... import fourier
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
        images = render(mixture, poses, Grid(box, grid.side / box))
        return fourier.resample(images, grid.box_size, 2)

    return rendered

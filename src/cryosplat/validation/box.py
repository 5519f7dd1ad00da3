"""How much of a particle's signal the edge of its box has cut off."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import fourier
from ..grid import Grid
from ..optics import Optics


def share_cut_off(mask: Tensor, grid: Grid, optics: Optics, detail: float) -> float:
    """Share of the signal of ``detail`` (Angstrom) that lies outside the box, at the median defocus.

    Defocus moves it by ``wavelength * defocus / detail`` to either side; the particle is taken as the
    disc that a ball as large as the molecule in ``mask`` (d, d, d) has for its projection.
    """
    distances = fourier.distances((grid.box_size,) * 3)[mask > 0.5]
    if not len(distances) or not math.isfinite(detail):
        return 0.0
    radius = math.sqrt(5.0 / 3.0 * float(distances.square().mean())) * grid.pixel_size
    defocus = 0.5 * (optics.defocus_u + optics.defocus_v).abs() * optics.of_group("wavelength")
    chord = (0.5 * grid.side - float(torch.median(defocus)) / detail) / max(radius, 1e-9)
    chord = min(max(chord, -1.0), 1.0)
    return (math.acos(chord) - chord * math.sqrt(1.0 - chord**2)) / math.pi

"""The optics of simulated particles: drawn, and written as RELION 3.1 writes them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..grid import Grid
from ..optics import ISOTROPIC, Optics, OpticsGroup, added, beam_tilt, zernike
from .settings import SimulationSettings


def trefoil(phase: float, angle: float, pixel_size: float) -> tuple[float, ...]:
    """Odd coefficients of ``phase * (|s| / Nyquist)^3 cos(3 (phi - angle))``, phase in radian."""
    unit = phase * (2.0 * pixel_size) ** 3
    return (0.0, 0.0, unit * math.sin(3.0 * angle), 0.0, 0.0, unit * math.cos(3.0 * angle))


def tetrafoil(phase: float, angle: float, pixel_size: float) -> tuple[float, ...]:
    """Even coefficients of ``phase * (|s| / Nyquist)^4 cos(4 (phi - angle))``, added to gamma."""
    unit = phase * (2.0 * pixel_size) ** 4
    return (0.0,) * 4 + (unit * math.sin(4.0 * angle), 0.0, 0.0, 0.0, unit * math.cos(4.0 * angle))


def anisotropic_magnification(ratio: float, angle: float) -> tuple[float, float, float, float]:
    """RELION's matrix M of an image stretched by ``1 + ratio / 2`` along ``angle`` (radian).

    Across, the image is shrunk by as much, ``1 - ratio / 2``. Symmetric; a point r of the image
    goes to ``M^T r``.
    """
    mean, half = 1.0, 0.5 * ratio
    cosine, sine = half * math.cos(2.0 * angle), half * math.sin(2.0 * angle)
    return (mean + cosine, sine, sine, mean - cosine)


def image_grids(settings: SimulationSettings, grid: Grid) -> tuple[Grid, ...]:
    """The boxes and pixel sizes of the images: those asked for, or the map's."""
    return settings.image_grids or (grid,)


def grid_of_particles(settings: SimulationSettings, grid: Grid, optics: Optics) -> Tensor:
    """For every particle which of `image_grids` its image has, (n,)."""
    return optics.group % len(image_grids(settings, grid))


def draw_optics(settings: SimulationSettings, grid: Grid, generator: torch.Generator) -> Optics:
    """Optics groups, one for each voltage and image grid, and a defocus for every particle.

    Groups take turns from micrograph to micrograph. Noise has one variance per pixel in all
    images, so one dose gives images of larger pixels a smaller signal in the map's grey scale:
    ``scale`` is the map's pixel size over theirs.
    """

    def uniform(low: float, high: float) -> Tensor:
        draw = torch.rand(settings.n, generator=generator, dtype=torch.float64)
        return low + (high - low) * draw

    pairs = [(voltage, own) for voltage in settings.voltages for own in image_grids(settings, grid)]
    groups = tuple(_group(settings, f"opticsGroup{i}", *pair) for i, pair in enumerate(pairs, 1))
    micrograph = torch.arange(settings.n) // settings.particles_per_micrograph
    group = micrograph % len(groups)
    defocus_u = uniform(*settings.defocus)
    scales = torch.tensor([grid.pixel_size / own.pixel_size for _, own in pairs])
    return Optics(
        groups=groups,
        group=group,
        defocus_u=defocus_u,
        defocus_v=defocus_u - uniform(0.0, settings.astigmatism),
        defocus_angle=uniform(0.0, math.pi),
        phase_shift=uniform(*settings.phase_shift),
        b_factor=torch.zeros(settings.n, dtype=torch.float64),
        scale=scales.double().mul(1e6).round().div(1e6)[group],
    )


def _group(settings: SimulationSettings, name: str, voltage: float, grid: Grid) -> OpticsGroup:
    group = OpticsGroup(
        name, grid.pixel_size, grid.box_size, voltage,
        settings.spherical_aberration, settings.amplitude_contrast,
        even=settings.even, magnification=settings.magnification, processing=settings.processing,
    )  # fmt: skip
    tilt = beam_tilt(group, *settings.beam_tilt) if any(settings.beam_tilt) else ()
    return replace(group, odd=added(settings.odd, tilt))


def unprocessed(optics: Optics) -> Optics:
    """The optics of images as a microscope takes them."""
    return replace(optics, groups=tuple(replace(g, processing="none") for g in optics.groups))


def on_grid(optics: Optics, grid: Grid) -> Optics:
    """The optics of the same particles, had all images the map's box and pixel size."""
    pixel_size, box_size = grid.pixel_size, grid.box_size
    groups = (replace(g, pixel_size=pixel_size, box_size=box_size) for g in optics.groups)
    return replace(optics, groups=tuple(groups), scale=torch.ones_like(optics.scale))


def optics_table(settings: SimulationSettings, optics: Optics) -> pd.DataFrame:
    """The optics table of RELION 3.1: kV, mm, Angstrom, milliradian.

    Aberrations, magnification and processing have columns only where there are any.
    """
    groups = optics.groups
    table = pd.DataFrame(
        {
            "rlnOpticsGroupName": [g.name for g in groups],
            "rlnOpticsGroup": range(1, len(groups) + 1),
            "rlnVoltage": [g.voltage / 1e3 for g in groups],
            "rlnSphericalAberration": [g.spherical_aberration / 1e7 for g in groups],
            "rlnAmplitudeContrast": [g.amplitude_contrast for g in groups],
            "rlnImagePixelSize": [g.pixel_size for g in groups],
            "rlnImageSize": [g.box_size for g in groups],
            "rlnImageDimensionality": 2,
        }
    )
    # RELION lets a beam tilt take the place of third-order coma in the list of coefficients
    apart = any(settings.beam_tilt) and not any(settings.odd[3:5])
    if apart:
        table["rlnBeamTiltX"], table["rlnBeamTiltY"] = (1e3 * t for t in settings.beam_tilt)
    odd = [settings.odd if apart else g.odd for g in groups]
    if any(map(any, odd)):
        table["rlnOddZernike"] = [_listed(coefficients, odd=True) for coefficients in odd]
    if any(settings.even):
        table["rlnEvenZernike"] = _listed(settings.even, odd=False)
    if settings.magnification != ISOTROPIC:
        labels = (f"rlnMagMat{i}{j}" for i in range(2) for j in range(2))
        table[list(labels)] = np.tile(settings.magnification, (len(groups), 1))
    if settings.processing == "premultiplied":
        table["rlnCtfDataAreCtfPremultiplied"] = 1
    if settings.processing == "phase-flipped":
        table["rlnCtfDataArePhaseFlipped"] = 1
    return table


def _listed(coefficients: tuple[float, ...], odd: bool) -> str:
    """``[a,b,...]``, filled up to a whole order, as RELION expects."""
    length = len(coefficients)
    while zernike(length - 1, odd)[1] != zernike(length - 1, odd)[0]:
        length += 1
    padded = (*coefficients, *(0.0,) * (length - len(coefficients)))
    return "[" + ",".join(f"{value:.9g}" for value in padded) + "]"

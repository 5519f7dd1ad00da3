"""Particles whose truth is known: from atoms, from a map, or from nothing at all.

`mixture_from_atoms` and `phantom` make a mixture, `band_limited_map` its exact map on a grid,
`simulate_particles` images with CTFs, pose errors and noise in a RELION 3.1 STAR file.
"""

from .atoms import mixture_from_atoms, scattering_amplitude
from .optics import anisotropic_magnification, tetrafoil, trefoil
from .particles import simulate_particles
from .phantom import phantom
from .rendering import band_limited_map
from .settings import SimulationSettings

__all__ = [
    "SimulationSettings",
    "anisotropic_magnification",
    "band_limited_map",
    "mixture_from_atoms",
    "phantom",
    "scattering_amplitude",
    "simulate_particles",
    "tetrafoil",
    "trefoil",
]

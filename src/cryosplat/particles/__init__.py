"""Particles: what the tables of RELION, cryoSPARC and cryoDRGN mean, and their images."""

from .cryodrgn.writing import write_cryodrgn
from .downsampling import downsampled
from .half_sets import split_half_sets
from .images import ImageSource
from .reading import read_particles
from .selecting import Selection
from .values import Particles
from .writing import star_losses, write_particles

__all__ = [
    "ImageSource",
    "Particles",
    "Selection",
    "downsampled",
    "read_particles",
    "split_half_sets",
    "star_losses",
    "write_cryodrgn",
    "write_particles",
]

"""Particles: what the tables of RELION, cryoSPARC and cryoDRGN mean, and their images."""

from .half_sets import split_half_sets
from .images import ImageSource
from .reading import read_particles
from .values import Particles
from .writing import write_particles

__all__ = ["ImageSource", "Particles", "read_particles", "split_half_sets", "write_particles"]

"""Particles: what the tables of RELION, cryoSPARC, cisTEM and cryoDRGN mean, and their images."""

from .cryodrgn import write_cryodrgn
from .downsampling import downsampled
from .faults import AbsentStack, StackFaults
from .half_sets import split_half_sets
from .images import ImageSource
from .jobs import table_of
from .reading import read_particles
from .relion import star_losses, write_particles
from .selecting import CLASS_COLUMNS, Selection, parse_selection
from .values import Particles

__all__ = [
    "CLASS_COLUMNS",
    "AbsentStack",
    "ImageSource",
    "Particles",
    "Selection",
    "StackFaults",
    "downsampled",
    "parse_selection",
    "read_particles",
    "split_half_sets",
    "star_losses",
    "table_of",
    "write_cryodrgn",
    "write_particles",
]

"""RELION's star files, 3.0 to 5, and those of cisTEM."""

from ._reader import read_relion
from ._writer import physical_columns, star_losses, write_particles

__all__ = ["physical_columns", "read_relion", "star_losses", "write_particles"]

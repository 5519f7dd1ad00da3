"""Stacks with cryoDRGN's pickled poses and CTFs."""

from ._reader import HALF_SETS, read_stack
from ._writer import CTF, FILES, POSES, write_cryodrgn

__all__ = ["CTF", "FILES", "HALF_SETS", "POSES", "read_stack", "write_cryodrgn"]

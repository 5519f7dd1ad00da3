"""RELION's star files, 3.0 to 5."""

from ._reader import read_relion

__all__ = ["read_relion"]

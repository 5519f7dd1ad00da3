"""cryoSPARC's ``.cs`` and ``.csg`` files."""

from ._reader import read_cryosparc

__all__ = ["read_cryosparc"]

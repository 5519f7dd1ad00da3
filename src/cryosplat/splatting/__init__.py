"""Gaussians on grids: from a mixture in Angstrom to voxels and pixels, differentiable."""

from ._project import project
from ._voxelize import voxelize

__all__ = ["project", "voxelize"]

"""Gaussians on grids: from a mixture in Angstrom to voxels, differentiable."""

from ._voxelize import voxelize

__all__ = ["voxelize"]

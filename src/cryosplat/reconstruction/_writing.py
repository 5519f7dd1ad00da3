"""The maps of a run, as files."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..grid import Grid
from ..io.mrc import write_map
from ..run_folder import RunFolder


def write_maps(
    folder: RunFolder, grid: Grid, maps: list[Tensor], voxels: list[Tensor], mask: Tensor
) -> None:
    """Maps of mixtures and voxels, each [full, half 1, half 2], and the mask."""
    paths = [
        (folder.map, maps[0]), (folder.half1, maps[1]), (folder.half2, maps[2]),
        (folder.voxel_map, voxels[0]), (folder.voxel_half1, voxels[1]),
        (folder.voxel_half2, voxels[2]), (folder.mask, mask),
    ]  # fmt: skip
    for path, volume in paths:
        write_map(path, volume.numpy().astype(np.float32), grid.pixel_size)

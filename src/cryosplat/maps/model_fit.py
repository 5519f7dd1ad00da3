"""Map-model FSC, and the real-space correlation of every residue.

The model's density is the sum of its atoms' electron scattering factors (International Tables C,
table 4.3.2.2, through gemmi) with their occupancies and B-factors. Differences in the fall-off of
the two spectra do not count: the FSC ignores them, and for the correlations both densities are
low-passed at the resolution of their FSC, and each shell of the model's is scaled to the map's power.

By PDB and EMDB practice coordinate 0 is at the corner of the map, and an atom at x Angstrom lies at
voxel x / pixel size. A model may also have its origin at the map's rotation centre, or elsewhere.
Both frames are tried, and the translation with the best correlation, which is used only if neither
frame fits.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..grid import Grid
from ._model_placement import (
    Frame,
    Volume,
    coarse_shell,
    low_pass,
    model_density,
    place_model,
    read_model,
)
from .fsc import Resolution, fourier_shell_correlation, resolution

RADIUS = 2.5
"""Voxels within this distance of its atoms, in Angstrom (or 1.5 pixels), belong to a residue."""


@dataclass(frozen=True, slots=True)
class ResidueFit:
    """A residue's ``correlation`` with the map; ``number`` includes the insertion code."""

    chain: str
    number: str
    name: str
    correlation: float


@dataclass(frozen=True, slots=True)
class ModelFit:
    """How a model agrees with a map.

    ``fsc`` (n_shells,) float64 and where it falls below 0.5, the ``resolution``; ``correlation`` of
    all voxels near atoms; ``residues`` in the order of the file, without waters. ``frame``: whether
    the model's origin is the map's corner, its rotation centre, or elsewhere ("moved"); ``shift``
    (x, y, z) in Angstrom takes the coordinates to the map's corner.
    """

    fsc: Tensor
    resolution: Resolution
    correlation: float
    residues: tuple[ResidueFit, ...]
    frame: Frame
    shift: tuple[float, float, float]

    def summary(self) -> dict[str, Any]:
        """Plain values; ``resolution_0.5`` is None where the FSC is below 0.5 from the start."""
        return {
            "resolution_0.5": self.resolution.angstrom if self.resolution.resolved else None,
            "correlation": round(self.correlation, 4),
            "frame": self.frame,
            "shift": [round(v, 3) for v in self.shift],
            "residues": [
                [r.chain, r.number, r.name, round(r.correlation, 4)] for r in self.residues
            ],
        }


def map_model_fsc(
    volume: Tensor, mask: Tensor, grid: Grid, path: str | os.PathLike[str]
) -> ModelFit:
    """Compare a map (d, d, d) under a soft ``mask`` with the model in a PDB or mmCIF file.

    The first model in the file is used, with its ligands and waters.

    Raises
    ------
    InputError
        The file is not an atomic model, holds no atoms or atoms of unknown elements, or the map or
        the mask is not a cube of the grid's box size, or not finite.
    """
    grid.check_cube(volume, "map_model_fsc: the map")
    grid.check_cube(mask, "map_model_fsc: the mask")
    model = read_model(Path(path))
    masked = volume.detach().float() * mask
    frame, shift = place_model(model, masked, grid)
    density = model_density(model, grid, shift)
    fsc = fourier_shell_correlation(masked, density * mask)
    resolution_05 = resolution(fsc, grid, 0.5)
    shell = max(resolution_05.shell, coarse_shell(grid))
    pair = _match_spectra(volume.detach().float(), density, grid, shell)
    correlation, residues = _residue_fits(model, pair, grid, shift)
    return ModelFit(fsc, resolution_05, correlation, residues, frame, _as_triple(shift))


def _match_spectra(
    volume: Tensor, density: Tensor, grid: Grid, shell: int
) -> tuple[Volume, Volume]:
    """Map and model low-passed at ``shell``, the model's shells with the power of the map's."""
    shells = fourier.shells((grid.box_size,) * 3)
    gain = low_pass(shells, shell)
    first, second = (fourier.transform(v, 3) * gain for v in (volume, density))
    powers = [fourier.shell_sums(t.abs().square()) for t in (first, second)]
    ratio = torch.where(powers[1] > 0, powers[0] / powers[1], 0.0).sqrt().float()
    # what the low-pass lets through in the corners takes the last shell's ratio
    second = second * ratio[shells.clamp_max(grid.n_shells - 1)]
    first, second = (fourier.inverse(t, grid.box_size, 3).numpy() for t in (first, second))
    return first, second


def _residue_fits(
    model: gemmi.Model,
    pair: tuple[Volume, Volume],
    grid: Grid,
    shift: NDArray[np.float64],
) -> tuple[float, tuple[ResidueFit, ...]]:
    """Correlation of all voxels near atoms, and of those near each residue."""
    names: list[tuple[str, str, str]] = []
    owners: list[int] = []
    positions: list[list[float]] = []
    for chain in model:
        for residue in chain:
            if residue.is_water():
                continue
            owners += [len(names)] * len(residue)
            positions += [atom.pos.tolist() for atom in residue]
            names.append((chain.name, str(residue.seqid), residue.name))
    near = _voxels_near(np.array(positions).reshape(-1, 3) + shift, np.array(owners, int), grid)
    owner, voxel = np.divmod(near, grid.box_size**3)
    first, second = (values.ravel().astype(np.float64) for values in pair)
    every = np.unique(voxel)
    overall = _correlations(first[every], second[every], np.zeros(len(every), int), 1)
    values = _correlations(first[voxel], second[voxel], owner, len(names))
    fits = (ResidueFit(*name, float(v)) for name, v in zip(names, values, strict=True))
    return float(overall[0]), tuple(fits)


def _voxels_near(
    positions: NDArray[np.float64], owners: NDArray[np.int64], grid: Grid
) -> NDArray[np.int64]:
    """``owner * d^3 + voxel`` for all voxels within the radius of an owner's atoms, each once."""
    side = grid.box_size
    radius = max(RADIUS / grid.pixel_size, 1.5)
    reach = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    centres = positions / grid.pixel_size
    nearest = np.rint(centres).astype(np.int64)
    parts = []
    for offset in offsets:
        voxel = nearest + offset
        inside = ((voxel - centres) ** 2).sum(1) <= radius**2
        x, y, z = voxel[inside].T % side
        parts.append(owners[inside] * side**3 + (z * side + y) * side + x)
    return np.unique(np.concatenate(parts))


def _correlations(
    a: NDArray[np.float64], b: NDArray[np.float64], owner: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    """Pearson correlation of the values of each of ``n`` owners; 0 for constant values."""
    count = np.maximum(np.bincount(owner, minlength=n), 1)
    a = a - (np.bincount(owner, a, n) / count)[owner]
    b = b - (np.bincount(owner, b, n) / count)[owner]
    cross = np.bincount(owner, a * b, n)
    norm = np.sqrt(np.bincount(owner, a * a, n) * np.bincount(owner, b * b, n))
    return np.where(norm > 0, cross / np.maximum(norm, 1e-300), 0.0)


def _as_triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z

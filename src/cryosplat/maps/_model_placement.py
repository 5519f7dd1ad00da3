"""The density of an atomic model on a map's voxels, and the model's position in the map."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..errors import InputError
from ..grid import Grid

COARSE = 10.0
"""Resolution, in Angstrom (or 4 pixels), at which the model's position is determined."""
COARSE_PIXEL = 2.0  # Angstrom, of the grid used for that
MOVED_GAIN = 0.1
"""Gain in correlation from which a translation is preferred to the standard frames."""
NARROWEST = 0.5  # pixels: standard deviation of the narrowest atom that does not alias
EDGE_SHELLS = 3  # of the low-pass

Frame = Literal["corner", "centre", "moved"]
Volume = NDArray[np.float32]


def read_model(path: Path) -> gemmi.Model:
    """The first model in a PDB or mmCIF file; raises `InputError` if its atoms cannot be used."""
    try:
        structure = gemmi.read_structure(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as an atomic model ({error}). "
            f"Remedy: give a PDB or mmCIF file (.pdb, .ent, .cif, each also as .gz)."
        ) from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise InputError(f"{path}: the file holds no atoms, expected an atomic model.")
    unknown = [site for site in structure[0].all() if not _scatters(site.atom.element)]
    if unknown:
        names = ", ".join(f"{s.residue.name} {s.atom.name}" for s in unknown[:3])
        raise InputError(
            f"{path}: {len(unknown)} of {structure[0].count_atom_sites()} atoms have no known "
            f"element (for example {names}), expected element symbols. Remedy: fill the element "
            f"column (77-78 of a PDB file, type_symbol of an mmCIF file)."
        )
    return structure[0]


def _scatters(element: gemmi.Element) -> bool:
    return element.atomic_number > 0 and element.c4322 is not None


def model_density(model: gemmi.Model, grid: Grid, shift: NDArray[np.float64]) -> Tensor:
    """Scattering density of the atoms, moved by ``shift`` Angstrom, on the map's voxels; periodic."""
    calculator = gemmi.DensityCalculatorE()
    calculator.blur = 8.0 * math.pi**2 * (NARROWEST * grid.pixel_size) ** 2
    d, side = grid.box_size, grid.side
    calculator.grid.set_size(d, d, d)
    calculator.grid.set_unit_cell(gemmi.UnitCell(side, side, side, 90, 90, 90))
    calculator.grid.spacegroup = gemmi.SpaceGroup("P1")
    moved = model.clone()
    moved.transform_pos_and_adp(gemmi.Transform(gemmi.Mat33(), gemmi.Vec3(*shift)))
    calculator.add_model_density_to_grid(moved)
    density = np.array(calculator.grid.array, np.float32).transpose(2, 1, 0)
    return torch.from_numpy(np.ascontiguousarray(density))


def place_model(
    model: gemmi.Model, volume: Tensor, grid: Grid
) -> tuple[Frame, NDArray[np.float64]]:
    """The frame of the model's coordinates, and the shift that takes them to the map's corner."""
    coarse = _coarse_grid(grid)
    density = model_density(model, coarse, np.zeros(3))
    gain = low_pass(fourier.shells((coarse.box_size,) * 3), coarse_shell(grid))
    first = fourier.crop(fourier.transform(volume, 3), coarse.box_size, 3) * gain
    second = fourier.transform(density, 3) * gain
    norm = math.sqrt(_power(first) * _power(second)) / coarse.box_size**3
    products = first * second.conj() / max(norm, 1e-30)
    scores = fourier.inverse(products, coarse.box_size, 3).numpy()
    half = round(grid.centre * grid.pixel_size / coarse.pixel_size)
    standard: dict[Frame, float] = {
        "corner": float(scores[0, 0, 0]), "centre": float(scores[half, half, half])
    }  # fmt: skip
    frame = max(standard, key=lambda name: standard[name])
    if float(scores.max()) > standard[frame] + MOVED_GAIN:
        shift = _peak(scores) * coarse.pixel_size
        middle = np.mean([site.atom.pos.tolist() for site in model.all()], axis=0)
        return "moved", shift - grid.side * np.floor((middle + shift) / grid.side)
    return frame, np.full(3, grid.centre * grid.pixel_size if frame == "centre" else 0.0)


def coarse_shell(grid: Grid) -> int:
    """The last shell used to determine a model's position."""
    return int(grid.side / max(COARSE, 4.0 * grid.pixel_size))


def _coarse_grid(grid: Grid) -> Grid:
    box_size = fourier.fast_box_size(grid.side / COARSE_PIXEL)
    return Grid(box_size, grid.side / box_size) if box_size < grid.box_size else grid


def low_pass(shells: Tensor, last: int) -> Tensor:
    """Gain of a low-pass that drops the mean and falls from 1 to 0 behind shell ``last``."""
    return (fourier.raised_cosine(shells.double() - last, EDGE_SHELLS) * (shells > 0)).float()


def _power(spectrum: Tensor) -> float:
    """Sum of squares over the whole transform, from the stored half."""
    counts = fourier.friedel_counts(spectrum.shape[0])
    return float((counts * spectrum.abs().square()).sum())


def _peak(scores: Volume) -> NDArray[np.float64]:
    """The translation (x, y, z) with the highest score, in voxels, refined by a parabola."""
    side = scores.shape[0]
    top = np.unravel_index(int(scores.argmax()), scores.shape)
    shift = []
    for axis in range(3):
        low, high = (
            scores[tuple((t + s * (a == axis)) % side for a, t in enumerate(top))] for s in (-1, 1)
        )
        bend = low - 2.0 * scores[top] + high
        shift.append(top[axis] + (0.5 * (low - high) / bend if bend < 0 else 0.0))
    return np.array(shift[::-1])

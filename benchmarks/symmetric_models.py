"""Molecules that are exactly symmetric about RELION's axes, made of one asymmetric unit of a model.

A crystal's molecule lies anywhere and is not quite symmetric. Its own axes are found by laying chains
upon each other; then one asymmetric unit is turned by the rotations of the group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray

from cryosplat.grid import Grid
from cryosplat.io.mrc import write_map
from cryosplat.mixture import GaussianMixture
from cryosplat.simulation.atoms import deviation_of_b_factor, scattering_amplitude, spheres
from cryosplat.simulation.rendering import band_limited_map

B_FACTOR = 80.0


@dataclass(frozen=True, slots=True)
class Molecule:
    """``unit``: the chains of one asymmetric unit of ``model``; ``around_z`` and ``around_x``: chains
    that a turn about z and x takes them to. Without these the model lies about RELION's axes already.
    """

    name: str
    symmetry: str
    model: str
    unit: tuple[str, ...]
    grid: Grid
    around_z: tuple[str, ...] = ()
    around_x: tuple[str, ...] = ()


MOLECULES = (
    Molecule("haemoglobin", "C2", "4hhb_hemoglobin.pdb", ("A", "B"), Grid(80, 1.3), ("C", "D")),
    Molecule("spike", "C3", "6vxx.pdb", ("A",), Grid(96, 2.4), ("B",)),
    Molecule("GroEL", "D7", "1MNF_groel.pdb.gz", ("A",), Grid(96, 2.8), ("B",), ("H",)),
    Molecule("apoferritin", "O", "apoferritin_ca_sym.pdb", ("A",), Grid(96, 2.0)),
)


def asymmetric_unit(molecule: Molecule, models: Path) -> GaussianMixture:
    """The atoms of one asymmetric unit as Gaussians, float64, with the molecule's symmetry."""
    structure = gemmi.read_structure(str(models / molecule.model))
    structure.remove_waters()
    model = structure[0]
    atoms = [a for name in molecule.unit for residue in model[name] for a in residue]
    positions = np.array([a.pos.tolist() for a in atoms])
    amplitudes = np.array([scattering_amplitude(a.element.name) * a.occ for a in atoms])
    if molecule.around_z:
        positions = _onto_axes(positions, model, molecule)
    else:
        every = [a.pos.tolist() for chain in model for residue in chain for a in residue]
        positions = positions - np.mean(every, axis=0)
    means = torch.from_numpy(positions)
    widths = torch.full((len(means),), deviation_of_b_factor(B_FACTOR), dtype=torch.float64)
    unit = spheres(means, widths, torch.from_numpy(amplitudes))
    return replace(unit, symmetry=molecule.symmetry)


def write_truth(molecule: Molecule, models: Path, path: Path) -> None:
    """The molecule's map."""
    volume = band_limited_map(asymmetric_unit(molecule, models), molecule.grid)
    write_map(path, volume.numpy(), molecule.grid.pixel_size)


def _onto_axes(
    positions: NDArray[np.float64], model: gemmi.Model, molecule: Molecule
) -> NDArray[np.float64]:
    """Positions with the molecule's axes on z (and x), its centre at the origin."""
    turn, shift = _laid_upon(_trace(model, molecule.unit), _trace(model, molecule.around_z))
    z = _axis(turn)
    # a fixed point of the turn; where along the axis does not matter to Cn
    centre = np.linalg.lstsq(np.eye(3) - turn, shift, rcond=None)[0]
    x = np.cross(z, [1.0, 0.0, 0.0] if abs(z[0]) < 0.9 else [0.0, 1.0, 0.0])
    if molecule.around_x:
        half, moved = _laid_upon(_trace(model, molecule.unit), _trace(model, molecule.around_x))
        x = _axis(half)
        rows = np.concatenate([np.eye(3) - turn, np.eye(3) - half])
        centre = np.linalg.lstsq(rows, np.concatenate([shift, moved]), rcond=None)[0]
        x = x - (x @ z) * z
    x = x / np.linalg.norm(x)
    frame = np.stack([x, np.cross(z, x), z])
    moved_to = (positions - centre) @ frame.T
    if not molecule.around_x:
        moved_to[:, 2] -= moved_to[:, 2].mean()
    return moved_to


def _trace(model: gemmi.Model, names: tuple[str, ...]) -> dict[tuple[int, int], list[float]]:
    """Positions of the alpha carbons by place in ``names`` and residue number."""
    return {
        (place, residue.seqid.num): residue["CA"][0].pos.tolist()
        for place, name in enumerate(names)
        for residue in model[name]
        if "CA" in residue and residue.seqid.num is not None
    }


def _laid_upon(
    first: dict[tuple[int, int], list[float]], second: dict[tuple[int, int], list[float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation R and shift t with ``R first + t`` nearest to ``second`` (Kabsch 1976)."""
    shared = sorted(first.keys() & second.keys())
    a, b = (np.array([trace[key] for key in shared]) for trace in (first, second))
    u, _, v = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
    turn = u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v
    return turn, b.mean(0) - turn @ a.mean(0)


def _axis(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The axis of a rotation: its eigenvector of eigenvalue 1."""
    values, vectors = np.linalg.eig(turn)
    axis = np.real(vectors[:, np.abs(values - 1.0).argmin()])
    return axis / np.linalg.norm(axis)

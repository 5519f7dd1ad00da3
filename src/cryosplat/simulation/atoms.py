"""Atomic models as Gaussian mixtures."""

from __future__ import annotations

import math
import os
from collections import Counter
from functools import cache
from pathlib import Path

import gemmi
import torch
from torch import Tensor

from ..errors import InputError, SettingsError
from ..mixture import GaussianMixture


@cache
def scattering_amplitude(element: str) -> float:
    """Electron scattering factor of an element at s = 0, in Angstrom.

    International Tables C, table 4.3.2.2 (Doyle & Turner), as tabulated by gemmi. 0 for what the
    table does not hold.
    """
    known = gemmi.Element(element)
    if known.atomic_number == 0 or known.c4322 is None:
        return 0.0
    return known.c4322.calculate_sf(0.0)


def deviation_of_b_factor(b_factor: float) -> float:
    """Standard deviation in Angstrom of an atom with ``b_factor``: ``B = 8 pi^2 sigma^2``."""
    if not 0.0 < b_factor < 1e5:
        raise SettingsError(
            f"B-factor: {b_factor} was given, expected more than 0 and less than 100000 square "
            f"Angstrom. Remedy: 80 gives a map of a typical cryo-EM resolution."
        )
    return math.sqrt(b_factor / (8.0 * math.pi**2))


def spheres(means: Tensor, deviations: Tensor, amplitudes: Tensor) -> GaussianMixture:
    """Isotropic Gaussians: means (k, 3) and deviations (k,) in Angstrom, amplitudes (k,)."""
    quaternions = torch.zeros(len(means), 4, dtype=means.dtype)
    quaternions[:, 0] = 1.0
    return GaussianMixture(means, deviations[:, None].repeat(1, 3), quaternions, amplitudes)


def mixture_from_atoms(path: str | os.PathLike[str], b_factor: float = 80.0) -> GaussianMixture:
    """One isotropic Gaussian per atom of a PDB or mmCIF file (``.gz`` too), float64, centred.

    The amplitude is the electron scattering factor at s = 0 times the occupancy; the width is that
    of ``b_factor`` (square Angstrom), the same for all atoms; the B-factors in the file, which mean
    different things in different files, are left aside. Waters are dropped; of several models the
    first is taken. The centre of amplitude moves to the origin.

    Raises
    ------
    InputError
        The file is no atomic model, holds no atoms, or atoms of unknown elements.
    """
    deviation = deviation_of_b_factor(b_factor)
    structure = _read_structure(Path(path))
    positions, amplitudes, unknown = [], [], Counter[str]()
    for site in structure[0].all():
        if site.residue.is_water():
            continue
        amplitude = scattering_amplitude(site.atom.element.name)
        if amplitude <= 0.0:
            unknown[f"{site.residue.name} {site.atom.name}"] += 1
        positions.append(site.atom.pos.tolist())
        amplitudes.append(amplitude * site.atom.occ)
    if unknown:
        names = ", ".join(name for name, _ in unknown.most_common(3))
        raise InputError(
            f"{path}: {unknown.total()} of {len(positions)} atoms have no known element "
            f"(for example {names}), expected element symbols. "
            f"Remedy: fill the element column (77-78 of a PDB file, type_symbol of an mmCIF file)."
        )
    weights = torch.tensor(amplitudes, dtype=torch.float64)
    if not float(weights.sum()) > 0.0:
        raise InputError(
            f"{path}: the model holds no atoms besides waters and atoms of occupancy 0, expected "
            f"a molecule. Remedy: check that the file is complete."
        )
    means = torch.tensor(positions, dtype=torch.float64)
    means = means - (weights[:, None] * means).sum(0) / weights.sum()
    occupied = weights > 0.0
    means, weights = means[occupied], weights[occupied]
    return spheres(means, torch.full_like(weights, deviation), weights)


def _read_structure(path: Path) -> gemmi.Structure:
    remedy = "Remedy: give a PDB or mmCIF file (.pdb, .ent, .cif, each also as .gz)."
    try:
        structure = gemmi.read_structure(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as an atomic model ({error}). {remedy}"
        ) from error
    if len(structure) == 0:
        raise InputError(f"{path}: the file holds no atomic model. {remedy}")
    return structure

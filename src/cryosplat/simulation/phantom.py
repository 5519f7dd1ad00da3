"""A protein that needs no download: ideal secondary structure, packed and assembled.

A subunit has three domains, an open twisted sheet between two layers of helices, a bundle of four
helices and a small beta-sandwich, with the usual distances: 4.8 Angstrom between strands, 10
between helices and between layers. It looks like a protein at every resolution; it is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..errors import SettingsError
from ..mixture import GaussianMixture, concatenate, matrices_to_quaternions
from ._backbone import HELIX, STRAND, Backbone, segment
from .atoms import deviation_of_b_factor, scattering_amplitude, spheres

Vector = NDArray[np.float64]

STRAND_SPACING, LAYER_SPACING, HELIX_SPACING = 4.8, 10.0, 9.6
LARGEST_ORDER = 12
SIDE_CHAIN_ATOMS = (1, 3, 2, 4, 0, 3, 5, 2, 6, 1, 4, 3, 0, 2, 7, 3, 1, 4, 2, 5, 3, 8, 2)
"""Non-hydrogen atoms beyond C-alpha, residue after residue: the sequence, as density sees it."""
LOOP_ATOMS = 5
LOOP_RISE = 3.5
"""A loop is one broad blob per residue, so many atoms and so many Angstrom apart."""
RING_RADIUS = 40.0
"""Distance of a subunit's middle from the axis in a ring of three; larger rings are wider."""
PLACES = (
    ((7.0, 20.0, -198.0), (-19.0, 150.0, 61.0), (-29.0, 33.0, -27.0)),
    ((31.0, -15.0, 7.0), (7.0, -20.0, 22.0), (31.0, 4.0, 30.0)),
)
"""Turns (Euler ZYX, degrees) and places (Angstrom) of the three domains, packed without clashes."""
TWIST = math.radians(-18.0)
"""Turn from one strand of a sheet to the next."""


@dataclass(frozen=True, slots=True)
class _Element:
    """A helix or a strand: residues, centre, direction of its axis and of its first side chain."""

    torsions: tuple[float, float]
    length: int
    centre: Vector
    axis: Vector
    facing: Vector

    def moved(self, rotation: Rotation, shift: Vector) -> _Element:
        centre, axis, facing = rotation.apply([self.centre, self.axis, self.facing])
        return _Element(self.torsions, self.length, centre + shift, axis, facing)

    def backbone(self) -> Backbone:
        side = self.facing - self.axis * (self.axis @ self.facing)
        side /= np.linalg.norm(side)
        axes = np.stack([side, np.cross(self.axis, side), self.axis], axis=1)
        return segment(self.torsions, self.length).placed(axes, self.centre)


def phantom(symmetry: str = "D3", b_factor: float = 60.0) -> GaussianMixture:
    """An analytic protein assembly of symmetry ``C1``-``C12`` or ``D1``-``D12``, float64, centred.

    ``D3`` is about 115 Angstrom across and has some 2,200 residues. The n-fold axis is z, the
    two-fold axis of a dihedral group x (RELION's setting). One Gaussian per backbone atom, one
    elongated Gaussian per side chain; ``b_factor`` (square Angstrom) sets their least width. The
    same call always gives the same mixture.

    Raises
    ------
    SettingsError
        The symmetry is not one of these.
    """
    operators = _operators(symmetry)
    subunit = _subunit(b_factor, max(3, int(symmetry[1:])))
    assembly = concatenate([subunit.rotated(operator) for operator in operators])
    weights = assembly.amplitudes[:, None]
    centre = (weights * assembly.means).sum(0) / weights.sum()
    return GaussianMixture(
        assembly.means - centre, assembly.scales, assembly.quaternions, assembly.amplitudes
    )


def _operators(symmetry: str) -> list[torch.Tensor]:
    kind, order = symmetry[:1].upper(), symmetry[1:]
    if kind not in "CD" or not order.isdigit() or not 1 <= int(order) <= LARGEST_ORDER:
        raise SettingsError(
            f"phantom: symmetry {symmetry!r} was given, expected C or D and an order from 1 to "
            f"{LARGEST_ORDER}. Remedy: D3, for example."
        )
    n = int(order)
    turns = Rotation.from_rotvec([[0.0, 0.0, 2.0 * math.pi * i / n] for i in range(n)])
    flips = Rotation.from_rotvec([[0.0, 0.0, 0.0], [math.pi, 0.0, 0.0]][: 1 + (kind == "D")])
    return [torch.from_numpy((turn * flip).as_matrix()) for flip in flips for turn in turns]


def _subunit(b_factor: float, order: int) -> GaussianMixture:
    """The chain at its place in a ring of ``order``, above the plane z = 0."""
    widen = RING_RADIUS * (math.sin(math.pi / 3.0) / math.sin(math.pi / order) - 1.0)
    elements = [
        element.moved(Rotation.from_euler("ZYX", turn, degrees=True), np.add(place, (widen, 0, 0)))
        for domain, turn, place in zip((_layers(), _bundle(), _sandwich()), *PLACES, strict=True)
        for element in domain
    ]
    backbones = [element.backbone() for element in elements]
    deviation = deviation_of_b_factor(b_factor)
    parts = [_residues(b, deviation, 5 * i) for i, b in enumerate(backbones)]
    inner = np.mean([element.centre for element in elements], axis=0)
    for before, after in pairwise(backbones):
        parts.append(_loop(before, after, inner, deviation))
    return concatenate(parts)


def _element(kind: tuple[float, float], length: int, centre: Vector, axis: Vector) -> _Element:
    facing = np.array([1.0, 0.0, 0.0])
    return _Element(kind, length, centre, axis / np.linalg.norm(axis), facing)


def _layers() -> list[_Element]:
    """Six strands in the y-z plane, three helices on either side, in alternation (Rossmann)."""
    strands, helices = [], []
    for i, place in enumerate((2, 1, 0, 3, 4, 5)):
        centre = np.array([0.0, STRAND_SPACING * (place - 2.5), 0.0])
        strands.append(_twisted(STRAND, 8, centre, TWIST * (place - 2.5)))
        side = 1.0 if i < 3 else -1.0
        row = (i % 3) - 1
        helix_centre = np.array([side * LAYER_SPACING, HELIX_SPACING * row * side, 0.0])
        helix = _twisted(HELIX, 17, helix_centre, 0.6 * TWIST * row * side)
        helices.append(_Element(HELIX, 17, helix.centre, -helix.axis, helix.facing))
    return [element for pair in zip(strands, helices, strict=True) for element in pair]


def _twisted(kind: tuple[float, float], length: int, centre: Vector, angle: float) -> _Element:
    """An element along z, turned about y: the twist of a sheet whose strands lie along y."""
    turn = Rotation.from_rotvec([0.0, angle, 0.0])
    axis, facing = turn.apply([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    return _Element(kind, length, centre, axis, facing)


def _bundle() -> list[_Element]:
    """Four helices, up and down, crossing at 20 degrees."""
    elements = []
    for i, (x, y) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1))):
        centre = 0.5 * HELIX_SPACING * np.array([x, y, 0.0])
        tilt = math.radians(10.0)
        axis = np.array([-y * math.sin(tilt), x * math.sin(tilt), math.sqrt(2.0)])
        elements.append(_element(HELIX, 22, centre, axis * (-1.0) ** i))
    return elements


def _sandwich() -> list[_Element]:
    """Two sheets of four antiparallel strands, face to face."""
    elements = []
    for sheet in (-0.5, 0.5):
        for i in range(4):
            place = (i - 1.5) * (1.0 if sheet < 0 else -1.0)
            centre = np.array([sheet * LAYER_SPACING, STRAND_SPACING * place, 0.0])
            strand = _twisted(STRAND, 7, centre, TWIST * place + math.radians(30.0) * sheet)
            elements.append(_Element(STRAND, 7, centre, strand.axis * (-1.0) ** i, strand.facing))
    return elements


def _residues(backbone: Backbone, deviation: float, first: int) -> GaussianMixture:
    """Backbone atoms as spheres, side chains as Gaussians drawn out along their direction."""
    atoms = {"N": backbone.n, "C": np.concatenate([backbone.ca, backbone.c]), "O": backbone.o}
    parts = []
    for element, positions in atoms.items():
        amplitude = scattering_amplitude(element)
        parts.append(_blobs(positions, math.hypot(deviation, 0.3), amplitude))
    count = len(backbone.ca)
    sizes = np.array([SIDE_CHAIN_ATOMS[(first + i) % len(SIDE_CHAIN_ATOMS)] for i in range(count)])
    kept = sizes > 0
    sizes, start = sizes[kept].astype(float), backbone.ca[kept]
    direction = backbone.cb[kept] - start
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    means = start + direction * (1.5 + 0.45 * (sizes[:, None] - 1.0))
    along = np.hypot(deviation, 0.35 + 0.22 * sizes)
    across = np.hypot(deviation, 0.45 + 0.09 * sizes)
    scales = torch.from_numpy(np.stack([across, across, along], axis=1))
    turns = [Rotation.align_vectors([d], [[0.0, 0.0, 1.0]])[0].as_matrix() for d in direction]
    quaternions = matrices_to_quaternions(torch.from_numpy(np.array(turns)))
    amplitudes = torch.from_numpy(scattering_amplitude("C") * sizes)
    parts.append(GaussianMixture(torch.from_numpy(means), scales, quaternions, amplitudes))
    return concatenate(parts)


def _blobs(positions: Vector, deviation: float, amplitude: float) -> GaussianMixture:
    means = torch.from_numpy(positions)
    deviations = torch.full((len(positions),), deviation, dtype=torch.float64)
    return spheres(means, deviations, torch.full_like(deviations, amplitude))


def _loop(before: Backbone, after: Backbone, inner: Vector, deviation: float) -> GaussianMixture:
    """Broad blobs along a smooth curve from the end of one element to the beginning of the next."""
    start, end = before.c[-1], after.n[0]
    leave = before.ca[-1] - before.ca[-3]
    arrive = after.ca[2] - after.ca[0]
    t = np.linspace(0.0, 1.0, 200)[:, None]
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * 2.0 * leave
        + (3 * t**2 - 2 * t**3) * end
        + (t**3 - t**2) * 2.0 * arrive
    )
    outward = 0.5 * (start + end) - inner
    outward = outward / (np.linalg.norm(outward) + 1.0)
    curve = curve + 2.0 * np.sin(math.pi * t) * outward
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    count = max(1, round(float(length[-1]) / LOOP_RISE) - 1)
    places = np.linspace(0.0, length[-1], count + 2)[1:-1]
    positions = np.stack([np.interp(places, length, curve[:, i]) for i in range(3)], axis=1)
    amplitude = LOOP_ATOMS * scattering_amplitude("C")
    return _blobs(positions, math.hypot(deviation, 1.5), amplitude)

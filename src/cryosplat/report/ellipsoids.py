"""The Gaussians of a run for other programs, in the frame of its maps.

``.cif``: pseudo-atoms, with amplitude as occupancy and covariance as anisotropic displacement;
``.bild``: ellipsoids for ChimeraX; ``.ply``: for viewers of 3-D Gaussian splatting, which store
logits of opacities, logarithms of scales and spherical harmonics (Kerbl et al. 2023).

Positions count in Angstrom from the corner of the map, ``x = index x pixel size``, as in the PDB.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..appearance import on_scale
from ..io.atomic import replacing, write_text
from ..io.ply import read_ply
from ..symmetry import order_of
from ._quality import local_resolution
from .evidence import Evidence

Floats = NDArray[np.float64]
ATOM, RESIDUE = "UNK", "UNX"  # an unknown atom, by the names of the PDB
DENSEST = 0.95  # quantile of the peak densities that is drawn opaque
FAINTEST, MOST_OPAQUE = 0.02, 0.98
HARMONIC = 0.28209479177387814  # of order 0: 1 / (2 sqrt(pi))
SPLATS = (
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1",
    "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ellipsoids:
    """All k Gaussians of the map, its ``copies`` asymmetric units one after the other.

    ``centres`` (k, 3) from the corner of the map and ``scales`` (k, 3) in Angstrom, ``turns`` from
    their axes to the map's, ``amplitudes`` (k,), ``colours`` (k, 3) from 0 to 1.
    """

    centres: Floats
    scales: Floats
    turns: Rotation
    amplitudes: Floats
    colours: Floats
    copies: int

    @staticmethod
    def of(run: Evidence) -> Ellipsoids | None:
        """Coloured by local resolution where known, else by rank of amplitude; None where none."""
        path = run.folder.gaussians
        stored = read_ply(path) if path.exists() else None
        if stored is None or not len(stored.amplitudes):
            return None
        ply, painted = stored.whole(), local_resolution(run)
        centres = ply.means.astype(float) + run.box_size // 2 * run.pixel_size
        if painted is None:
            ranks = np.argsort(np.argsort(-ply.amplitudes, kind="stable")).astype(float)
            colours = on_scale(ranks, 0.0, len(ranks) - 1.0)
        else:
            inside = np.clip(np.round(centres / run.pixel_size).astype(int), 0, run.box_size - 1)
            values = painted.volume[inside[:, 2], inside[:, 1], inside[:, 0]]
            colours = on_scale(np.where(values > 0, values, np.nan), painted.low, painted.high)
        turns = Rotation.from_quat(ply.quaternions[:, [1, 2, 3, 0]].astype(float))
        scales, amplitudes = ply.scales.astype(float), ply.amplitudes.astype(float)
        copies = order_of(stored.symmetry)
        return Ellipsoids(centres, scales, turns, amplitudes, colours, copies)

    def covariances(self) -> Floats:
        """(k, 3, 3) in square Angstrom."""
        half = self.turns.as_matrix() * self.scales[:, None, :]
        return half @ half.transpose(0, 2, 1)


def write_cif(path: Path, found: Ellipsoids) -> Path:
    """Pseudo-atoms of an unknown element, a chain for each asymmetric unit."""
    structure, model = gemmi.Structure(), gemmi.Model(1)
    structure.name = "gaussians"
    parts = (found.centres, found.covariances(), found.amplitudes)
    for copy, values in enumerate(zip(*(np.split(p, found.copies) for p in parts), strict=True)):
        chain = gemmi.Chain(_chain_name(copy))
        for number, (centre, u, amplitude) in enumerate(zip(*values, strict=True)):
            atom = gemmi.Atom()
            atom.name, atom.element = ATOM, gemmi.Element("X")
            atom.pos, atom.occ = gemmi.Position(*centre.round(3)), amplitude
            atom.aniso = gemmi.SMat33f(u[0, 0], u[1, 1], u[2, 2], u[0, 1], u[0, 2], u[1, 2])
            atom.b_iso = 8.0 * math.pi**2 / 3.0 * np.trace(u)
            residue = gemmi.Residue()
            residue.name, residue.subchain, residue.het_flag = RESIDUE, chain.name, "H"
            residue.seqid = gemmi.SeqId(number + 1, " ")
            residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    groups = gemmi.MmcifOutputGroups(False, atoms=True)
    return write_text(path, structure.make_mmcif_document(groups).as_string())


def _chain_name(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    letters = string.ascii_uppercase
    first = _chain_name(number // 26 - 1) if number >= 26 else ""
    return first + letters[number % 26]


def write_bild(path: Path, found: Ellipsoids) -> Path:
    """Ellipsoids of one standard deviation, the heaviest first.

    BILD has spheres only, but spheres under a transformation: ``.translate``, ``.rotate`` and
    ``.scale`` with three factors make an ellipsoid of one sphere. One ``shape ellipsoid`` command
    for each would make as many models.
    """
    lines = [f".comment {len(found.amplitudes)} Gaussians, one standard deviation"]
    vectors = found.turns.as_rotvec()
    for i in np.argsort(-found.amplitudes, kind="stable"):
        angle = float(np.linalg.norm(vectors[i]))
        axis = vectors[i] / angle if angle > 0 else (0.0, 0.0, 1.0)
        lines += [
            ".color {:.3f} {:.3f} {:.3f}".format(*found.colours[i]),
            ".translate {:.3f} {:.3f} {:.3f}".format(*found.centres[i]),
            ".rotate {:.3f} {:.5f} {:.5f} {:.5f}".format(math.degrees(angle), *axis),
            ".scale {:.4f} {:.4f} {:.4f}".format(*found.scales[i]),
            ".sphere 0 0 0 1",
            ".pop",
            ".pop",
            ".pop",
        ]
    return write_text(path, "\n".join(lines) + "\n")


def write_splats(path: Path, found: Ellipsoids) -> Path:
    """What viewers of 3-D Gaussian splatting read, the densest Gaussians the most opaque.

    Colours and opacities are for the eye: these viewers absorb light, and a map does not.
    """
    peaks = np.maximum(found.amplitudes, 0.0) / found.scales.prod(1)
    opacity = np.clip(peaks / max(np.quantile(peaks, DENSEST), 1e-30), FAINTEST, MOST_OPAQUE)
    columns = (
        found.centres, np.zeros_like(found.centres), (found.colours - 0.5) / HARMONIC,
        np.log(opacity / (1.0 - opacity))[:, None], np.log(found.scales),
        found.turns.as_quat()[:, [3, 0, 1, 2]],
    )  # fmt: skip
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(peaks)}"]
    header += [f"property float {name}" for name in SPLATS]
    with replacing(path) as stream:
        stream.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        stream.write(np.concatenate(columns, axis=1).astype("<f4").tobytes())
    return path


WRITERS: dict[str, Callable[[Path, Ellipsoids], Path]] = {
    ".cif": write_cif, ".bild": write_bild, ".ply": write_splats
}  # fmt: skip
"""By suffix."""

"""Orientations and in-plane shifts, in RELION's convention.

A rotation maps the reference into the image frame, ``r_image = A r_map``; the projection runs along
the image frame's z. RELION's Euler angles are intrinsic ZYZ,
``A = (Rz(rot) Ry(tilt) Rz(psi))^T`` (RELION, ``src/euler.cpp``, ``Euler_angles2matrix``).
A shift is RELION's origin in Angstrom: the particle's centre lies at ``-shift`` from the rotation
centre of its image, so that moving the image by ``+shift`` centres it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from .arrays import Columns, described, real_tensor, span


@dataclass(frozen=True, slots=True, repr=False)
class Poses(Columns):
    """Poses of n particles: ``rotations`` (n, 3, 3), ``shifts`` (n, 2) as (x, y) in Angstrom.

    As all `Columns`, some of them are chosen, and several put together.
    """

    rotations: Tensor
    shifts: Tensor

    def __post_init__(self) -> None:
        rotations = real_tensor("Poses", "rotations", self.rotations, (None, 3, 3))
        shifts = real_tensor("Poses", "shifts", self.shifts, (len(rotations), 2))
        object.__setattr__(self, "rotations", rotations)
        object.__setattr__(self, "shifts", shifts)

    def __repr__(self) -> str:
        largest = f"shifts {span(self.shifts.detach())} Å" if len(self) else ""
        return described("Poses", f"{len(self):,} orientations", largest)

    def __len__(self) -> int:
        return self.rotations.shape[0]


def rotations_from_euler(angles: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrices (n, 3, 3) from RELION's (rot, tilt, psi), shape (n, 3), in radian."""
    return Rotation.from_euler("ZYZ", np.asarray(angles, float)).as_matrix().transpose(0, 2, 1)


def euler_from_rotations(rotations: ArrayLike) -> NDArray[np.float64]:
    """RELION's (rot, tilt, psi) in radian, shape (n, 3): the inverse of `rotations_from_euler`.

    Where tilt is 0 or a half turn only rot and psi together are defined, and psi is 0.
    """
    matrices = np.asarray(rotations, float).transpose(0, 2, 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")
        return Rotation.from_matrix(matrices).as_euler("ZYZ")


def rotations_from_vectors(vectors: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrices (n, 3, 3) from cryoSPARC's axis-angle vectors (n, 3) in radian.

    ``A = exp([w]_x)^T`` (cryoSPARC's pose is the inverse of RELION's); ``w = 0`` is the identity.
    """
    return Rotation.from_rotvec(np.asarray(vectors, float)).as_matrix().transpose(0, 2, 1)


def random_poses(n: int, generator: torch.Generator, max_shift: float = 0.0) -> Poses:
    """Uniform orientations, and shifts uniform in a square of half-side ``max_shift`` Angstrom."""
    quaternions = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    rotations = torch.from_numpy(Rotation.from_quat(quaternions.numpy()).as_matrix())
    shifts = (2 * torch.rand(n, 2, generator=generator, dtype=torch.float64) - 1) * max_shift
    return Poses(rotations, shifts)

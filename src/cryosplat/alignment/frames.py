"""The frame that poses share: turning and moving a map, with all poses, changes no image.

Sums over images are torch's own: BLAS rounds by where arrays lie in memory, and a refinement that was
broken off would not go on bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..poses import Poses
from ..symmetry import rotations_of
from ._definition import turned
from .local import Found, changes


@dataclass(frozen=True, slots=True)
class Frame:
    """A rotation vector ``turn`` (3,) in radian and a displacement ``move`` (3,) in Å, of a map."""

    turn: Tensor
    move: Tensor

    @staticmethod
    def between(found: Found) -> Frame:
        """What brings poses of images into the frame of the map that they were held against.

        One step of Gauss and Newton with six unknowns that all images share.
        """
        to_images = _jacobian(found.poses)
        curved = (found.curvature[..., None] * to_images[:, None]).sum(2)
        matrix = (to_images[..., None] * curved[:, :, None]).sum((0, 1))
        right = (to_images * found.gradient[..., None]).sum((0, 1))
        scale = matrix.diagonal().clamp_min(1e-30).rsqrt()
        scaled = matrix * scale[:, None] * scale + 1e-6 * torch.eye(6, dtype=torch.float64)
        step = torch.linalg.solve(scaled, right * scale) * scale
        return Frame(step[:3], step[3:])

    @staticmethod
    def drift(poses: Poses, given: Poses) -> Frame:
        """What all changes from the ``given`` poses have in common, by least squares.

        Poses that changed by more than three medians have found another place: they say nothing.
        """
        angles, shifts = changes(poses, given)
        away = angles.norm(dim=1)
        near = away <= 3.0 * away.median()
        angles, shifts = angles[near], shifts[near]
        rotations = poses.rotations[near].double()
        turn = (rotations * angles[..., None]).sum((0, 1)) / len(rotations)  # R'R = 1
        views = rotations[:, :2]
        matrix = (views[..., None] * views[:, :, None]).sum((0, 1))
        move = torch.linalg.solve(matrix, (views * shifts[..., None]).sum((0, 1)))
        return Frame(turn, move)

    def free(self, symmetry: str) -> Frame:
        """The part of it by which a map of that symmetry, about RELION's axes, may be turned and moved.

        All of it for C1, along z for a cyclic group, and nothing where axes cross: there the map says
        where poses belong. (The mean over the group leaves of a vector what every operator leaves.)
        """
        mean = torch.tensor(rotations_of(symmetry).mean(0))
        return Frame(mean @ self.turn, mean @ self.move)

    def scaled(self, factor: float) -> Frame:
        """A part of it, or with a minus its inverse for small ones."""
        return Frame(factor * self.turn, factor * self.move)

    def minus(self, other: Frame) -> Frame:
        """The difference of two small ones."""
        return Frame(self.turn - other.turn, self.move - other.move)

    def apply(self, poses: Poses) -> Poses:
        """The poses in the other frame: ``A exp([turn]_x)``, shifts by the projected displacement."""
        rotations = poses.rotations.double()
        angles, shifts = rotations @ self.turn, rotations[:, :2] @ self.move
        return Poses(turned(angles, rotations), poses.shifts.double() + shifts)


def _jacobian(poses: Poses) -> Tensor:
    """The five unknowns of every image by the six of the frame, (n, 5, 6)."""
    rotations = poses.rotations.double()
    matrix = rotations.new_zeros(len(rotations), 5, 6)
    matrix[:, :3, :3], matrix[:, 3:, 3:] = rotations, rotations[:, :2]
    return matrix

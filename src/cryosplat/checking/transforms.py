"""Common mistakes of programs and people, each as a transform of poses and optics.

What each of them assumes is said where it is a `readings.Reading`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..optics import Optics, OpticsGroup
from ..poses import Poses, euler_from_rotations, rotations_from_euler
from .hypotheses import Hypothesis, Transform


def of_shifts(change: Callable[[Tensor], Tensor]) -> Transform:
    """Of shifts (n, 2) in Angstrom."""
    return lambda poses, optics: (Poses(poses.rotations, change(poses.shifts)), optics)


def of_rotations(change: Callable[[Tensor], Tensor]) -> Transform:
    """Of rotations (n, 3, 3)."""
    return lambda poses, optics: (Poses(change(poses.rotations), poses.shifts), optics)


def of_angles(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Transform:
    """Of RELION's Euler angles (n, 3) in radian."""
    return of_rotations(
        lambda rotations: torch.from_numpy(
            rotations_from_euler(change(euler_from_rotations(rotations.numpy())))
        )
    )


def of_optics(change: Callable[[Optics], dict[str, Any]]) -> Transform:
    """Of columns of the optics, or their groups; ``change`` gives those that are others."""
    return lambda poses, optics: (poses, replace(optics, **change(optics)))


def of_groups(change: Callable[[OpticsGroup], dict[str, Any]]) -> Transform:
    """Of values of every optics group; ``change`` gives those that are others."""
    return of_optics(lambda o: {"groups": tuple(replace(g, **change(g)) for g in o.groups)})


def scale_shifts(x: float, y: float) -> Transform:
    """Shifts multiplied by a factor along each axis."""
    return of_shifts(lambda shifts: shifts * torch.tensor([x, y], dtype=torch.float64))


negate_shifts = scale_shifts(-1.0, -1.0)


def shifts_in_pixels(power: int) -> Transform:
    """Shifts multiplied by the pixel size, which were written in pixels (1), or divided by it (-1)."""

    def scale(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
        factor = optics.of_group("pixel_size")[:, None] ** power
        return Poses(poses.rotations, poses.shifts * factor), optics

    return scale


def shuffle_rotations(seed: int) -> Hypothesis:
    """Every image gets another's rotation: the control for whether rotations carry information."""

    def shuffled(rotations: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return rotations[torch.randperm(len(rotations), generator=generator)]

    return Hypothesis("shuffled", (of_rotations(shuffled),))


def transpose_rotations(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The inverse rotations."""
    return Poses(poses.rotations.transpose(1, 2).contiguous(), poses.shifts), optics


def flip_images(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images are stored upside down, as programs do that count rows from below.

    ``I(x, -y)`` is the projection along the same line from behind: rows y and z of the rotation, the
    shift in y and the angle of astigmatism change their signs. The hand stays.
    """
    turned = poses.rotations * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)[:, None]
    shifts = poses.shifts * torch.tensor([1.0, -1.0], dtype=torch.float64)
    return Poses(turned, shifts), replace(optics, defocus_angle=-optics.defocus_angle)


def transpose_images(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images are stored with x and y exchanged.

    ``I(y, x)`` is the projection along the same line from behind: rows x and y of the rotation and
    of the shift change places, row z its sign. The hand stays.
    """
    turned = poses.rotations[:, [1, 0, 2]] * torch.tensor([1.0, 1.0, -1.0]).double()[:, None]
    angle = 0.5 * math.pi - optics.defocus_angle
    return Poses(turned, poses.shifts.flip(1)), replace(optics, defocus_angle=angle)


def scale_defocus(factor: float) -> Transform:
    """The defocus multiplied by a factor."""
    return of_optics(lambda o: {n: factor * getattr(o, n) for n in ("defocus_u", "defocus_v")})


def from_radian(column: str) -> Transform:
    """A column of angles that was read as degrees and written in radian."""
    return of_optics(lambda o: {column: getattr(o, column) * math.degrees(1.0)})


def remove_ctf(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The CTF is 1 everywhere: the images are corrected already."""
    zero = torch.zeros_like(optics.defocus_u)
    groups = tuple(
        replace(
            group, spherical_aberration=0.0, amplitude_contrast=1.0, odd=(), even=(),
            processing="none",
        ) for group in optics.groups
    )  # fmt: skip
    return poses, replace(
        optics, groups=groups, defocus_u=zero, defocus_v=zero, phase_shift=zero, b_factor=zero
    )


def invert_group(number: int) -> Transform:
    """The images of one optics group with the opposite contrast."""
    return of_optics(lambda o: {"scale": torch.where(o.group == number, -o.scale, o.scale)})


def mark(processing: str) -> Transform:
    """What the images went through before they were stored, whatever the table says."""
    return of_groups(lambda group: {"processing": processing})


def negate_aberrations(kind: str) -> Transform:
    """The "odd" aberrations, as beam tilt and trefoil, or the "even" ones with the opposite sign."""
    return of_groups(lambda group: {kind: tuple(-c for c in getattr(group, kind))})

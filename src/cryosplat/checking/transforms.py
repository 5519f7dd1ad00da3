"""Common mistakes of programs and people, each as a transform of poses and optics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..optics import ISOTROPIC, Optics
from ..poses import Poses, euler_from_rotations, rotations_from_euler
from .hypotheses import Hypothesis, Transform


def _shifts(poses: Poses, shifts: torch.Tensor) -> Poses:
    return Poses(poses.rotations, shifts)


def negate_shifts(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Shifts of the opposite sign."""
    return _shifts(poses, -poses.shifts), optics


def negate_shift_along(axis: int) -> Transform:
    """The shift along x (0) or y (1) of the opposite sign."""

    def negate(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
        signs = torch.ones(2, dtype=torch.float64)
        signs[axis] = -1.0
        return _shifts(poses, poses.shifts * signs), optics

    return negate


def swap_shifts(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """x for y and y for x."""
    return _shifts(poses, poses.shifts.flip(1)), optics


def shifts_from_pixels(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """What was read as Angstrom was written in pixels."""
    return _shifts(poses, poses.shifts * optics.of_group("pixel_size")[:, None]), optics


def shifts_from_angstrom(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """What was read as pixels was written in Angstrom."""
    return _shifts(poses, poses.shifts / optics.of_group("pixel_size")[:, None]), optics


def ignore_shifts(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """No shifts: the images are centred already."""
    return _shifts(poses, torch.zeros_like(poses.shifts)), optics


def transpose_rotations(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The inverse rotations."""
    return Poses(poses.rotations.transpose(1, 2).contiguous(), poses.shifts), optics


def shuffle_rotations(seed: int) -> Hypothesis:
    """Every image gets another's rotation: the control for whether rotations carry information."""

    def shuffle(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
        order = torch.randperm(len(poses), generator=torch.Generator().manual_seed(seed))
        return Poses(poses.rotations[order], poses.shifts), optics

    return Hypothesis("shuffled", (shuffle,))


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


def _with_angles(poses: Poses, change: Callable[[NDArray], NDArray]) -> Poses:
    angles = change(euler_from_rotations(poses.rotations.numpy()))
    return Poses(torch.from_numpy(rotations_from_euler(angles)), poses.shifts)


def negate_psi(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The in-plane angle counted the other way round."""
    return _with_angles(poses, lambda angles: angles * np.array([1.0, 1.0, -1.0])), optics


def exchange_rot_and_psi(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The first Euler angle for the third."""
    return _with_angles(poses, lambda angles: angles[:, ::-1].copy()), optics


def angles_from_radian(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """What was read as degrees was written in radian."""
    return _with_angles(poses, np.rad2deg), optics


def _defocus(optics: Optics, factor: float) -> Optics:
    u, v = optics.defocus_u * factor, optics.defocus_v * factor
    return replace(optics, defocus_u=u, defocus_v=v)


def negate_defocus(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Underfocus for overfocus."""
    return poses, _defocus(optics, -1.0)


def defocus_from_micrometre(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Micrometres for Angstrom."""
    return poses, _defocus(optics, 1e4)


def negate_defocus_angle(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The angle of astigmatism counted the other way round."""
    return poses, replace(optics, defocus_angle=-optics.defocus_angle)


def exchange_defocus(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Defocus u for v: the angle of astigmatism is that of the other one."""
    return poses, replace(optics, defocus_angle=optics.defocus_angle + 0.5 * math.pi)


def defocus_angle_from_radian(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Radian for degrees."""
    return poses, replace(optics, defocus_angle=optics.defocus_angle * math.degrees(1.0))


def phase_shift_from_radian(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Radian for degrees."""
    return poses, replace(optics, phase_shift=optics.phase_shift * math.degrees(1.0))


def _groups(optics: Optics, **changed: object) -> Optics:
    groups = tuple(replace(g, **changed) for g in optics.groups)  # type: ignore[arg-type]
    return replace(optics, groups=groups)


def remove_ctf(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The CTF is 1 everywhere: the images are corrected already."""
    zero = torch.zeros_like(optics.defocus_u)
    plain = _groups(
        optics, spherical_aberration=0.0, amplitude_contrast=1.0, odd=(), even=(), processing="none"
    )
    columns = {"defocus_u": zero, "defocus_v": zero, "phase_shift": zero, "b_factor": zero}
    return poses, replace(plain, **columns)


def mark_phase_flipped(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images have had the signs of their CTF corrected."""
    return poses, _groups(optics, processing="phase-flipped")


def mark_premultiplied(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images have been multiplied by their CTF."""
    return poses, _groups(optics, processing="premultiplied")


def mark_unprocessed(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images are as they were recorded, whatever the table says."""
    return poses, _groups(optics, processing="none")


def negate_odd(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Beam tilt, trefoil and other odd aberrations of the opposite sign."""
    groups = tuple(replace(g, odd=tuple(-c for c in g.odd)) for g in optics.groups)
    return poses, replace(optics, groups=groups)


def negate_even(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Even aberrations of the opposite sign."""
    groups = tuple(replace(g, even=tuple(-c for c in g.even)) for g in optics.groups)
    return poses, replace(optics, groups=groups)


def remove_aberrations(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """No odd or even aberrations."""
    return poses, _groups(optics, odd=(), even=())


def remove_anisotropy(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """No anisotropic magnification."""
    return poses, _groups(optics, magnification=ISOTROPIC)

"""Other readings of a table: what programs and people mix up, as transforms of poses and optics.

Each is a hypothesis that the images can judge, and the correction where they prefer it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..optics import ISOTROPIC, Optics
from ..particles import Particles
from ..poses import Poses, euler_from_rotations, rotations_from_euler
from .hypotheses import Hypothesis, Transform

SAME_PIXEL = 0.05  # Angstrom and pixels that differ by less are not told apart
MOST_GROUPS = 4  # whose contrast is tried one by one


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: its ``code``, what it says in ``words``, what a fixed file has ``changed``, and the
    ``option`` that does the same without one, "" where there is none."""

    code: str
    words: str
    changed: str
    transform: Transform
    option: str = ""

    def hypothesis(self) -> Hypothesis:
        """For the trial."""
        return Hypothesis(self.code, (self.transform,))

    def applied(self, particles: Particles) -> Particles:
        """The particles so read."""
        poses, optics = self.transform(particles.poses, particles.optics)
        return replace(particles, poses=poses, optics=optics)


def _shifts(poses: Poses, shifts: torch.Tensor) -> Poses:
    return Poses(poses.rotations, shifts)


def shifts_negated(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Shifts of the opposite sign."""
    return _shifts(poses, -poses.shifts), optics


def shifts_swapped(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """x for y and y for x."""
    return _shifts(poses, poses.shifts.flip(1)), optics


def shifts_from_pixels(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """What was read as Angstrom was written in pixels."""
    return _shifts(poses, poses.shifts * optics.of_group("pixel_size")[:, None]), optics


def shifts_from_angstrom(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """What was read as pixels was written in Angstrom."""
    return _shifts(poses, poses.shifts / optics.of_group("pixel_size")[:, None]), optics


def shifts_ignored(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """No shifts: the images are centred already."""
    return _shifts(poses, torch.zeros_like(poses.shifts)), optics


def poses_transposed(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The inverse rotations."""
    return Poses(poses.rotations.transpose(1, 2).contiguous(), poses.shifts), optics


def dealt_out(seed: int) -> Hypothesis:
    """Every image gets another's rotation: the control that rotations say anything."""

    def deal(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
        order = torch.randperm(len(poses), generator=torch.Generator().manual_seed(seed))
        return Poses(poses.rotations[order], poses.shifts), optics

    return Hypothesis("dealt out", (deal,))


def images_flipped(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images are stored upside down, as programs do that count rows from below.

    ``I(x, -y)`` is the projection along the same line from behind: rows y and z of the rotation, the
    shift in y and the angle of astigmatism change their signs. The hand stays.
    """
    turned = poses.rotations * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)[:, None]
    shifts = poses.shifts * torch.tensor([1.0, -1.0], dtype=torch.float64)
    return Poses(turned, shifts), replace(optics, defocus_angle=-optics.defocus_angle)


def angles_from_radian(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """What was read as degrees was written in radian."""
    angles = np.rad2deg(euler_from_rotations(poses.rotations.numpy()))
    return Poses(torch.from_numpy(rotations_from_euler(angles)), poses.shifts), optics


def _defocus(optics: Optics, factor: float) -> Optics:
    u, v = optics.defocus_u * factor, optics.defocus_v * factor
    return replace(optics, defocus_u=u, defocus_v=v)


def defocus_negated(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Underfocus for overfocus."""
    return poses, _defocus(optics, -1.0)


def defocus_from_micrometre(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Micrometres for Angstrom."""
    return poses, _defocus(optics, 1e4)


def defocus_angle_negated(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The angle of astigmatism counted the other way round."""
    return poses, replace(optics, defocus_angle=-optics.defocus_angle)


def defocus_angle_from_radian(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Radian for degrees."""
    return poses, replace(optics, defocus_angle=optics.defocus_angle * math.degrees(1.0))


def phase_shift_from_radian(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Radian for degrees."""
    return poses, replace(optics, phase_shift=optics.phase_shift * math.degrees(1.0))


def _groups(optics: Optics, **changed: object) -> Optics:
    groups = tuple(replace(g, **changed) for g in optics.groups)  # type: ignore[arg-type]
    return replace(optics, groups=groups)


def without_ctf(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The CTF is 1 everywhere: the images are corrected already."""
    zero = torch.zeros_like(optics.defocus_u)
    plain = _groups(
        optics, spherical_aberration=0.0, amplitude_contrast=1.0, odd=(), even=(), processing="none"
    )
    columns = {"defocus_u": zero, "defocus_v": zero, "phase_shift": zero, "b_factor": zero}
    return poses, replace(plain, **columns)


def phase_flipped(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images have had the signs of their CTF corrected."""
    return poses, _groups(optics, processing="phase-flipped")


def not_processed(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """The images are as they were recorded, whatever the table says."""
    return poses, _groups(optics, processing="none")


def odd_negated(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Beam tilt, trefoil and other odd aberrations of the opposite sign."""
    groups = tuple(replace(g, odd=tuple(-c for c in g.odd)) for g in optics.groups)
    return poses, replace(optics, groups=groups)


def even_negated(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """Even aberrations of the opposite sign."""
    groups = tuple(replace(g, even=tuple(-c for c in g.even)) for g in optics.groups)
    return poses, replace(optics, groups=groups)


def without_aberrations(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """No odd or even aberrations."""
    return poses, _groups(optics, odd=(), even=())


def without_stretch(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
    """No anisotropic magnification."""
    return poses, _groups(optics, magnification=ISOTROPIC)


OVERFOCUS = Reading("defocus-negative", "defocus of the opposite sign",
                    "defocus has the opposite sign", defocus_negated)  # fmt: skip
"""Where the images have nothing to say on it."""
_DEGREES = "are turned from radian into degrees"
BY_TABLE = {
    reading.code: reading
    for reading in (
        Reading("angles-radian", "angles in radian", f"angles {_DEGREES}", angles_from_radian),
        Reading("defocus-micrometre", "defocus in micrometres",
                "defocus is turned from micrometres into Angstrom", defocus_from_micrometre),
        OVERFOCUS,
        Reading("defocus-angle-radian", "defocus angles in radian", f"defocus angles {_DEGREES}",
                defocus_angle_from_radian),
        Reading("phase-shift-radian", "phase shifts in radian", f"phase shifts {_DEGREES}",
                phase_shift_from_radian),
    )
}  # fmt: skip
"""What the values in a table give away by themselves: corrected before the trial, but for the sign
of the defocus, on which the images may speak."""


def readings(particles: Particles) -> list[Reading]:
    """All readings that could differ from the table as it stands, for these particles."""
    return [
        *_of_shifts(particles), *_of_rotations(particles), *_of_ctf(particles),
        *_of_aberrations(particles), *_of_groups(particles),
    ]  # fmt: skip


def _of_shifts(particles: Particles) -> Iterator[Reading]:
    if not particles.poses.shifts.any():
        return
    yield Reading("shifts-negated", "shifts of the opposite sign",
                  "shifts have the opposite sign", shifts_negated)  # fmt: skip
    yield Reading("shifts-swapped", "shifts with x and y exchanged",
                  "shifts in x and y are exchanged", shifts_swapped)  # fmt: skip
    if abs(particles.pixel_size - 1.0) > SAME_PIXEL:
        yield Reading("shifts-pixels", "shifts in pixels, not Angstrom",
                      "shifts are turned from pixels into Angstrom", shifts_from_pixels)  # fmt: skip
        yield Reading("shifts-angstrom", "shifts in Angstrom, not pixels",
                      "shifts are divided by the pixel size", shifts_from_angstrom)  # fmt: skip
    yield Reading("shifts-ignored", "no shifts: centred images",
                  "shifts are set to zero", shifts_ignored)  # fmt: skip


def _of_rotations(particles: Particles) -> Iterator[Reading]:
    yield Reading("poses-transposed", "inverse rotations", "rotations are inverted",
                  poses_transposed)  # fmt: skip
    yield Reading("images-flipped", "images stored upside down",
                  "poses, shifts and astigmatism are those of images upside down",
                  images_flipped)  # fmt: skip


def _of_ctf(particles: Particles) -> Iterator[Reading]:
    optics = particles.optics
    if not optics.defocus_u.any():
        return
    yield Reading("defocus-negated", "defocus of the opposite sign",
                  "defocus has the opposite sign", defocus_negated)  # fmt: skip
    if bool(((optics.defocus_u - optics.defocus_v).abs() > 1.0).any()):
        yield Reading("defocus-angle-negated", "angle of astigmatism of the opposite sign",
                      "defocus angles have the opposite sign", defocus_angle_negated)  # fmt: skip
    yield Reading("ctf-none", "no CTF: images corrected for it already",
                  "", without_ctf, "--ctf none")  # fmt: skip
    if all(g.processing == "none" for g in optics.groups):
        yield Reading("ctf-phase-flipped", "phase-flipped images",
                      "the images are said to be phase-flipped", phase_flipped)  # fmt: skip
    elif all(g.processing == "phase-flipped" for g in optics.groups):
        yield Reading("ctf-not-processed", "images as recorded, not processed by their CTF",
                      "the images are said to be as recorded", not_processed)  # fmt: skip


def _of_aberrations(particles: Particles) -> Iterator[Reading]:
    groups = particles.optics.groups
    odd, even = any(any(g.odd) for g in groups), any(any(g.even) for g in groups)
    if odd:
        yield Reading("odd-aberrations-negated", "beam tilt and odd aberrations of the opposite sign",
                      "odd aberrations have the opposite sign", odd_negated)  # fmt: skip
    if even:
        yield Reading("even-aberrations-negated", "even aberrations of the opposite sign",
                      "even aberrations have the opposite sign", even_negated)  # fmt: skip
    if odd or even:
        yield Reading("aberrations-removed", "no aberrations: corrected already",
                      "aberrations are removed", without_aberrations)  # fmt: skip
    if any(g.magnification != ISOTROPIC for g in groups):
        yield Reading("magnification-removed", "no anisotropic magnification: corrected already",
                      "anisotropic magnification is removed", without_stretch)  # fmt: skip


def _of_groups(particles: Particles) -> Iterator[Reading]:
    optics = particles.optics
    counts = torch.bincount(optics.group, minlength=len(optics.groups))
    present = counts.argsort(descending=True)[:MOST_GROUPS]
    members = [int(g) for g in present if 0.02 * len(optics) < counts[g] < len(optics)]
    # of two groups, that one is dark says the same as that the other one is
    for group in members[1:]:
        name = optics.groups[group].name

        def inverted(poses: Poses, optics: Optics, group: int = group) -> tuple[Poses, Optics]:
            sign = torch.where(optics.group == group, -1.0, 1.0).to(optics.scale)
            return poses, replace(optics, scale=optics.scale * sign)

        yield Reading(f"contrast-of-{name}", f"contrast of {name} inverted against the others",
                      f"the CTF of {name} has the opposite sign", inverted)  # fmt: skip

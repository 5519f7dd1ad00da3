"""Other readings of a table: what programs and people mix up, as transforms of poses and optics.

Each is a hypothesis that the images can judge, and the correction where they prefer it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ..optics import ISOTROPIC, Optics, ctf
from ..particles import Particles
from ..poses import Poses
from .hypotheses import BOX, Hypothesis, Transform
from .transforms import (
    angles_from_radian,
    defocus_angle_from_radian,
    defocus_angle_negated,
    defocus_exchanged,
    defocus_from_micrometre,
    defocus_negated,
    even_negated,
    images_flipped,
    images_transposed,
    not_processed,
    odd_negated,
    phase_flipped,
    phase_shift_from_radian,
    poses_transposed,
    premultiplied,
    psi_negated,
    rot_and_psi_exchanged,
    shifts_from_angstrom,
    shifts_from_pixels,
    shifts_ignored,
    shifts_negated,
    shifts_negated_along,
    shifts_swapped,
    without_aberrations,
    without_ctf,
    without_stretch,
)

SAME_PIXEL = 0.05  # Angstrom and pixels that differ by less are not told apart
MOST_GROUPS = 4  # whose contrast is tried one by one
IGNORED = "shifts-ignored"
SAMPLED, ALIKE = 500, 0.7  # CTFs that are looked at; share of their power that all have in common


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
BY_IMAGES = {
    reading.code: reading
    for reading in (
        Reading("ctf-premultiplied", "images multiplied by their CTF",
                "the images are said to be multiplied by their CTF", premultiplied),
        Reading("ctf-not-premultiplied", "images as recorded, not multiplied by their CTF",
                "the images are said to be as recorded", not_processed),
    )
}  # fmt: skip
"""What the noise of the images gives away, corrected before anything else is asked of them."""


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
    for axis, name in enumerate("xy"):
        if bool((particles.poses.shifts != 0.0).any(0).all()):
            yield Reading(f"shifts-negated-{name}", f"shifts in {name} of the opposite sign",
                          f"shifts in {name} have the opposite sign",
                          shifts_negated_along(axis))  # fmt: skip
    yield Reading("shifts-swapped", "shifts with x and y exchanged",
                  "shifts in x and y are exchanged", shifts_swapped)  # fmt: skip
    if abs(particles.pixel_size - 1.0) > SAME_PIXEL:
        yield Reading("shifts-pixels", "shifts in pixels, not Angstrom",
                      "shifts are turned from pixels into Angstrom", shifts_from_pixels)  # fmt: skip
        yield Reading("shifts-angstrom", "shifts in Angstrom, not pixels",
                      "shifts are divided by the pixel size", shifts_from_angstrom)  # fmt: skip
    yield Reading(IGNORED, "no shifts: centred images", "shifts are set to zero", shifts_ignored)


def _of_rotations(particles: Particles) -> Iterator[Reading]:
    yield Reading("poses-transposed", "inverse rotations", "rotations are inverted",
                  poses_transposed)  # fmt: skip
    yield Reading("images-flipped", "images stored upside down",
                  "poses, shifts and astigmatism are those of images upside down",
                  images_flipped)  # fmt: skip
    yield Reading("images-transposed", "images stored with x and y exchanged",
                  "poses, shifts and astigmatism are those of images with x and y exchanged",
                  images_transposed)  # fmt: skip
    yield Reading("psi-negated", "psi of the opposite sign", "psi has the opposite sign",
                  psi_negated)  # fmt: skip
    yield Reading("rot-psi-exchanged", "rot and psi exchanged", "rot and psi are exchanged",
                  rot_and_psi_exchanged)  # fmt: skip


def _of_ctf(particles: Particles) -> Iterator[Reading]:
    optics = particles.optics
    if not optics.defocus_u.any():
        return
    yield Reading("defocus-negated", "defocus of the opposite sign",
                  "defocus has the opposite sign", defocus_negated)  # fmt: skip
    if bool(((optics.defocus_u - optics.defocus_v).abs() > 1.0).any()):
        yield Reading("defocus-angle-negated", "angle of astigmatism of the opposite sign",
                      "defocus angles have the opposite sign", defocus_angle_negated)  # fmt: skip
        yield Reading("defocus-exchanged", "defocus u and v exchanged",
                      "defocus angles are turned by 90 degrees", defocus_exchanged)  # fmt: skip
    if _alike(particles):
        return
    yield Reading("ctf-none", "no CTF: images corrected for it already",
                  "", without_ctf, "--ctf none")  # fmt: skip
    if all(g.processing == "none" for g in optics.groups):
        yield Reading("ctf-phase-flipped", "phase-flipped images",
                      "the images are said to be phase-flipped", phase_flipped)  # fmt: skip
    elif all(g.processing == "phase-flipped" for g in optics.groups):
        yield Reading("ctf-not-processed", "images as recorded, not processed by their CTF",
                      "the images are said to be as recorded", not_processed)  # fmt: skip


def _alike(particles: Particles) -> bool:
    """Whether all images have nearly one CTF as far as the trial sees: their map takes it in, and
    nothing tells whether they were corrected for it."""
    rows = torch.linspace(0, len(particles) - 1, min(len(particles), SAMPLED)).round().long()
    side = particles.box_size * particles.pixel_size
    shells = torch.arange(1, min(BOX, particles.box_size) // 2, dtype=torch.float64)
    values = ctf(particles.optics.select(rows), torch.stack([shells, 0.0 * shells], -1) / side)
    common, own = values.mean(0).square(), values.square().mean(0)
    return float((shells * common).sum()) > ALIKE * float((shells * own).sum())


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

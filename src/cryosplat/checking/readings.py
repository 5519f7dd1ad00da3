"""Other readings of a table: common mistakes, as transforms of poses and optics.

Each is a hypothesis that the images can test, and the correction if they prefer it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..optics import ISOTROPIC, ctf
from ..particles import Particles
from . import transforms
from .hypotheses import BOX, Hypothesis, Transform

SAME_PIXEL = 0.05  # Angstrom and pixels that differ by less are not distinguished
MOST_GROUPS = 4  # whose polarity is tested one by one
IGNORED = "shifts-ignored"
SAMPLE, COMMON = 500, 0.7  # CTFs that are compared; share of power in their mean, to count as one


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: its ``code``, what it assumes in ``text``, the ``correction`` that a fixed file
    contains, and the ``option`` that does the same without a file, "" if there is none."""

    code: str
    text: str
    correction: str
    transform: Transform
    option: str = ""

    def hypothesis(self) -> Hypothesis:
        """For the trial."""
        return Hypothesis(self.code, (self.transform,))

    def apply(self, particles: Particles) -> Particles:
        """The particles read this way."""
        poses, optics = self.transform(particles.poses, particles.optics)
        return replace(particles, poses=poses, optics=optics)


OVERFOCUS = Reading("defocus-negative", "defocus of the opposite sign", "defocus sign reversed",
                    transforms.scale_defocus(-1.0))  # fmt: skip
"""Applied where the images cannot decide."""
BY_TABLE = {
    reading.code: reading
    for reading in (
        Reading("angles-radian", "angles in radian", "angles converted from radian to degrees",
                transforms.of_angles(np.rad2deg)),
        Reading("defocus-micrometre", "defocus in micrometres",
                "defocus converted from micrometres to Angstrom",
                transforms.scale_defocus(1e4)),
        OVERFOCUS,
        Reading("defocus-angle-radian", "defocus angles in radian",
                "defocus angles converted from radian to degrees",
                transforms.from_radian("defocus_angle")),
        Reading("phase-shift-radian", "phase shifts in radian",
                "phase shifts converted from radian to degrees",
                transforms.from_radian("phase_shift")),
    )
}  # fmt: skip
"""Faults visible in the values of the table: corrected before the trial, except the sign of the
defocus, which the images may decide."""
BY_IMAGES = {
    reading.code: reading
    for reading in (
        Reading("ctf-premultiplied", "images multiplied by their CTF",
                "images marked as multiplied by their CTF", transforms.mark("premultiplied")),
        Reading("ctf-not-premultiplied", "images as recorded, not multiplied by their CTF",
                "images marked as recorded", transforms.mark("none")),
    )
}  # fmt: skip
"""Faults visible in the noise of the images: corrected before the trial."""


def readings(particles: Particles) -> list[Reading]:
    """All readings that could differ from the table as it stands, for these particles."""
    return [
        *_of_shifts(particles), *_of_rotations(particles), *_of_ctf(particles),
        *_of_aberrations(particles), *_of_groups(particles),
    ]  # fmt: skip


def _of_shifts(particles: Particles) -> Iterator[Reading]:
    if not particles.poses.shifts.any():
        return
    yield Reading("shifts-negated", "shifts of the opposite sign", "sign of the shifts reversed",
                  transforms.negate_shifts)  # fmt: skip
    if bool((particles.poses.shifts != 0.0).any(0).all()):
        yield Reading("shifts-negated-x", "shifts in x of the opposite sign",
                      "sign of the shifts in x reversed",
                      transforms.scale_shifts(-1.0, 1.0))  # fmt: skip
        yield Reading("shifts-negated-y", "shifts in y of the opposite sign",
                      "sign of the shifts in y reversed",
                      transforms.scale_shifts(1.0, -1.0))  # fmt: skip
    yield Reading("shifts-swapped", "shifts with x and y exchanged",
                  "shifts in x and y exchanged", transforms.of_shifts(lambda s: s.flip(1)))  # fmt: skip
    if abs(particles.pixel_size - 1.0) > SAME_PIXEL:
        yield Reading("shifts-pixels", "shifts in pixels, not Angstrom",
                      "shifts converted from pixels to Angstrom",
                      transforms.shifts_in_pixels(1))  # fmt: skip
        yield Reading("shifts-angstrom", "shifts in Angstrom, not pixels",
                      "shifts divided by the pixel size", transforms.shifts_in_pixels(-1))  # fmt: skip
    yield Reading(IGNORED, "no shifts: centred images", "shifts set to zero",
                  transforms.of_shifts(torch.zeros_like))  # fmt: skip


def _of_rotations(particles: Particles) -> Iterator[Reading]:
    yield Reading("poses-transposed", "inverse rotations", "rotations inverted",
                  transforms.transpose_rotations)  # fmt: skip
    yield Reading("images-flipped", "images stored upside down",
                  "poses, shifts and astigmatism changed to those of images upside down",
                  transforms.flip_images)  # fmt: skip
    yield Reading("images-transposed", "images stored with x and y exchanged",
                  "poses, shifts and astigmatism changed to those of images with x and y exchanged",
                  transforms.transpose_images)  # fmt: skip
    yield Reading("psi-negated", "psi of the opposite sign", "sign of psi reversed",
                  transforms.of_angles(lambda a: a * np.array([1.0, 1.0, -1.0])))  # fmt: skip
    yield Reading("rot-psi-exchanged", "rot and psi exchanged", "rot and psi exchanged",
                  transforms.of_angles(lambda a: a[:, ::-1].copy()))  # fmt: skip


def _of_ctf(particles: Particles) -> Iterator[Reading]:
    optics = particles.optics
    if not optics.defocus_u.any():
        return
    yield Reading("defocus-negated", "defocus of the opposite sign", "defocus sign reversed",
                  transforms.scale_defocus(-1.0))  # fmt: skip
    if bool(((optics.defocus_u - optics.defocus_v).abs() > 1.0).any()):
        yield Reading("defocus-angle-negated", "angle of astigmatism of the opposite sign",
                      "sign of the defocus angles reversed",
                      transforms.of_optics(lambda o: {"defocus_angle": -o.defocus_angle}))  # fmt: skip
        yield Reading("defocus-exchanged", "defocus u and v exchanged",
                      "defocus angles turned by 90 degrees", transforms.of_optics(
                          lambda o: {"defocus_angle": o.defocus_angle + 0.5 * math.pi}))  # fmt: skip
    if _have_one_ctf(particles):
        return
    yield Reading("ctf-none", "no CTF: images already corrected for it", "",
                  transforms.remove_ctf, "--ctf none")  # fmt: skip
    if all(g.processing == "none" for g in optics.groups):
        yield Reading("ctf-phase-flipped", "phase-flipped images",
                      "images marked as phase-flipped", transforms.mark("phase-flipped"))  # fmt: skip
    elif all(g.processing == "phase-flipped" for g in optics.groups):
        yield Reading("ctf-not-processed", "images as recorded, not processed by their CTF",
                      "images marked as recorded", transforms.mark("none"))  # fmt: skip


def _have_one_ctf(particles: Particles) -> bool:
    """Whether all images have nearly the same CTF at the trial's resolution. The map then absorbs
    it, and whether the images were corrected for it cannot be decided."""
    rows = torch.linspace(0, len(particles) - 1, min(len(particles), SAMPLE)).round().long()
    side = particles.box_size * particles.pixel_size
    shells = torch.arange(1, min(BOX, particles.box_size) // 2, dtype=torch.float64)
    values = ctf(particles.optics.select(rows), torch.stack([shells, 0.0 * shells], -1) / side)
    common, own = values.mean(0).square(), values.square().mean(0)
    return float((shells * common).sum()) > COMMON * float((shells * own).sum())


def _of_aberrations(particles: Particles) -> Iterator[Reading]:
    groups = particles.optics.groups
    odd, even = any(any(g.odd) for g in groups), any(any(g.even) for g in groups)
    if odd:
        yield Reading("odd-aberrations-negated", "beam tilt and odd aberrations of the opposite sign",
                      "sign of the odd aberrations reversed",
                      transforms.negate_aberrations("odd"))  # fmt: skip
    if even:
        yield Reading("even-aberrations-negated", "even aberrations of the opposite sign",
                      "sign of the even aberrations reversed",
                      transforms.negate_aberrations("even"))  # fmt: skip
    if odd or even:
        yield Reading("aberrations-removed", "no aberrations: images already corrected",
                      "aberrations removed",
                      transforms.of_groups(lambda _: {"odd": (), "even": ()}))  # fmt: skip
    if any(g.magnification != ISOTROPIC for g in groups):
        yield Reading("magnification-removed",
                      "no anisotropic magnification: images already corrected",
                      "anisotropic magnification removed",
                      transforms.of_groups(lambda _: {"magnification": ISOTROPIC}))  # fmt: skip


def _of_groups(particles: Particles) -> Iterator[Reading]:
    optics = particles.optics
    counts = torch.bincount(optics.group, minlength=len(optics.groups))
    largest = counts.argsort(descending=True)[:MOST_GROUPS]
    candidates = [int(g) for g in largest if 0.02 * len(optics) < counts[g] < len(optics)]
    # of two groups, one being dark is the same as the other being dark
    for group in candidates[1:]:
        name = optics.groups[group].name
        yield Reading("group-polarity", f"optics group {name} of the opposite contrast",
                      f"sign of the CTF of optics group {name} reversed",
                      transforms.invert_group(group))  # fmt: skip

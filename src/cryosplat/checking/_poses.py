"""Poses and origins: missing, all the same, in another unit, from one side only."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..maps.views import sampling_score
from ..notes import Note
from ..particles import CLASS_COLUMNS, Particles
from ..poses import rotations_from_euler
from .values import Item, describe_rows

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
SAMPLE = 20_000  # poses, where all would take long
ENOUGH = 200  # particles, before their views are judged
EVEN = 0.3
FAR = 0.25  # of the box
FAR_SHARE = 0.01


def pose_items(particles: Particles) -> list[Item]:
    """Items on orientations, origins and classes."""
    return [_orientations(particles), _origins(particles), _classes(particles)]


def own_angles(particles: Particles) -> NDArray[np.float64] | None:
    """The table's Euler angles (n, 3) as they are written, if the poses are derived from them."""
    table = particles.table
    if any(c not in table or not pd.api.types.is_numeric_dtype(table[c]) for c in ANGLES):
        return None
    angles = table[list(ANGLES)].to_numpy(float)
    first = slice(0, 100)
    rotations = rotations_from_euler(np.deg2rad(angles[first]))
    same = np.abs(rotations - particles.poses.rotations[first].numpy()).max() < 1e-6
    return angles if same else None


def _orientations(particles: Particles) -> Item:
    rotations = particles.poses.rotations
    step = max(1, len(rotations) // SAMPLE)
    score = sampling_score(rotations[::step])
    findings = [*_angle_notes(particles, rotations)]
    if not findings and len(particles) >= ENOUGH and score < EVEN:
        findings.append(Note(
            "views-missing", "warning",
            f"The views sample Fourier space unevenly (sampling score {score:.2f} of 1): they come "
            f"from few directions, or from one asymmetric unit of a symmetric particle.",
            "Expect anisotropic resolution; for a symmetric particle set --symmetry.",
        ))  # fmt: skip
    return Item("orientations", f"sampling score {score:.2f} of 1", tuple(findings))


def _angle_notes(particles: Particles, rotations: torch.Tensor) -> Iterator[Note]:
    n = len(particles)
    angles = own_angles(particles)
    if n > 1 and bool((rotations - rotations[0]).abs().max() < 1e-6):
        zero = bool((rotations[0] - torch.eye(3, dtype=rotations.dtype)).abs().max() < 1e-6)
        yield Note(
            "angles-zero" if zero else "angles-equal", "alarm",
            "All angles are zero: the particles were not aligned." if zero else
            "All particles have the same orientation: the angles were not refined.",
            "Use the file of a 3-D refinement, or --poses poses.pkl",
        )  # fmt: skip
        return
    if angles is None:
        return
    if n > 1 and np.abs(angles).max() <= 2.0 * math.pi * 1.001:
        yield Note(
            "angles-radian", "alarm",
            f"No angle exceeds {np.abs(angles).max():.2f} degrees: they are in radian.",
            f"cryosplat check {particles.source} --fix OUT.star converts them to degrees.",
        )  # fmt: skip
        return
    odd = (angles[:, 1] < -1e-6) | (angles[:, 1] > 180.0 + 1e-6)
    if odd.any():
        yield Note(
            "tilt-range", "warning",
            f"rlnAngleTilt is outside 0 to 180 degrees in "
            f"{describe_rows(odd, particles.images.row)} ({angles[:, 1].min():.1f} to "
            f"{angles[:, 1].max():.1f}) and is used as it is. Were the columns of angles exchanged?",
            "Compare rlnAngleRot, rlnAngleTilt and rlnAnglePsi with the refinement's own file.",
        )  # fmt: skip


def _origins(particles: Particles) -> Item:
    shifts = particles.poses.shifts.numpy()
    side = (particles.optics.of_group("pixel_size") * particles.optics.of_group("box_size")).numpy()
    spread = float(np.sqrt(np.mean(np.square(shifts))))
    far = np.abs(shifts).max(1) > FAR * side
    findings = []
    if far.mean() > FAR_SHARE:
        many = far.mean() > 0.5
        findings.append(Note(
            "origins-large", "warning",
            f"Origins are more than a quarter of the box from the centre in "
            f"{describe_rows(far, particles.images.row)} (up to {np.abs(shifts).max():.0f} Å)."
            + (" Are they in another unit?" if many else ""),
            "Re-extract the particles, centred on their origins.",
        ))  # fmt: skip
    text = (
        "all zero" if not shifts.any() else f"{spread:.1f} Å rms, up to {np.abs(shifts).max():.1f}"
    )
    return Item("origins", text, tuple(findings))


def _classes(particles: Particles) -> Item:
    label = next((c for c in CLASS_COLUMNS if c in particles.table), None)
    if label is None:
        return Item("classes", "none in the file")
    classes, counts = np.unique(particles.table[label].to_numpy(), return_counts=True)
    if len(classes) < 2:
        return Item("classes", "one")
    largest = classes[counts.argmax()]
    return Item("classes", f"{len(classes)}", (Note(
        "classes-mixed", "warning",
        f"{label} has {len(classes)} classes, whose poses refer to different maps; the largest is "
        f"{largest} with {counts.max():,} particles.",
        f"--classes {largest}",
    ),))  # fmt: skip

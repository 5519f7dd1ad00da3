"""Particles with larger pixels: images cropped in Fourier space as they are read."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..errors import SettingsError
from ..notes import Note
from ..optics import OpticsGroup
from .values import Particles

SMALLEST_BOX = 16


def downsampled(particles: Particles, box_size: int) -> Particles:
    """The particles with images of ``box_size`` pixels in the same physical box.

    ``box_size`` is that of the optics group with most particles. Groups with another box get, as
    nearly as an even number of pixels allows, its new pixels and none larger; those whose pixels
    are larger already stay as they are. Poses and CTFs are in Angstrom and stay.

    Raises
    ------
    SettingsError
        ``box_size`` is odd, or not between 16 and the images' own.
    """
    stored = particles.box_size
    if box_size % 2 or not SMALLEST_BOX <= box_size <= stored:
        raise SettingsError(
            f"--downsample {box_size}: expected an even number of pixels from {SMALLEST_BOX} to "
            f"{stored}, the images' own box."
        )
    pixel_size = particles.pixel_size * stored / box_size
    boxes = np.unique(particles.images.box_sizes).tolist()
    crops = {box: _crop(box, particles.optics.groups, pixel_size) for box in boxes}
    crops[stored] = box_size
    groups = tuple(
        replace(
            group, box_size=crops.get(group.box_size, group.box_size),
            pixel_size=group.pixel_size * group.box_size / crops.get(group.box_size, group.box_size),
        )
        for group in particles.optics.groups
    )  # fmt: skip
    # what is cropped already is cropped further, and on disk it has its own size
    before = dict(particles.images.crops)
    sides = {stack.shape[0] for stack in particles.images.stacks}
    onto = {side: crops.get(before.get(side, side), before.get(side, side)) for side in sides}
    text = f"Images are downsampled from {stored} to {box_size} pixels as they are read."
    return replace(
        particles,
        images=replace(particles.images, crops=tuple(onto.items())),
        optics=replace(particles.optics, groups=groups),
        notes=(*particles.notes, Note("downsampled", "note", text)),
    )


def _crop(box: int, groups: tuple[OpticsGroup, ...], pixel_size: float) -> int:
    """The smallest even box that gives no group of ``box`` pixels larger ones than ``pixel_size``."""
    sides = [group.pixel_size * box for group in groups if group.box_size == box]
    enough = 2 * math.ceil(0.5 * max(sides, default=0.0) / pixel_size - 1e-6)
    return min(box, max(SMALLEST_BOX, enough))

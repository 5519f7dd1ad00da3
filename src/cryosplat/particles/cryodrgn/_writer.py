"""Writing particles for cryoDRGN: poses.pkl, ctf.pkl, and tables that name their images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...io.atomic import replacing_together
from ...io.pickles import save_pickle
from ...notes import Note
from ...optics import Optics
from ..relion import write_particles
from ..tables import Aberration, in_degrees, largest_turn, stretches
from ..values import Particles
from ._reader import HALF_SETS

POSES, CTF, TABLE, STACKS = "poses.pkl", "ctf.pkl", "particles.star", "particles.txt"
FILES = (POSES, CTF, TABLE, HALF_SETS, STACKS)
"""All that a folder for cryoDRGN may hold."""


def write_cryodrgn(particles: Particles, folder: str | os.PathLike[str]) -> tuple[Note, ...]:
    """Write a folder for cryoDRGN, all of its files or none; returns notes on what it cannot hold.

    ``poses.pkl`` and ``ctf.pkl`` (float32, the formats of cryoDRGN 4) follow the order of the
    particles, and so does ``particles.star``, which names the images and keeps everything else.
    ``halfsets.pkl`` holds the positions of both half-sets, as RECOVAR reads them.
    ``particles.txt`` lists the stacks, where the particles are all their images in order.
    """
    listed = _whole_stacks(particles)
    with replacing_together(Path(folder), FILES) as staged:
        save_pickle(staged(POSES), _poses(particles))
        save_pickle(staged(CTF), _ctf(particles))
        write_particles(particles, staged(TABLE))
        if particles.has_half_sets:
            halves = [torch.nonzero(particles.half_sets == h).squeeze(1).numpy() for h in (1, 2)]
            save_pickle(staged(HALF_SETS), halves)
        if listed is not None:
            staged(STACKS).write_bytes("".join(f"{path}\n" for path in listed).encode())
    return tuple(_losses(particles, listed is not None))


def _poses(particles: Particles) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rotations (n, 3, 3), and translations (n, 2) in fractions of the box."""
    side = particles.images.box_sizes * particles.optics.of_group("pixel_size").numpy()
    fractions = particles.poses.shifts.numpy() / side[:, None]
    return particles.poses.rotations.numpy().astype(np.float32), fractions.astype(np.float32)


def _ctf(particles: Particles) -> NDArray[np.float32]:
    """The nine columns of ``ctf.pkl``, (n, 9)."""
    optics = particles.optics
    columns = [
        particles.images.box_sizes, optics.of_group("pixel_size").numpy(),
        optics.defocus_u.numpy(), optics.defocus_v.numpy(),
        np.rad2deg(optics.defocus_angle.numpy()), optics.of_group("voltage").numpy() / 1e3,
        optics.of_group("spherical_aberration").numpy() / 1e7,
        optics.of_group("amplitude_contrast").numpy(), np.rad2deg(optics.phase_shift.numpy()),
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def _whole_stacks(particles: Particles) -> list[Path] | None:
    """The stacks in order, where the particles are exactly their images; None where they are not."""
    images = particles.images
    order: NDArray[np.int64] = images.stack[np.r_[True, np.diff(images.stack) != 0]]
    counts = [images.stacks[i].n_images for i in order.tolist()]
    if sum(counts) != len(images) or len(np.unique(order)) < len(order):
        return None
    expected = np.concatenate([np.arange(count) for count in counts])
    whole = np.array_equal(images.stack, np.repeat(order, counts))
    if not whole or not np.array_equal(images.section, expected):
        return None
    return [images.stacks[i].path.absolute() for i in order.tolist()]


def _lost_effects(optics: Optics) -> Iterator[Note]:
    """On effects of optics groups that ctf.pkl has no columns for, and their size."""
    groups = [optics.groups[i] for i in torch.unique(optics.group).tolist()]
    turns = [(largest_turn(g, Aberration("", "", g.odd, g.even)), g) for g in groups]
    turn, group = max(turns, key=lambda pair: pair[0])
    if turn > 0.0:
        yield Note(
            "aberration-not-written",
            "note",
            f"ctf.pkl has no columns for aberrations, which change phases by up to "
            f"{in_degrees(turn)} degrees at Nyquist ({2 * group.pixel_size:.3g} A, optics "
            f"group {group.name!r}); particles.star keeps them.",
        )
    far = max(abs(s - 1.0) for g in groups for s in stretches(g.magnification))
    if far > 0.0:
        yield Note(
            "magnification-not-written",
            "note",
            f"ctf.pkl has no columns for anisotropic magnification of up to {100 * far:.2g} %; "
            f"particles.star keeps it.",
        )
    if any(g.processing != "none" for g in groups):
        yield Note(
            "processing-not-written",
            "note",
            "cryoDRGN expects images as recorded, but some of these are premultiplied or "
            "phase-flipped; particles.star says which.",
        )
    if bool((optics.dose > 0.0).any()):
        yield Note(
            "dose-not-written",
            "note",
            f"ctf.pkl has no column for pre-exposure, here up to {float(optics.dose.max()):.3g} "
            f"e/A^2; particles.star keeps it.",
        )


def _losses(particles: Particles, listed: bool) -> Iterator[Note]:
    optics = particles.optics
    side = optics.of_group("pixel_size") * torch.from_numpy(particles.images.box_sizes)
    far = int((particles.poses.shifts.abs().amax(dim=1) > side).sum())
    if far:
        yield Note(
            "origins-beyond-box",
            "note",
            f"{far} particles lie more than a box from their images' centres; cryoDRGN takes such "
            f"translations for pixels and refuses them.",
        )
    if bool((optics.b_factor != 0).any()) or bool((optics.scale != 1).any()):
        text = "ctf.pkl has no columns for B-factors and scales; particles.star keeps them."
        yield Note("scale-not-written", "note", text)
    yield from _lost_effects(optics)
    if len({(g.pixel_size, g.box_size) for g in optics.groups}) > 1:
        text = "cryoDRGN uses the pixel size of the first particle for all of them."
        yield Note("pixel-sizes-not-written", "note", text)
    if particles.images.sign is not None:
        text = "Some images have the opposite contrast, which cryoDRGN cannot represent."
        yield Note("data-signs-not-written", "note", text)
    if not listed:
        yield Note(
            "stacks-not-listed",
            "note",
            "The particles are not all images of their stacks in order, so the pickles belong to "
            "particles.star and to no stack.",
        )

"""Writing particles for cryoDRGN: poses.pkl, ctf.pkl, and what says which images they are of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...io.atomic import replacing_together
from ...io.pickles import save_pickle
from ...optics import Optics
from ..tables.aberrations import Aberration, in_degrees, largest_turn, stretches
from ..values import Particles
from ..writing import write_particles
from .reading import HALF_SETS

POSES, CTF, TABLE, STACKS = "poses.pkl", "ctf.pkl", "particles.star", "particles.txt"
FILES = (POSES, CTF, TABLE, HALF_SETS, STACKS)
"""All that a folder for cryoDRGN may hold."""


def write_cryodrgn(particles: Particles, folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Write a folder for cryoDRGN, all of its files or none; returns what it cannot say, in sentences.

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


def _effects_lost(optics: Optics) -> Iterator[str]:
    """What optics groups hold beside the CTF's own values, and what leaving it out means."""
    groups = [optics.groups[i] for i in torch.unique(optics.group).tolist()]
    turned = [(largest_turn(g, Aberration("", "", g.odd, g.even)), g) for g in groups]
    turn, group = max(turned, key=lambda pair: pair[0])
    if turn > 0.0:
        yield (
            f"ctf.pkl has no columns for aberrations, which turn phases by up to "
            f"{in_degrees(turn)} degrees at Nyquist ({2 * group.pixel_size:.3g} A, optics "
            f"group {group.name!r}); particles.star keeps them."
        )
    far = max(abs(s - 1.0) for g in groups for s in stretches(g.magnification))
    if far > 0.0:
        yield (
            f"ctf.pkl has no columns for anisotropic magnification, which reaches "
            f"{100 * far:.2g} %; particles.star keeps it."
        )
    if any(g.processing != "none" for g in groups):
        yield (
            "cryoDRGN takes images as they were recorded, but some of these were premultiplied "
            "or phase-flipped by their CTF; particles.star says which."
        )
    if bool((optics.dose > 0.0).any()):
        yield (
            f"ctf.pkl has no column for the exposure before an image, up to "
            f"{float(optics.dose.max()):.3g} e/A^2; particles.star keeps it."
        )


def _losses(particles: Particles, listed: bool) -> list[str]:
    optics = particles.optics
    losses = []
    side = optics.of_group("pixel_size") * torch.from_numpy(particles.images.box_sizes)
    far = int((particles.poses.shifts.abs().amax(dim=1) > side).sum())
    if far:
        losses.append(
            f"{far} particles lie further than a box from their images' centres; cryoDRGN takes "
            f"such translations for pixels and refuses them."
        )
    if bool((optics.b_factor != 0).any()) or bool((optics.scale != 1).any()):
        losses.append("ctf.pkl has no columns for B-factors and scales; particles.star keeps them.")
    losses += _effects_lost(optics)
    if len({(g.pixel_size, g.box_size) for g in optics.groups}) > 1:
        losses.append("cryoDRGN takes the pixel size of the first particle for all of them.")
    if particles.images.sign is not None:
        losses.append("cryoDRGN does not know that some images have the other sign of contrast.")
    if not listed:
        losses.append(
            "the particles are not all images of their stacks in order, so the pickles belong to "
            "particles.star and to no stack."
        )
    return losses

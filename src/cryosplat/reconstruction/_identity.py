"""Which images are one particle, and digests that tell one set of particles from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..particles import Particles

LARGEST_UNIT = 1 / 3  # of a half-set that may be held out as one


def held_out_sets(
    particles: Particles, share: float, generator: torch.Generator
) -> tuple[Tensor, list[int]]:
    """The set of every image, and how many are held out of each half-set.

    Sets 0 and 2 are the fitted images of half-sets 1 and 2, sets 1 and 3 their held-out ones. Tilt
    images of one particle, segments of one filament, and rows that show the same image (copies made
    by symmetry expansion) are held out together, or the held-out images would not be unseen.
    """
    sets = torch.zeros(len(particles), dtype=torch.int64)
    held = []
    for half in (1, 2):
        members = (particles.half_sets == half).nonzero().squeeze(1)
        wanted = max(round(share * len(members)), min(len(members) // 3, 50), 1)
        unit = _units(particles, members.numpy())
        order = torch.randperm(int(unit.max()) + 1, generator=generator).numpy()
        before = np.cumsum(np.bincount(unit)[order]) - np.bincount(unit)[order]
        chosen = torch.from_numpy(np.isin(unit, order[before < wanted]))
        sets[members] = 2 * (half - 1) + chosen.long()
        held.append(int(chosen.sum()))
    return sets, held


def _units(particles: Particles, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each of ``members`` belongs to, numbered from 0 in order of first appearance."""
    images = particles.images
    image = images.stack * (int(images.section.max()) + 1) + images.section
    for number in (particles.tilt_particles, particles.filaments, image):
        if number is not None:
            unit = _numbered(number[members])
            if np.bincount(unit).max() <= max(1.0, LARGEST_UNIT * len(members)):
                return unit
    return np.arange(len(members))


def _numbered(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers from 0 in order of first appearance."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def digest_of_half_sets(particles: Particles) -> str:
    """A hash of which image is in which half-set, whatever the order of the rows.

    Images are known by section and name of their stack, without its folder: a table may be written
    again elsewhere.
    """
    names = (str(name).replace("\\", "/") for name in particles.names)
    images = [f"{n.partition('@')[0]}@{n.rpartition('/')[2].rpartition('@')[2]}" for n in names]
    halves = particles.half_sets.tolist()
    return _digest(sorted(f"{i} {h}".encode() for i, h in zip(images, halves, strict=True)))


def digests(particles: Particles) -> dict[str, str]:
    """Hashes of what a fit depends on besides its settings, row by row."""
    optics = particles.optics
    columns = (getattr(optics, f.name) for f in fields(optics) if f.name != "groups")
    return {
        "particles": _digest(str(name).encode() for name in particles.names),
        "poses": _digest(map(_bytes, (particles.poses.rotations, particles.poses.shifts))),
        "optics": _digest([repr(optics.groups).encode(), *map(_bytes, columns)]),
        "half-sets": _digest([_bytes(particles.half_sets)]),
    }


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()

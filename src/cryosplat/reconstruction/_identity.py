"""Digests that tell one set of particles from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields

import torch
from torch import Tensor

from ..particles import Particles

LOOKED_AT = 4  # images


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
        "images": _digest(_bytes(batch.images) for batch in particles.batches(_some(particles))),
    }


def _some(particles: Particles) -> Tensor:
    """Rows of a few images: others may have the same names."""
    return torch.linspace(0, len(particles) - 1, min(LOOKED_AT, len(particles))).long()


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()

"""What statistics are a sum of, as a value that adds, subtracts and scales as they do."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..errors import SettingsError
from ..optics import Optics, OpticsGroup
from ..poses import Poses
from ..symmetry import symmetry_name

PRIME = 2**255 - 19


@dataclass(frozen=True, slots=True)
class Identity:
    """What a `Statistics` is a sum of.

    ``symmetry`` of the map, and ``noise``, the digest of the noise model; None where no images were
    added yet, which goes with anything. ``weight``: the sum of the weights of all images.
    ``inputs``: the sum of ``weight * hash`` modulo a prime over everything that was added, exact for
    every float, so that it obeys the laws of the sum itself: ``A + B`` and ``B + A`` are equal,
    ``A + B - B`` is ``A``, and weight 2 is the image twice.

    The hash of an image (SHA-256) covers its pixels as stored (a CRC-32 of them), its optics and its
    pose; not its position or name in a table. Sums over images (`WeightedImages`) have one hash for
    all that is added together: of their own numbers and rotations.

    Two identities are equal if symmetry, noise model and inputs are; ``weight`` may differ by
    rounding.
    """

    symmetry: str | None = None
    noise: str | None = None
    weight: float = field(default=0.0, compare=False)
    inputs: int = 0

    def __post_init__(self) -> None:
        if self.symmetry is not None:
            object.__setattr__(self, "symmetry", symmetry_name(self.symmetry))
        if not isinstance(self.noise, str | None):
            raise SettingsError(f"Identity: noise is {self.noise!r}, expected a digest or None.")

    @property
    def digest(self) -> str:
        """``inputs`` in hexadecimal digits; all 0 for no images."""
        return f"{self.inputs:064x}"

    def combined(self, other: Identity, sign: int) -> Identity:
        """Of the sum (``sign`` 1) or difference (-1) of statistics.

        Raises `SettingsError` for sums under different symmetries or noise models.
        """
        return Identity(
            _common("symmetries", self.symmetry, other.symmetry),
            _common("noise models", self.noise, other.noise),
            self.weight + sign * other.weight,
            (self.inputs + sign * other.inputs) % PRIME,
        )

    def __mul__(self, factor: float) -> Identity:
        return Identity(
            self.symmetry, self.noise, factor * self.weight, self.inputs * residue(factor) % PRIME
        )


def _common(what: str, a: str | None, b: str | None) -> str | None:
    if a is not None and b is not None and a != b:
        raise SettingsError(
            f"Statistics: cannot combine statistics of different {what}, {a[:12]} and {b[:12]}. "
            f"Remedy: accumulate both with one."
        )
    return b if a is None else a


@lru_cache(maxsize=4096)
def residue(factor: float) -> int:
    """A float, which is ``n / 2^k``, as an integer modulo the prime."""
    numerator, denominator = factor.as_integer_ratio()
    return numerator * pow(denominator, -1, PRIME) % PRIME


def weighted_sum(hashes: Iterable[int], weights: Iterable[float]) -> int:
    """``sum weight * hash`` modulo the prime."""
    return sum(h * residue(w) for h, w in zip(hashes, weights, strict=True)) % PRIME


def entry_hashes(batch: Batch, image: Tensor, poses: Poses) -> list[int]:
    """A number modulo the prime for each of m entries: ``image`` (m,) of a batch, and its pose."""
    pixels = batch.images.contiguous().cpu().numpy()
    groups = np.array([_hash_of_group(group) for group in batch.optics.groups])
    checks = np.array([zlib.crc32(one.data) for one in pixels], np.int64)
    named = np.stack([checks, groups[batch.optics.group.cpu().numpy()]], 1).view(np.float64)
    columns = [f.name for f in fields(Optics) if f.name not in ("groups", "group")]
    optics = torch.stack([getattr(batch.optics, name).double() for name in columns], 1)
    posed = torch.cat([poses.rotations.flatten(1), poses.shifts], 1).double()
    of_image = np.concatenate([named, optics.cpu().numpy()], 1)[image.cpu().numpy()]
    rows = np.concatenate([of_image, posed.cpu().numpy()], 1)
    content, width = rows.tobytes(), rows.shape[1] * rows.itemsize
    return [number_of(content[i : i + width]) for i in range(0, len(content), width)]


def number_of(content: bytes) -> int:
    """A hash of ``content`` modulo the prime."""
    return int.from_bytes(hashlib.sha256(content).digest(), "little") % PRIME


@lru_cache(maxsize=1024)
def _hash_of_group(group: OpticsGroup) -> int:
    values = [getattr(group, f.name) for f in fields(OpticsGroup) if f.name != "name"]
    digest = hashlib.sha256(repr(values).encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)

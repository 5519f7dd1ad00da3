"""A block of images with everything that is known about them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .optics import Optics
from .poses import Poses


@dataclass(frozen=True, slots=True)
class Batch:
    """n images of one box size, their poses and their optics.

    ``index`` (n,) int64: positions in the `Particles` they came from; ``images`` (n, d, d) float32
    as stored, [y, x].
    """

    index: Tensor
    images: Tensor
    poses: Poses
    optics: Optics

    def __len__(self) -> int:
        return self.index.shape[0]

    @property
    def box_size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    def select(self, index: Tensor) -> Batch:
        """The images ``index`` (positions in this batch)."""
        return Batch(
            self.index[index],
            self.images[index],
            self.poses.select(index),
            self.optics.select(index),
        )


def joined(batches: list[Batch]) -> Batch:
    """Batches of one box size, and of the same particles' optics groups, as one."""
    if len(batches) == 1:
        return batches[0]
    columns = [f.name for f in fields(Optics) if f.name != "groups"]
    optics = (torch.cat([getattr(b.optics, c) for b in batches]) for c in columns)
    return Batch(
        torch.cat([b.index for b in batches]),
        torch.cat([b.images for b in batches]),
        Poses(
            torch.cat([b.poses.rotations for b in batches]),
            torch.cat([b.poses.shifts for b in batches]),
        ),
        Optics(batches[0].optics.groups, *optics),
    )

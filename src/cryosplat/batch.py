"""A block of images with everything that is known about them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .arrays import Columns, described, real_tensor
from .errors import SettingsError
from .optics import Optics
from .poses import Poses


@dataclass(frozen=True, slots=True, repr=False)
class Batch(Columns):
    """n images of one box size, their poses and their optics (`Columns`).

    ``index`` (n,) int64: positions in the `Particles` they came from; ``images`` (n, d, d) float32,
    [y, x], as they are stored: changed by their CTF where `OpticsGroup.processing` says so.
    """

    index: Tensor
    images: Tensor
    poses: Poses
    optics: Optics

    def __post_init__(self) -> None:
        n = len(self.index)
        images = real_tensor("Batch", "images", self.images, (n, None, None))
        object.__setattr__(self, "images", images)
        if len(self.poses) != n or len(self.optics) != n:
            raise SettingsError(
                f"Batch: {len(self.poses)} poses and the optics of {len(self.optics)} particles for "
                f"{n} images."
            )

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return described("Batch", f"{len(self):,} images of {self.box_size} px")

    @property
    def box_size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

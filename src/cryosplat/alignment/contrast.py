"""Images whose CTF is yet open: held against a map's slices, frequency by frequency, without a CTF."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import fourier, gridding
from ..arrays import members
from ..batch import Batch
from ..noise import NoiseModel
from ..optics import Optics, image_ctf, image_frequencies, magnified
from .images import ReadyImages
from .template import Template


@dataclass(frozen=True, slots=True)
class OpenImages:
    """n images of one box that were stored as they were recorded; ``ready`` as if they had no CTF,
    with the phases of their aberrations and shifts taken back; ``optics``: what they have, on the
    device of their values."""

    ready: ReadyImages
    optics: Optics

    def __len__(self) -> int:
        return len(self.ready)

    @staticmethod
    def of(batch: Batch, noise: NoiseModel, device: torch.device | str = "cpu") -> OpenImages:
        """The images of a batch at the poses it gives them."""
        transforms = fourier.transform(noise.normalised(batch.to(device)), 2)
        bare = _without_ctf(batch.optics)
        ready = ReadyImages.weighed(transforms, batch.poses, bare, noise)
        return OpenImages(ready, batch.optics.to(device))

    def slices(self, template: Template, stretch: float = 1.0) -> Tensor:
        """Of the map (n, d, d // 2 + 1) complex64, zero beyond the template's limit; of images that
        are magnified by ``stretch`` more."""
        steps, radii = self.ready.steps(template)
        axes = stretch * steps.transpose(1, 2) @ self.ready.poses.rotations[:, :2].double()
        inside = radii * min(1.0, 1.0 / STRETCH)
        where_to = (t.to(template.transform.device) for t in (axes, inside))
        return gridding.slices(template.transform, *where_to, self.ready.box_size)

    def by_group(self) -> Iterator[tuple[Tensor, Optics, Tensor]]:
        """Of each optics group its images' positions, their optics, and its ``M k``
        (d, d // 2 + 1, 2) in 1/Angstrom."""
        for number, rows in members(self.optics.group):
            own = self.optics.select(rows)
            frequencies = image_frequencies(own, self.ready.box_size)
            yield rows, own, magnified(self.optics.groups[number], frequencies)

    def counts(self) -> Tensor:
        """How often each frequency of a half transform counts, (d // 2 + 1,)."""
        return fourier.friedel_counts(self.ready.box_size, self.ready.values.device).float()


STRETCH = 1.002  # of a step that a derivative by magnification takes


def waves(optics: Optics, box: int) -> tuple[Tensor, Tensor]:
    """``E sin gamma`` and ``E cos gamma`` of the CTF, (n, d, d // 2 + 1) float32: it, and its
    derivative by gamma."""
    quarter = replace(optics, phase_shift=optics.phase_shift + 0.5 * math.pi)
    return image_ctf(optics, box), image_ctf(quarter, box)


def _without_ctf(optics: Optics) -> Optics:
    groups = tuple(
        replace(g, spherical_aberration=0.0, amplitude_contrast=1.0, even=(), processing="none")
        for g in optics.groups
    )
    zero = torch.zeros_like(optics.scale)
    return replace(
        optics, groups=groups, defocus_u=zero, defocus_v=zero, phase_shift=zero, b_factor=zero,
        scale=zero + 1.0, dose=zero,
    )  # fmt: skip

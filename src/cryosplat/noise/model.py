"""The noise model: how images become data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..batch import Batch
from ..optics import image_ctf
from .background import background_levels


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """How images become data: background normalisation and noise variance.

    ``variance[g]`` (box // 2 + 1,) float64: ``E |noise transform|^2`` per shell of optics group g,
    for an unnormalised transform (white noise of deviation 1 has ``box^2``); empty for a group that
    has no images. ``normalise``: whether each image is brought to background mean 0, deviation 1.
    ``circles[g]``: radius in pixels where the images of group g fall to half their power, to be blank
    beyond it, 0 for whole ones; () where all are whole.
    """

    variance: tuple[Tensor, ...]
    normalise: bool
    circles: tuple[float, ...] = ()

    @property
    def digest(self) -> str:
        """A hash (SHA-256) of the model; two models are the same if theirs are."""
        content = hashlib.sha256(repr((self.normalise, self.circles)).encode())
        for variance in self.variance:
            content.update(len(variance).to_bytes(8, "little"))
            content.update(variance.double().cpu().numpy().tobytes())
        return content.hexdigest()

    def to(self, device: torch.device | str) -> NoiseModel:
        """The same on a device."""
        return replace(self, variance=tuple(variance.to(device) for variance in self.variance))

    def precision(self, box_size: int) -> Tensor:
        """1 / variance, (g, box_size // 2 + 1) float32; rows of groups with another box are zero."""
        n_shells = box_size // 2 + 1
        none = torch.zeros(n_shells)
        rows = (1.0 / v if len(v) == n_shells else none.to(v) for v in self.variance)
        return torch.stack(list(rows)).float()

    def levels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the background of a batch's images, (n,).

        Of images that are stored multiplied by their CTF: the deviation before, and no mean, as the
        CTF leaves little of one.
        """
        mean, deviation = (torch.zeros(len(batch), device=batch.images.device) for _ in range(2))
        for number in batch.optics.group.unique().tolist():
            rows = (batch.optics.group == number).nonzero().squeeze(1)
            circle = self.circles[number] if self.circles else 0.0
            mean[rows], deviation[rows] = background_levels(batch.images[rows], circle)
            if batch.optics.groups[number].processing == "premultiplied":
                ctf = image_ctf(batch.optics.select(rows), batch.box_size)
                mean[rows] = 0.0
                deviation[rows] /= ctf.square().mean((1, 2)).sqrt().clamp_min(1e-6)
        return mean, deviation

    def normalised(self, batch: Batch) -> Tensor:
        """The images of a batch, their background brought to (0, 1) where it was not."""
        if not self.normalise:
            return batch.images
        mean, deviation = self.levels(batch)
        return (batch.images - mean[:, None, None]) / deviation[:, None, None]

"""The noise model: how images become data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..batch import Batch
from .preparing import Prepared, prepare


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """How images become data: background normalisation and noise variance.

    ``variance[g]`` (box // 2 + 1,) float64: ``E |noise transform|^2`` per shell of optics group g,
    for an unnormalised transform (white noise of deviation 1 has ``box^2``); empty for a group that
    has no images. ``normalise``: whether each image is brought to its own background, as `prepare`
    does. ``circles[g]``: radius in pixels where the images of group g fall to half their power, to be
    blank beyond it, 0 for whole ones; () where all are whole. ``powers[g]``: what the logarithm of the
    mean square of a prepared image of group g usually is, and the width of what is usual; () where
    that is not known.
    """

    variance: tuple[Tensor, ...]
    normalise: bool
    circles: tuple[float, ...] = ()
    powers: tuple[tuple[float, float], ...] = ()

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

    def prepared(self, batch: Batch) -> Prepared:
        """The images of a batch as data, whether the model says `normalise` or not."""
        return prepare(batch, self.circles)

    def normalised(self, batch: Batch) -> Tensor:
        """The images of a batch (n, d, d) as data, as `prepare` has them.

        The images themselves for a model that does not `normalise`.
        """
        return self.prepared(batch).images if self.normalise else batch.images

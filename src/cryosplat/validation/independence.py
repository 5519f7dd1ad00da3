"""Are two half-sets independent? Their images must differ, and so must their noise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .. import fourier
from ..batch import Batch
from ..grid import Grid
from ..maps.fsc import shell_products
from ..maps.mask import soft_mask

ROWS = 4  # of pixels, from the middle of an image: two images of noise never share them
OUTER = 0.5  # share of the Nyquist frequency beyond which noise is compared


@dataclass(slots=True)
class Fingerprints:
    """A short hash of every image that passes, by its position in the particles."""

    prints: dict[int, bytes] = field(default_factory=dict)

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, unchanged."""
        for batch in batches:
            middle = batch.box_size // 2
            rows = batch.images[:, middle - ROWS // 2 : middle + ROWS // 2].numpy()
            for position, pixels in zip(batch.index.tolist(), rows, strict=True):
                data = np.ascontiguousarray(pixels).tobytes()
                self.prints[position] = hashlib.blake2b(data, digest_size=8).digest()
            yield batch

    def share_in_both(self, half_sets: Tensor) -> float:
        """Share of the images of one half-set that the other half-set holds too, pixel by pixel.

        ``half_sets`` (n,) in {1, 2}; the larger of the two shares.
        """
        found: tuple[list[bytes], list[bytes]] = ([], [])
        for position, one in self.prints.items():
            found[int(half_sets[position]) - 1].append(one)
        sets = set(found[0]), set(found[1])
        shares = [
            sum(one in sets[1 - i] for one in found[i]) / len(found[i])
            for i in (0, 1) if found[i]
        ]  # fmt: skip
        return max(shares, default=0.0)


@dataclass(frozen=True, slots=True)
class NoiseCorrelation:
    """``value``: 0 on average for independent half-sets, with the standard ``deviation`` of chance;
    the share of particles where these have some in common."""

    value: float
    deviation: float


def noise_correlation(left1: Tensor, left2: Tensor, volume: Tensor, grid: Grid) -> NoiseCorrelation:
    """Correlation of what two half-sets' maps leave over, where only noise is: far from the molecule.

    ``left1``, ``left2`` (d, d, d): the residual ``b - K * V`` of each half-set's statistics with its
    own map V. Without it the molecule's fringes, which defocus spreads over the whole box, would
    correlate, in a tight box more than noise could.

    Over the shells beyond half of the Nyquist frequency, in the corners of the box, where hardly any
    fringe of a molecule larger than its map gets to, outside the mask around the one in ``volume``.
    Products of coefficients a, b of independent noise have the variance
    ``|a|^2 |b|^2 / 2``; the window correlates neighbours, and leaves as many independent ones as its
    share of the box.
    """
    corners = 2.0 * fourier.distances((grid.box_size,) * 3) >= grid.box_size
    window = (1.0 - soft_mask(volume, grid)) * corners
    a, b = (fourier.transform(v.double() * window, 3) for v in (left1, left2))
    first = round(OUTER * (grid.n_shells - 1))
    norm = (shell_products(a, a) * shell_products(b, b)).sqrt()[first:]
    counts = fourier.shell_sums(torch.ones_like(a.real))[first:]
    weights = torch.where(norm > 0, counts / norm.clamp_min(1e-300), 0.0) / counts.sum()
    power = fourier.shell_sums(a.abs().square() * b.abs().square())[first:]
    squared = window.double().square()
    share = float(squared.sum() ** 2 / squared.square().sum().clamp_min(1e-30)) / window.numel()
    variance = 0.5 * float((weights.square() * power).sum()) / max(share, 1e-30)
    return NoiseCorrelation(float((shell_products(a, b)[first:] * weights).sum()), variance**0.5)

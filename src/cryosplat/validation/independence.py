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
from ..maps.mask import named_masks

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


def noise_correlation(half1: Tensor, half2: Tensor, volume: Tensor, grid: Grid) -> float:
    """Correlation of two half-sets' voxel maps where only noise is: far from the molecule.

    Over the shells beyond half of the Nyquist frequency, outside the loose mask around the molecule
    in ``volume`` and inside the sphere that the box holds. Near 0 for independent half-sets; the
    share of particles where they have some in common.
    """
    inside = 2.0 * fourier.distances((grid.box_size,) * 3) < grid.box_size
    window = (1.0 - named_masks(volume, grid)["loose"]) * inside
    if float(window.sum()) < 0.05 * float(inside.sum()):
        window = (1.0 - named_masks(volume, grid)["tight"]) * inside
    a, b = (fourier.transform(v.double() * window, 3) for v in (half1, half2))
    first = round(OUTER * (grid.n_shells - 1))
    power = (shell_products(a, a) * shell_products(b, b)).sqrt()[first:]
    weights = torch.where(power > 0, 1.0 / power.clamp_min(1e-300), 0.0)
    counts = fourier.shell_sums(torch.ones_like(a.real))[first:]
    return float((shell_products(a, b)[first:] * weights * counts).sum() / counts.sum())

"""Pixels that no lens has made: hits of X-rays, dead columns, and what a file was damaged by.

An image is smooth on the scale of a pixel or two, bright particles included, and its noise is nearly
normal. A pixel that stands out of the image and of its own neighbourhood is neither.
"""

from __future__ import annotations

import torch
from torch import Tensor

OUTLYING = 7.0  # deviations of the image: one normal pixel in 4e11
REACH = 2  # pixels: neighbourhoods of 5 x 5, in which a dead column is a minority
SAMPLED = 1024  # pixels that a robust deviation is taken from
LEAST = 0.1  # of the deviation of all pixels: images without noise have a robust one of zero
MODERATE = 0.99  # share of pixels that are not extreme
NORMAL = 1.4826  # deviation of a normal variable over its median absolute one


def without_outlying(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, d, d) with outlying pixels replaced by the median around them; how many, (n,).

    The images themselves where nothing stands out.
    """
    n, d = len(images), images.shape[-1]
    counts = torch.zeros(n, dtype=torch.int64, device=images.device)
    if d < 2 * REACH + 1:
        return images, counts
    flat = images.reshape(n, -1)
    centre, scale = _robust(flat[:, :: _stride(d)])
    low, high = flat.aminmax(dim=1)
    reach = OUTLYING * scale
    suspects = ((high - centre > reach) | (centre - low > reach)).nonzero().squeeze(1)
    if not len(suspects):
        return images, counts
    scale = torch.maximum(scale[suspects], LEAST * _moderate_deviation(images[suspects]))
    beyond = (images[suspects] - centre[suspects, None, None]).abs()
    place, y, x = (beyond > OUTLYING * scale[:, None, None]).nonzero(as_tuple=True)
    offsets = torch.arange(-REACH, REACH + 1, device=images.device)
    rows = _reflected(y[:, None] + offsets, d)[:, :, None]
    columns = _reflected(x[:, None] + offsets, d)[:, None, :]
    around = images[suspects[place][:, None, None], rows, columns].flatten(1)
    middle, spread = _robust(around)
    own = images[suspects[place], y, x]
    out = (own - middle).abs() > OUTLYING * torch.maximum(spread, scale[place])
    if not bool(out.any()):
        return images, counts
    where = suspects[place[out]]
    images = images.clone()
    images[where, y[out], x[out]] = middle[out]
    return images, torch.bincount(where, minlength=n)


def _moderate_deviation(images: Tensor) -> Tensor:
    """Deviation of all pixels but the extreme ones of each image, (n,)."""
    flat = images.flatten(1)
    keep = int(MODERATE * flat.shape[1])
    kept = flat.sort(dim=1).values[:, (flat.shape[1] - keep) // 2 :][:, :keep]
    return kept.std(1)


def _robust(values: Tensor) -> tuple[Tensor, Tensor]:
    """Median and robust deviation along the second axis."""
    middle = values.median(1).values
    return middle, NORMAL * (values - middle[:, None]).abs().median(1).values


def _stride(d: int) -> int:
    """Odd steps through the pixels of an image, of which there are `SAMPLED` or more."""
    return (max(2, d * d // SAMPLED) - 2) | 1


def _reflected(index: Tensor, d: int) -> Tensor:
    index = index.abs()
    return torch.where(index > d - 1, 2 * (d - 1) - index, index)

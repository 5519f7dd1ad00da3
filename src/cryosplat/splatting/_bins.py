"""Which Gaussians reach which part of an image or map: lists per bin, made on the device.

A bin is a tile of an image or a brick of a map, numbered ``(z * bins_y + y) * bins_x + x``; the z
of a tile is its image. The lists are sorted by bin and, within one, by Gaussian, so that a sum
over a list has one order and a result is the same bit for bit in every run on a device.
"""

# Triton's types know neither launch options nor numbers in place of constexpr and pointers
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LANES = 128
ENTRIES_AT_ONCE = 1 << 26  # some 50 bytes each while they are sorted: 3 GB


@triton.jit
def span(centre, reach, side, held, SIZE: tl.constexpr):
    """Bins of SIZE that [centre - reach, centre + reach] meets along one axis: first, number."""
    low = tl.ceil(tl.maximum(centre - reach, 0.0))
    high = tl.floor(tl.minimum(centre + reach, side - 1.0))
    meets = held & (low <= high)
    first = tl.where(meets, low, 0.0).to(tl.int32) // SIZE
    last = tl.where(meets, high, 0.0).to(tl.int32) // SIZE
    return first, tl.where(meets, last - first + 1, 0)


@triton.jit
def _fill(first, extent, ends, keys, owners, number, bins_x, bins_y, LANES: tl.constexpr):
    """Each Gaussian writes its bins and its own index where its part of the list begins."""
    g = tl.program_id(0) * LANES + tl.arange(0, LANES)
    held = g < number
    x = tl.load(first + 3 * g, mask=held, other=0)
    y = tl.load(first + 3 * g + 1, mask=held, other=0)
    z = tl.load(first + 3 * g + 2, mask=held, other=0)
    wide = tl.load(extent + 3 * g, mask=held, other=0)
    high = tl.load(extent + 3 * g + 1, mask=held, other=0)
    count = wide * high * tl.load(extent + 3 * g + 2, mask=held, other=0)
    start = tl.load(ends + g, mask=held, other=0) - count
    wide = tl.maximum(wide, 1)
    high = tl.maximum(high, 1)
    for j in range(0, tl.max(count, 0)):
        line = j // wide
        key = ((z + line // high) * bins_y + y + line % high) * bins_x + x + j % wide
        tl.store(keys + start + j, key, mask=j < count)
        tl.store(owners + start + j, g, mask=j < count)


def count(extent: Tensor) -> Tensor:
    """How many bins each box of ``extent`` (m, 3) holds, (m,) int32."""
    return extent[:, 0] * extent[:, 1] * extent[:, 2]


def lists(
    first: Tensor, extent: Tensor, entries: int, bins: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Gaussians per bin, from boxes of bins: ``first`` and ``extent`` (m, 3) int32 as (x, y, z).

    ``entries`` is the sum of `count`, below 2^31; ``bins`` the number of bins along (z, y, x), with
    boxes relative to the first. Returns ``starts`` (bins + 1,) and ``owners`` (entries,), int32:
    bin b is reached by the Gaussians ``owners[starts[b] : starts[b + 1]]``.
    """
    m = first.shape[0]
    keys, owners = first.new_empty(entries), first.new_empty(entries)
    if entries:
        ends = count(extent).cumsum(0, dtype=torch.int32)
        _fill[(triton.cdiv(m, LANES),)](
            first, extent, ends, keys, owners, m, bins[2], bins[1], LANES=LANES
        )
        keys, order = torch.sort(keys, stable=True)
        owners = owners[order]
    edges = torch.arange(bins[0] * bins[1] * bins[2] + 1, dtype=torch.int32, device=first.device)
    return torch.searchsorted(keys, edges, out_int32=True), owners


def chunks(entries: list[int], limit: int = ENTRIES_AT_ONCE) -> list[tuple[int, int]]:
    """Runs [i, j) of images whose entries sum to at most ``limit``, or of a single image."""
    runs: list[tuple[int, int]] = []
    begin, held = 0, 0
    for i, more in enumerate(entries):
        if i > begin and held + more > limit:
            runs.append((begin, i))
            begin, held = i, 0
        held += more
    return [*runs, (begin, len(entries))] if entries else runs

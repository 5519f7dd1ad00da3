"""From maps to the padded transforms that slices are taken of, and which slices fit into them."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import fourier
from ._kernel import kernel_transform


def correction(offsets: Tensor, period: int) -> Tensor:
    """One over the kernel's transform, float64, at ``offsets`` (m,) in voxels from the centre.

    What a real array of ``period`` voxels is multiplied by along each axis: a map before its
    transform is sliced, or what a spread grid transforms to.
    """
    return torch.from_numpy(1.0 / kernel_transform(offsets.cpu().numpy(), period)).to(
        offsets.device
    )


def padded_transform(volume: Tensor) -> Tensor:
    """The half grid (2d, 2d, d + 1) whose slices are those of a map (d, d, d), ``[z, y, x]``.

    The phase origin is the rotation centre, voxel ``d // 2``. Differentiable.
    """
    d = len(volume)
    offsets = torch.arange(d, device=volume.device) - d // 2
    factor = correction(offsets, 2 * d).to(volume.dtype)
    whole = volume.new_zeros((2 * d,) * 3)
    at = offsets % (2 * d)
    filled = volume * factor[:, None, None] * factor[:, None] * factor
    whole = whole.index_put((at[:, None, None], at[:, None], at), filled)
    return fourier.transform(whole, 3)


def band(steps: Tensor, box_size: int, period: int) -> Tensor:
    """The radii (n,), at most ``box_size / 2``, within which the points of half planes are in a grid.

    That is within half the ``period`` of the origin, for ``steps`` (n, 2, 3) in cells; a little
    beyond, so that rounding leaves no frequency out.
    """
    u, v = steps.detach().double().unbind(1)
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    longest = (0.5 * (uu + vv + torch.hypot(uu - vv, 2.0 * uv))).sqrt()
    return (0.5 * period / longest * (1.0 + 1e-9)).clamp_max(0.5 * box_size)

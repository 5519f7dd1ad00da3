"""Central slices at the few frequencies that are compared: trilinear, of a padded transform."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from .. import fourier

F32 = np.float32


def transform_of(volume: Tensor, padding: int) -> Tensor:
    """The half transform of a map (d, d, d) padded to ``padding * d``, complex64, ready to be sliced.

    Trilinear interpolation multiplies the map by ``sinc^2`` along each axis, which is divided out.
    """
    d = len(volume)
    period = padding * d
    device = volume.device
    x = (torch.arange(d, device=device) - d // 2).double() / period
    factor = torch.special.sinc(x).square().reciprocal().float()
    filled = volume.detach() * factor[:, None, None] * factor[:, None] * factor
    whole = torch.zeros((period,) * 3, device=device)
    at = (torch.arange(d, device=device) - d // 2) % period
    whole[at[:, None, None], at[:, None], at] = filled
    return fourier.transform(whole, 3).contiguous()


@njit(inline="always", fastmath=True, error_model="numpy")
def value_at(grid, x, y, z):
    """The transform at a point (in cells), real and imaginary part; |x|, |y|, |z| below half of it."""
    period = grid.shape[0]
    sign = F32(1.0)
    if x < F32(0.0):
        x, y, z, sign = -x, -y, -z, F32(-1.0)
    ix, iy, iz = int(x), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - F32(ix), y - F32(iy), z - F32(iz)
    y0 = iy if iy >= 0 else iy + period
    z0 = iz if iz >= 0 else iz + period
    y1 = y0 + 1 if y0 + 1 < period else 0
    z1 = z0 + 1 if z0 + 1 < period else 0
    re = F32(0.0)
    im = F32(0.0)
    for j in range(4):
        row = y1 if j & 1 else y0
        plane = z1 if j & 2 else z0
        w = (fy if j & 1 else F32(1.0) - fy) * (fz if j & 2 else F32(1.0) - fz)
        a, b = grid[plane, row, ix], grid[plane, row, ix + 1]
        re += w * (a.real + fx * (b.real - a.real))
        im += w * (a.imag + fx * (b.imag - a.imag))
    return re, sign * im


@njit(parallel=True, fastmath=True, cache=True, error_model="numpy")
def _slices(grid, axes, points, padding):
    n, m = axes.shape[0], points.shape[0]
    out = np.empty((n, 2 * m), F32)
    for i in prange(n):
        for j in range(m):
            kx, ky = padding * points[j, 0], padding * points[j, 1]
            re, im = value_at(
                grid, kx * axes[i, 0, 0] + ky * axes[i, 1, 0],
                kx * axes[i, 0, 1] + ky * axes[i, 1, 1], kx * axes[i, 0, 2] + ky * axes[i, 1, 2],
            )  # fmt: skip
            out[i, j] = re
            out[i, m + j] = im
    return out


def slices_at(transform: Tensor, rotations: Tensor, points: Tensor, padding: int) -> Tensor:
    """Slices at ``rotations`` (n, 3, 3) and frequencies ``points`` (m, 2): (n, 2 m) float32.

    Real parts, then imaginary parts. A rotation A maps the map into the image, so that frequency k of
    the image is ``A^T (kx, ky, 0)`` of the map.
    """
    axes = rotations[:, :2].float().contiguous()
    if transform.device.type != "cpu":
        return slices_there(transform, axes.to(transform.device), points.float(), padding)
    found = _slices(transform.numpy(), axes.numpy(), points.float().numpy(), F32(padding))
    return torch.from_numpy(found)


def slices_there(transform: Tensor, axes: Tensor, points: Tensor, padding: int) -> Tensor:
    """`slices_at` by PyTorch, on the device of its tensors; ``axes`` (n, 2, 3) of rotations."""
    period = len(transform)
    at = padding * torch.einsum("mc,ncx->xnm", points, axes)
    mirrored = at[0] < 0.0
    x, y, z = torch.where(mirrored, -at, at)
    cells = [position.floor() for position in (x, y, z)]
    fx, fy, fz = (position - cell for position, cell in zip((x, y, z), cells, strict=True))
    ix, iy, iz = (cell.long() for cell in cells)
    flat, width = torch.view_as_real(transform).reshape(-1, 2), transform.shape[2]
    total = torch.zeros(*ix.shape, 2, device=flat.device)
    for dz, by_z in ((0, 1.0 - fz), (1, fz)):
        for dy, by_y in ((0, 1.0 - fy), (1, fy)):
            first = (((iz + dz) % period) * period + (iy + dy) % period) * width + ix
            weight = by_z * by_y
            total += (weight * (1.0 - fx))[..., None] * flat[first]
            total += (weight * fx)[..., None] * flat[first + 1]
    re, im = total.unbind(-1)
    return torch.cat([re, torch.where(mirrored, -im, im)], 1)

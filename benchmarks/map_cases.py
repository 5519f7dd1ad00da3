"""The kernels of the fit, which work on maps, and their bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryosplat.splatting import _cpu as splatting
from cryosplat.statistics._convolution import convolve

from .ceilings import Ceilings, best_time

Row = dict[str, Any]


def _gaussians(k: int, side: int) -> tuple[NDArray, NDArray, NDArray, float]:
    """Random Gaussians in a ball of radius 0.3 side, and the voxels inside their cutoff.

    Scales from 0.7 to 2 voxels, independent along the three axes: what fits end with.
    """
    rng = np.random.default_rng(4)
    scales = np.exp(rng.uniform(math.log(0.7), math.log(2.0), (k, 3)))
    half = Rotation.random(k, rng=np.random.default_rng(5)).as_matrix() / scales[:, None, :]
    precision = half @ half.transpose(0, 2, 1)
    upper = np.stack([precision[:, i, j] for i in range(3) for j in range(i, 3)], -1)
    direction = rng.standard_normal((k, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    centres = side / 2 + 0.3 * side * direction * rng.uniform(0, 1, (k, 1)) ** (1 / 3)
    voxels = float(4 / 3 * math.pi * splatting.CUTOFF**3 * scales.prod(1).sum())
    arrays = [np.ascontiguousarray(a.astype(np.float32)) for a in (centres, upper)]
    return arrays[0], arrays[1], np.ones(k, np.float32), voxels


def voxelisation(k: int, side: int, limits: Ceilings) -> list[Row]:
    """Voxelise forward and backward.

    Counted: voxels inside the cutoff's ellipsoids (the kernel also touches the ends of its runs of
    16). Operations a voxel: quadratic form 4, exponential 20 (7 multiply-adds, 4 squarings, scaling),
    then 2 to add it up forward, 7 for its moments backward. Forward writes the map once.
    """
    centres, precisions, weights, voxels = _gaussians(k, side)
    gradient = np.random.default_rng(6).standard_normal((side,) * 3, dtype=np.float32)
    a, b, c = (torch.from_numpy(array) for array in (centres, precisions, weights))
    forward = best_time(lambda: splatting.volume(a, b, c, side))
    backward = best_time(lambda: splatting.voxelize_adjoint(centres, precisions, weights, gradient))
    rows = []
    for name, taken, operations in (("forward", forward, 26), ("backward", backward, 31)):
        bound = max(operations * voxels / limits.operations, 4.0 * side**3 / limits.memory)
        rows.append({
            "kernel": f"voxelise, {name}",
            "size": f"{k} Gaussians in {side}³",
            "time_s": taken,
            "rate": f"{taken * limits.threads / voxels * 1e9:.2f} ns a voxel and thread",
            "counted": f"{voxels / k:.0f} voxels a Gaussian, {operations} operations each",
            "bound_s": bound,
            "peers": [],
        })  # fmt: skip
    return rows


def toeplitz(side: int, limits: Ceilings) -> list[Row]:
    """``K * V`` on a cube, zero-padded to twice its side.

    Counted with P = 2 side: 5 P log2 P operations a complex transform of length P, half that for a
    real one; side^2 real transforms twice, side (P/2+1) along y twice, P (P/2+1) along z twice, and
    2 P^2 (P/2+1) to multiply. Bytes: each of the passes reads and writes its array once, and K once.
    """
    period, half = 2 * side, side + 1
    rng = np.random.default_rng(7)
    volume = rng.standard_normal((side,) * 3, dtype=np.float32)
    transfer = rng.random((period, period, half), dtype=np.float32)
    length = 5.0 * period * math.log2(period)
    operations = length * (side**2 + 2 * side * half + 2 * period * half) + 2.0 * period**2 * half
    lines, planes = 8.0 * side**2 * half, 8.0 * side * period * half
    moved = 2 * (4.0 * side**3 + lines) + 2 * (lines + planes) + 2 * planes + 4.0 * period**2 * half

    def plain() -> NDArray:
        padded: Any = scipy.fft.rfftn(volume, s=(period,) * 3, workers=limits.threads)
        padded *= transfer
        whole: Any = scipy.fft.irfftn(padded, s=(period,) * 3, workers=limits.threads)
        return whole[:side, :side, :side]

    given = torch.from_numpy(volume), torch.from_numpy(transfer)
    taken = best_time(lambda: convolve(*given), 3)
    row = {
        "kernel": "Toeplitz convolution",
        "size": f"{side}³, padded to {period}³",
        "time_s": taken,
        "rate": f"{operations / taken / 1e9:.1f} GFLOP/s",
        "counted": f"{operations / 1e9:.2f} Gop, {moved / 1e9:.2f} GB",
        "bound_s": max(operations / limits.operations, moved / limits.memory),
        "peers": [{"name": "scipy rfftn of the padded box", "time_s": best_time(plain, 2)}],
    }
    return [row]

"""The kernels that turn images into statistics, their bounds and finufft on the same points."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import finufft
import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryosplat.batch import Batch
from cryosplat.grid import Grid
from cryosplat.gridding import Sums
from cryosplat.noise import NoiseModel
from cryosplat.optics import Optics, OpticsGroup
from cryosplat.poses import Poses
from cryosplat.statistics import Accumulator

from .ceilings import Ceilings, best_time

TOLERANCE = 1e-3  # finufft's tolerance at which it, too, takes four taps at twofold padding
Row = dict[str, Any]
Points = tuple[NDArray, NDArray, NDArray]


def _poses(n: int, seed: int = 1) -> Poses:
    rotations = Rotation.random(n, rng=np.random.default_rng(seed)).as_matrix()
    return Poses(torch.from_numpy(rotations), torch.zeros(n, 2, dtype=torch.float64))


def _half_plane(box: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """kx, ky of one of each Friedel pair inside Nyquist, the origin included."""
    ky, kx = np.meshgrid(np.arange(-box // 2, box // 2), np.arange(box // 2 + 1), indexing="ij")
    keep = (kx**2 + ky**2 < (box / 2) ** 2) & ((kx > 0) | (ky >= 0))
    return kx[keep], ky[keep]


def _gridding_input(box: int, n: int) -> tuple[NDArray, NDArray, NDArray]:
    """Random values (n, d, d/2+1, 3), steps in cells of the twofold grid, radii."""
    rng = np.random.default_rng(2)
    values = rng.standard_normal((n, box, box // 2 + 1, 3), dtype=np.float32)
    values[..., 2] **= 2
    steps = np.ascontiguousarray(_poses(n).rotations.numpy()[:, :2, :] * 2.0)
    return values, steps, np.full(n, box / 2)


def _tensors(*arrays: NDArray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def spreading(box: int, n: int, limits: Ceilings) -> list[Row]:
    """Gridding of ``b`` and ``K`` in one pass, from weighted transforms to the padded grid.

    Counted: pi d^2 / 8 points an image; each updates 4 x 4 x 4 cells of 16 bytes (b complex, K real,
    one float unused): 1,024 bytes read and 1,024 written in the first-level cache. Operations:
    64 cells x 4 multiply-adds (512), 16 vector products and 12 taps of 7 multiply-adds.
    Against finufft: the same points spread with as many taps onto the same grid, two arrays, no
    transform (``spreadinterponly``), sorting included, as the points are new in every batch.
    """
    values, steps, radii = _gridding_input(box, n)
    period = 2 * box
    sums, given = Sums(period, torch.device("cpu")), _tensors(values, steps, radii)
    taken = best_time(lambda: sums.add(*given), 3)
    points, strengths = _points(values, steps, period)
    spread = finufft.Plan(1, (period,) * 3, n_trans=2, eps=TOLERANCE, isign=1, dtype="complex64",
                          upsampfac=2.0, spreadinterponly=1, nthreads=limits.threads)  # fmt: skip

    def other() -> None:
        spread.setpts(*points)
        spread.execute(strengths)

    n_points = points[0].size
    moved, done = 2048.0 * n_points, (512 + 16 * 16 + 12 * 14) * float(n_points)
    peers = [{"name": "finufft, spreading only", "time_s": best_time(other, 2)}]
    if box <= 128:
        peers.append({"name": "finufft, transforms included", "time_s": _transforms(
            points, strengths, box, limits.threads)})  # fmt: skip
    row = {
        "kernel": "gridding of b and K",
        "size": f"{n} images of {box}²",
        "time_s": taken,
        "rate": f"{n / taken:.0f} images/s",
        "counted": f"{n_points / n:.0f} points an image, 2,048 B of cache and 936 operations a point",
        "bound_s": max(moved / limits.cache, done / limits.operations),
        "peers": peers,
    }
    return [row]


def _points(values: NDArray, steps: NDArray, period: int) -> tuple[Points, NDArray]:
    """finufft's points (z, y, x) in radian, and strengths (2, points), of what `spread` takes."""
    kx, ky = _half_plane(values.shape[1])
    cells = kx[:, None] * steps[:, None, 0] + ky[:, None] * steps[:, None, 1]
    angles = (cells.reshape(-1, 3) * (2 * np.pi / period)).astype(np.float32)
    weight = np.where((kx == 0) & (ky == 0), 0.5, 1.0).astype(np.float32)
    chosen = values[:, ky, kx] * weight[:, None]
    b = (chosen[..., 0] + 1j * chosen[..., 1]).ravel()
    strengths = np.stack([b, chosen[..., 2].ravel().astype(np.complex64)])
    x, y, z = np.ascontiguousarray(angles.T)
    return (z, y, x), strengths


def _transforms(points: Points, strengths: NDArray, box: int, threads: int) -> float:
    """finufft from the points to both arrays: b on d^3 and K on (3d/2)^3, the faster padding."""

    def call(padding: float) -> None:
        options = {"eps": TOLERANCE, "isign": 1, "upsampfac": padding, "nthreads": threads}
        finufft.nufft3d1(*points, strengths[0], (box,) * 3, **options)
        finufft.nufft3d1(*points, strengths[1], (3 * box // 2,) * 3, **options)

    return min(best_time(partial(call, padding), 1) for padding in (2.0, 1.25))


def error(box: int = 48, n: int = 60) -> Row:
    """Relative error of b and K against finufft at 1e-9, where the fit meets them, and finufft's own.

    b on the central 0.6 d, K on twice that: the support of a model and of its autocorrelation.
    Both of ours come from one grid of 2 d; finufft pads K to 4 d, hence its smaller error there.
    """
    values, steps, radii = _gridding_input(box, n)
    values[:, :, 0, :] = 0.0  # the two halves of the column kx = 0 are independent numbers here
    grid = Grid(box, 1.0)
    accumulator = Accumulator(grid, NoiseModel((torch.ones(box // 2 + 1),), False))
    accumulator._sums.add(*_tensors(values, steps, radii))
    result = accumulator.result()
    kernel = scipy.fft.fftshift(scipy.fft.irfftn(result.transfer.numpy(), s=(2 * box,) * 3))
    points, strengths = _points(values, steps, 2 * box)
    z, y, x = points
    exact = (z.astype(np.float64), y.astype(np.float64), x.astype(np.float64))
    report: Row = {}
    for name, ours, side, near, strength in (
        ("b", result.backprojection.numpy(), box, 0.6, strengths[0]),
        ("K", kernel, 2 * box, 0.6, strengths[1]),
    ):
        modes = (side,) * 3
        doubled = strength.astype(np.complex128)
        truth = 2 * np.real(finufft.nufft3d1(*exact, doubled, modes, eps=1e-9, isign=1))
        settings = {"eps": TOLERANCE, "isign": 1, "upsampfac": 2.0}
        other = 2 * np.real(finufft.nufft3d1(*points, strength, modes, **settings))
        margin = int(side * (1 - near) / 2)
        inner = (slice(margin, side - margin),) * 3
        norm = np.linalg.norm(truth[inner])
        report[name] = {
            "cryosplat": float(np.linalg.norm((ours - truth)[inner]) / norm),
            f"finufft at {TOLERANCE:g}": float(np.linalg.norm((other - truth)[inner]) / norm),
        }
    return report


def accumulation(box: int, n: int, limits: Ceilings) -> list[Row]:
    """Images in memory to gridded sums: FFT, shift, CTF, weights, gridding.

    Counted: the gridding as above; 2.5 d^2 log2(d^2) operations for the real transform and 60 for
    CTF, phase and weight of each of d (d / 2 + 1) coefficients.
    """
    rng = np.random.default_rng(3)
    images = torch.from_numpy(rng.standard_normal((n, box, box), dtype=np.float32))
    group = OpticsGroup("optics1", 1.0, box, 3e5, 2.7e7, 0.1)
    defocus = torch.linspace(8000, 25000, n, dtype=torch.float64)
    zero, one = torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    optics = Optics((group,), torch.zeros(n, dtype=torch.int64), defocus, defocus - 300, zero + 0.3,
                    zero, zero, one)  # fmt: skip
    batch = Batch(torch.arange(n), images, _poses(n), optics)
    noise = NoiseModel((torch.full((box // 2 + 1,), float(box**2), dtype=torch.float64),), False)
    accumulator = Accumulator(Grid(box, 1.0), noise)
    taken = best_time(lambda: accumulator.add(batch), 3)
    n_points = len(_half_plane(box)[0]) * n
    gridded = max(2048.0 * n_points / limits.cache, 936.0 * n_points / limits.operations)
    other = n * (2.5 * box**2 * math.log2(box**2) + 60.0 * box * (box // 2 + 1))
    row = {
        "kernel": "accumulation from images in memory",
        "size": f"{n} images of {box}²",
        "time_s": taken,
        "rate": f"{n / taken:.0f} images/s",
        "counted": f"gridding, and {other / n / 1e6:.1f} Mop an image for FFT, CTF and weights",
        "bound_s": gridded + other / limits.operations,
        "peers": [],
    }
    return [row]

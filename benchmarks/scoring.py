"""FSC with the truth, in numpy and scipy alone: shares no code with cryosplat, which it judges."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Curve = NDArray[np.float64]


def read_map(path: Path) -> NDArray[np.float32]:
    """The array [z, y, x] of an MRC map whose axes are in the standard order."""
    with mrcfile.open(path, permissive=True) as stream:
        return np.array(stream.data, dtype=np.float32)


def shell_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> Curve:
    """Signed FSC of two cubic maps in RELION's shells, 0 to d // 2 (shell = rounded radius)."""
    side = a.shape[0]
    full, half = np.fft.fftfreq(side) * side, np.arange(side // 2 + 1.0)
    radius = np.sqrt(full[:, None, None] ** 2 + full[:, None] ** 2 + half**2)
    shell = np.floor(radius + 0.5).astype(np.int64).ravel()
    n = side // 2 + 1

    def per_shell(values: NDArray[np.float64]) -> Curve:
        sums = np.bincount(shell, values.ravel(), shell.max() + 1)
        return sums[:n].astype(np.float64)

    x, y = np.fft.rfftn(a.astype(np.float64)), np.fft.rfftn(b.astype(np.float64))
    norm = per_shell(np.abs(x) ** 2) * per_shell(np.abs(y) ** 2)
    return per_shell((x * y.conj()).real) / np.sqrt(norm + 1e-300)


def truth_mask(truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """A soft mask from the true map: above 2 % of the blurred maximum, grown 3 px, edge of 4 px."""
    blurred = ndimage.gaussian_filter(truth, 2.0)
    inside = np.asarray(ndimage.binary_dilation(blurred > 0.02 * blurred.max(), iterations=3))
    distance = np.asarray(ndimage.distance_transform_edt(np.logical_not(inside)))
    edge = np.where(distance < 4, 0.5 + 0.5 * np.cos(np.pi * distance / 4), 0.0)
    return np.where(distance <= 0, 1.0, edge).astype(np.float32)


def score(path: Path, truth_path: Path) -> dict[str, list[float]]:
    """FSC of a map with the truth at every shell, without a mask and with the truth's mask."""
    given, truth = read_map(path), read_map(truth_path)
    mask = truth_mask(truth)
    curves = {
        "unmasked": shell_correlation(given, truth),
        "truth_masked": shell_correlation(given * mask, truth * mask),
    }
    return {name: [round(float(v), 5) for v in curve] for name, curve in curves.items()}


def predicted(half1: Path, half2: Path) -> list[float]:
    """FSC with the truth that two half-maps promise: ``sqrt(2 F / (1 + F))``, 0 where F < 0."""
    halves = np.clip(shell_correlation(read_map(half1), read_map(half2)), 0.0, 1.0)
    return [round(float(v), 5) for v in np.sqrt(2 * halves / (1 + halves))]


def reported_shells(box_size: int) -> list[int]:
    """The shells of the tables: d/16, d/8, d/4, 3d/8, 7d/16 and the last below Nyquist."""
    d = box_size
    return [d // 16, d // 8, d // 4, 3 * d // 8, 7 * d // 16, d // 2 - 1]

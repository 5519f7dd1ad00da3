"""Directional resolution: the FSC in cones.

The FSC of the half-maps in cones around 256 directions, and a score of its anisotropy. The score
follows the cFAR of CryoSPARC's orientation diagnostics and SIMPLE's ``fsc_area_score``: 256 axes,
cones of 20 degrees, areas up to the first drop below 0.143, smallest over largest. Mask and shells
are ours and cones are not smoothed, so it may differ from theirs in the second decimal. A cone holds
a sixteenth of a shell, and counting noise keeps the score of an isotropic map below 1, at about 0.8
in small boxes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from .. import fourier
from ..grid import Grid
from .fsc import correlation_of_transforms, resolution
from .views import half_sphere

AXES = 256
HALF_ANGLE = math.radians(20.0)
THRESHOLD = 0.143
FEWEST_VOXELS = 30
"""With fewer voxels in a shell (below shell 9) a cone takes the FSC of the whole shell, as a mean over
so few drops below the threshold by chance."""


@dataclass(frozen=True, slots=True)
class DirectionalFsc:
    """FSC of two half-maps in cones.

    ``axes`` (m, 3) unit vectors (x, y, z) in Fourier space, on the half sphere z > 0; ``fsc``
    (m, n_shells) in cones of 20 degrees around them and their opposites; ``resolutions`` (m,) in
    Angstrom at 0.143, infinite if nothing is resolved; ``areas`` (m,) below the curves, from
    shell 1 to their first drop below 0.143, in shells; ``cfar`` the smallest area over the
    largest. ``frequencies`` (n_shells,) in 1/Angstrom.
    """

    axes: Tensor
    fsc: Tensor
    resolutions: Tensor
    areas: Tensor
    frequencies: Tensor

    @property
    def cfar(self) -> float:
        """Smallest area over largest, 0 if all are 0; below 0.5 the map is anisotropic."""
        largest = float(self.areas.max())
        return float(self.areas.min()) / largest if largest > 0 else 0.0

    @property
    def mean(self) -> Tensor:
        """Mean over directions, (n_shells,)."""
        return self.fsc.mean(0)

    @property
    def lowest(self) -> Tensor:
        """Smallest value of any direction, (n_shells,)."""
        return self.fsc.amin(0)

    @property
    def highest(self) -> Tensor:
        """Largest value of any direction, (n_shells,)."""
        return self.fsc.amax(0)

    def summary(self) -> dict[str, Any]:
        """Plain values; the resolution of an unresolved direction is None."""
        worst = self.axes[int(self.areas.argmin())]
        return {
            "cfar": self.cfar,
            "axes": self.axes.tolist(),
            "resolutions": [r if math.isfinite(r) else None for r in self.resolutions.tolist()],
            "areas": self.areas.tolist(),
            "worst_axis": worst.tolist(),
            "frequencies": self.frequencies.tolist(),
            "cone_fsc_mean": self.mean.tolist(),
            "cone_fsc_min": self.lowest.tolist(),
            "cone_fsc_max": self.highest.tolist(),
        }


def directional_fsc(
    half1: Tensor, half2: Tensor, mask: Tensor, grid: Grid, n_axes: int = AXES
) -> DirectionalFsc:
    """FSC of the masked half-maps (d, d, d) in ``n_axes`` cones.

    Raises
    ------
    InputError
        The maps or the mask are not cubes of the grid's box size, or not finite.
    """
    for name, volume in (("first half-map", half1), ("second half-map", half2), ("mask", mask)):
        grid.check_cube(volume, f"directional_fsc: the {name}")
    first, second = (fourier.transform((h * mask).detach().float(), 3) for h in (half1, half2))
    axes = half_sphere(n_axes)
    sums, counts = _cone_sums(first, second, grid, axes)
    norm = (sums[1] * sums[2]).sqrt()
    shell_fsc = correlation_of_transforms(first, second)
    enough = (counts >= FEWEST_VOXELS) & (norm > 0)
    fsc = torch.where(enough, sums[0] / norm.clamp_min(1e-300), shell_fsc).clamp(-1.0, 1.0)
    resolutions = [resolution(curve, grid, THRESHOLD) for curve in fsc]
    areas = [float(c[1 : r.shell + 1].sum()) for c, r in zip(fsc, resolutions, strict=True)]
    return DirectionalFsc(
        axes=axes,
        fsc=fsc,
        resolutions=torch.tensor([r.crossing_angstrom for r in resolutions], dtype=torch.float64),
        areas=torch.tensor(areas, dtype=torch.float64),
        frequencies=grid.shell_frequencies(),
    )


def _cone_sums(first: Tensor, second: Tensor, grid: Grid, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Sums (3, m, n_shells) of ``Re(F1 F2*)``, ``|F1|^2``, ``|F2|^2`` in cones, and voxel counts.

    Over the stored half transform, as in `fourier_shell_correlation`; each voxel also stands for
    its Friedel mate, so cones are double cones.
    """
    order, starts = _order_by_shell(
        fourier.shells((grid.box_size,) * 3).numpy().ravel(), grid.n_shells
    )
    sums, counts = _sum_by_cone(
        first.contiguous().numpy().ravel(), second.contiguous().numpy().ravel(), order, starts,
        grid.box_size, axes.numpy().astype(np.float32), np.float32(math.cos(HALF_ANGLE)),
    )  # fmt: skip
    return torch.from_numpy(sums).permute(2, 1, 0), torch.from_numpy(counts).T


@njit(cache=True)
def _order_by_shell(
    shells: NDArray[np.int64], n_shells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of all voxels below ``n_shells`` by shell, and where each shell starts."""
    starts = np.zeros(n_shells + 1, np.int64)
    for shell in shells:
        if shell < n_shells:
            starts[shell + 1] += 1
    starts = np.cumsum(starts)
    place, order = starts.copy(), np.empty(starts[-1], np.int64)
    for i in range(len(shells)):
        if shells[i] < n_shells:
            order[place[shells[i]]] = i
            place[shells[i]] += 1
    return order, starts


@njit(parallel=True, fastmath=True, cache=True)
def _sum_by_cone(
    first: NDArray[np.complex64],
    second: NDArray[np.complex64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    side: int,
    axes: NDArray[np.float32],
    cosine: np.float32,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_shells, m, columns = len(starts) - 1, len(axes), side // 2 + 1
    sums = np.zeros((n_shells, m, 3))
    counts = np.zeros((n_shells, m))
    ax, ay, az = axes[:, 0].copy(), axes[:, 1].copy(), axes[:, 2].copy()
    for task in prange(n_shells):
        shell = (task // 2) if task % 2 == 0 else n_shells - 1 - task // 2
        total = np.zeros((4, m))
        for i in order[starts[shell] : starts[shell + 1]]:
            x, y, z = i % columns, (i // columns) % side, i // (columns * side)
            y, z = y - side * (y > side // 2), z - side * (z > side // 2)
            length = np.float32(1.0 / max(math.sqrt(x * x + y * y + z * z), 1e-6))
            u, v, w = np.float32(x) * length, np.float32(y) * length, np.float32(z) * length
            a, b = first[i], second[i]
            cross = a.real * b.real + a.imag * b.imag
            power_a = a.real * a.real + a.imag * a.imag
            power_b = b.real * b.real + b.imag * b.imag
            for j in range(m):
                inside = 1.0 if abs(ax[j] * u + ay[j] * v + az[j] * w) >= cosine else 0.0
                total[0, j] += inside * cross
                total[1, j] += inside * power_a
                total[2, j] += inside * power_b
                total[3, j] += inside
        sums[shell] = total[:3].T
        counts[shell] = total[3]
    return sums, counts

"""The sufficient statistics of particles with known poses: they add, subtract and scale."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from operator import index

import torch
from torch import Tensor

from .. import fourier
from ..errors import InputError, SettingsError
from ..grid import Grid
from ..io.arrays import read_arrays, write_arrays
from ..solvent import Response, filtered, padded_frequencies
from ._identity import Identity

FORMAT = 1  # of the file, raised when older files can no longer be read
_ARRAYS = ("backprojection", "transfer")
_REMEDY = "accumulate the statistics again from the particles."


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """All that a data set says about a map (DESIGN: Wang, Shkolnisky & Singer 2013).

    With ``L(V) = energy + 1/2 <V, K*V> - <b, V>`` the negative log-likelihood of the particles:

    ``backprojection``: b, (d, d, d) float32, ``[z, y, x]``;
    ``transfer``: transform of the kernel K on a box of 2 d, (2d, 2d, d + 1) float32, real;
    ``energy``: ``1/2 sum w |y|^2 / s^2``, w being the weights of the images;
    ``n_images``: how many images with a weight above 0 were added, less those subtracted;
    ``n_frequencies``: Fourier coefficients summed over, both members of a Friedel pair counted, times
    the weights;
    ``identity``: what it is a sum of.

    Statistics add, subtract and scale: ``A + B`` are the statistics of the images of both, ``A + B -
    B`` those of A, ``2 * A`` those of all images twice, and ``0.9 * A + B`` forgets. Scaling leaves
    ``n_images`` as it is.

    Sums of what does not belong together raise `SettingsError`: other grids, symmetries or noise
    models. Images that are in both count twice, so that ``A + A`` is ``2 * A``; that is not detected,
    nor that a difference takes away what was never added: the digest of `Identity` is one number for
    the whole sum.
    """

    grid: Grid
    backprojection: Tensor
    transfer: Tensor
    energy: float
    n_images: int
    n_frequencies: float
    identity: Identity = field(default_factory=Identity)

    def __post_init__(self) -> None:
        d = self.grid.box_size
        expected = (d, d, d), (2 * d, 2 * d, d + 1)
        given = tuple(self.backprojection.shape), tuple(self.transfer.shape)
        if given != expected:
            raise SettingsError(f"Statistics: arrays have shapes {given}, expected {expected}.")

    def __repr__(self) -> str:
        grid, name = self.grid, self.identity.symmetry or "no symmetry yet"
        return (
            f"Statistics({self.n_images} images of weight {self.weight:g}, {grid.box_size} voxels "
            f"of {grid.pixel_size:g} Å, {name}, digest {self.identity.digest[:12]})"
        )

    @property
    def weight(self) -> float:
        """The sum of the weights of all images."""
        return self.identity.weight

    @staticmethod
    def zero(grid: Grid) -> Statistics:
        """The statistics of no particles: the neutral element of ``+``, of any symmetry."""
        d = grid.box_size
        return Statistics(grid, torch.zeros(d, d, d), torch.zeros(2 * d, 2 * d, d + 1), 0.0, 0, 0.0)

    def __add__(self, other: Statistics) -> Statistics:
        return self._combined(other, 1)

    def __radd__(self, other: object) -> Statistics:
        # the 0 that Python's sum() begins with
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __sub__(self, other: Statistics) -> Statistics:
        return self._combined(other, -1)

    def _combined(self, other: Statistics, sign: int) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.grid != other.grid:
            raise SettingsError(
                f"Statistics: cannot combine statistics on {self.grid} and {other.grid}. "
                f"Remedy: accumulate both on one grid."
            )
        return Statistics(
            self.grid,
            torch.add(self.backprojection, other.backprojection, alpha=sign),
            torch.add(self.transfer, other.transfer, alpha=sign),
            self.energy + sign * other.energy,
            self.n_images + sign * other.n_images,
            self.n_frequencies + sign * other.n_frequencies,
            self.identity.combined(other.identity, sign),
        )

    def __mul__(self, factor: float) -> Statistics:
        if not isinstance(factor, (int, float)):
            return NotImplemented
        factor = float(factor)
        if not (math.isfinite(factor) and factor >= 0.0):
            raise SettingsError(
                f"Statistics: the factor is {factor}, expected a finite number of at least 0."
            )
        return Statistics(
            self.grid,
            self.backprojection * factor,
            self.transfer * factor,
            self.energy * factor,
            self.n_images if factor else 0,
            self.n_frequencies * factor,
            self.identity * factor,
        )

    __rmul__ = __mul__

    def to(self, device: torch.device | str) -> Statistics:
        """The same statistics with their arrays on a device."""
        b, transfer = self.backprojection.to(device), self.transfer.to(device)
        return replace(self, backprojection=b, transfer=transfer)

    def inverted(self) -> Statistics:
        """The statistics of the same images with their contrast inverted."""
        return replace(self, backprojection=-self.backprojection)

    def seen_through(self, response: Response) -> Statistics:
        """The statistics for the map before a radial ``response`` H: ``b -> H b``, ``K -> H^2 K``.

        ``L(V)`` of the result is ``L(H V)`` of these, exactly so for a V that lies farther inside the
        box than H reaches.
        """
        gain = response(padded_frequencies(self.grid, self.transfer.device)).to(self.transfer)
        b = filtered(self.backprojection, self.grid, response)
        return replace(self, backprojection=b, transfer=self.transfer * gain.square())

    def downsampled(self, box_size: int) -> Statistics:
        """The same problem on ``box_size`` voxels of the same box: Fourier-cropped, exact.

        ``box_size`` must be even and at most the present one.
        """
        d = self.grid.box_size
        if box_size == d:
            return self
        if box_size % 2 or not 4 <= box_size < d:
            raise SettingsError(
                f"Statistics.downsampled: box_size is {box_size}, expected even, from 4 to {d}."
            )
        grid = Grid(box_size, self.grid.side / box_size)
        scale = (box_size / d) ** 3
        # sums over voxels: V keeps its mass, so K as a function of position keeps its values
        transfer = fourier.crop(self.transfer, 2 * box_size, 3) * scale
        return Statistics(
            grid,
            fourier.resample(self.backprojection, box_size, 3) * scale,
            transfer,
            self.energy,
            self.n_images,
            self.n_frequencies,
            self.identity,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, which appears whole or not at all; `OutputError` if not."""
        values = {
            "box_size": self.grid.box_size, "pixel_size": self.grid.pixel_size,
            "energy": self.energy, "n_images": self.n_images, "n_frequencies": self.n_frequencies,
            "symmetry": self.identity.symmetry, "noise": self.identity.noise,
            "weight": self.identity.weight, "inputs": self.identity.digest,
        }  # fmt: skip
        arrays = {name: getattr(self, name).cpu().numpy() for name in _ARRAYS}
        write_arrays(path, "statistics", FORMAT, arrays, values)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Statistics:
        """What `save` wrote, bit for bit; raises `InputError` for anything else."""
        arrays, values = read_arrays(path, "statistics", FORMAT, _REMEDY)
        try:
            b, transfer = (torch.from_numpy(arrays[name]) for name in _ARRAYS)
            numbers = {name: float(values[name]) for name in ("energy", "n_frequencies", "weight")}
            return Statistics(
                Grid(values["box_size"], values["pixel_size"]), b, transfer, numbers["energy"],
                index(values["n_images"]), numbers["n_frequencies"],
                Identity(values["symmetry"], values["noise"], numbers["weight"],
                         int(values["inputs"], 16)),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, OverflowError, SettingsError) as error:
            raise InputError(
                f"{path}: not statistics as cryosplat writes them ({error}).\n  Remedy: {_REMEDY}"
            ) from error

"""Images about a map, as kernels take them: on the CPU image by image, elsewhere all together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..poses import Poses
from . import _cpu, _device
from ._lines import SUMS
from .images import ReadyImages
from .template import Template


@dataclass(frozen=True, slots=True)
class Places(ABC):
    """n images and a template; ``shifts`` (n, 2) and ``pixel_sizes`` (n,) of the images, in Angstrom.

    What the methods take and give is on the CPU, in float64: ``rotations`` (n, 3, 3), and shifts in
    pixels that are added to the images' own (`moves`). A ``precision`` (n, 2) is that of a normal
    prior on rotation vectors and shifts.
    """

    shifts: Tensor
    pixel_sizes: Tensor

    def moves(self, shifts: Tensor) -> Tensor:
        """What is added to the images' own shifts, in pixels."""
        return (shifts.double() - self.shifts) / self.pixel_sizes[:, None]

    def poses(self, rotations: Tensor, moves: Tensor) -> Poses:
        """The poses with these additions."""
        return Poses(rotations, self.shifts + moves * self.pixel_sizes[:, None])

    @abstractmethod
    def evaluated(self, rotations: Tensor, moves: Tensor) -> Tensor:
        """The log-likelihood and its derivatives (n, SUMS): see `_cpu.evaluated`."""

    @abstractmethod
    def climbed(
        self, rotations: Tensor, moves: Tensor, given: Tensor, centres: Tensor, precision: Tensor,
        looks: int, first: int, tolerance: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Rotations, moves and sums at the top of ascents from these, under a prior about ``given``
        rotations and ``centres``: see `_cpu.climb`."""

    @abstractmethod
    def scores(
        self, given: Tensor, centres: Tensor, turns: Tensor, moves: Tensor, precision: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best log-posteriors (n, t) over ``moves`` at each of ``turns`` (t, 3), and the best
        moves (n, t, 2): see `_cpu.scores`."""


def places_of(images: ReadyImages, template: Template) -> Places:
    """Where the images' numbers are, there they are held against the template."""
    stretch, radii = images.steps(template)
    own = images.poses.shifts.double(), images.pixel_sizes.double()
    device = images.values.device
    if device.type == "cpu":
        values = images.values.contiguous().float().numpy()
        arguments = template.cells, template.shape, values, _array(stretch), _array(radii)
        return _OnCpu(*own, arguments)
    there = (t.double().to(device) for t in (stretch, radii))
    return _OnDevice(*own, _device.Held(template.transform, images.values, *there))


@dataclass(frozen=True, slots=True)
class _OnCpu(Places):
    arguments: tuple[NDArray, tuple[int, int, int], NDArray, NDArray, NDArray]

    def evaluated(self, rotations: Tensor, moves: Tensor) -> Tensor:
        sums, image = np.zeros((len(rotations), SUMS)), np.arange(len(rotations))
        _cpu.evaluated(*self.arguments, image, _array(rotations), _array(moves), sums)
        return _own(sums)

    def climbed(
        self, rotations: Tensor, moves: Tensor, given: Tensor, centres: Tensor, precision: Tensor,
        looks: int, first: int, tolerance: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        turned, moved = _array(rotations).copy(), _array(moves).copy()
        sums, image = np.zeros((len(rotations), SUMS)), np.arange(len(rotations))
        _cpu.climb(
            *self.arguments, image, turned, moved, _array(given), _array(centres),
            _array(precision), looks, first, tolerance, sums,
        )  # fmt: skip
        return _own(turned), _own(moved), _own(sums)

    def scores(
        self, given: Tensor, centres: Tensor, turns: Tensor, moves: Tensor, precision: Tensor
    ) -> tuple[Tensor, Tensor]:
        out, where = np.zeros((len(given), len(turns))), np.zeros((len(given), len(turns), 2))
        _cpu.scores(
            *self.arguments, _array(given), _array(centres), _array(turns), _array(moves),
            _array(precision), out, where,
        )  # fmt: skip
        return _own(out), _own(where)


@dataclass(frozen=True, slots=True)
class _OnDevice(Places):
    held: _device.Held

    def evaluated(self, rotations: Tensor, moves: Tensor) -> Tensor:
        image = torch.arange(len(rotations), device=self.held.values.device)
        return self.held.evaluated(image, self._there(rotations), self._there(moves)).cpu()

    def climbed(
        self, rotations: Tensor, moves: Tensor, given: Tensor, centres: Tensor, precision: Tensor,
        looks: int, first: int, tolerance: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        prior = _device.About(*(self._there(part) for part in (given, centres, precision)))
        turned, moved, sums = _device.climb(
            self.held, self._there(rotations), self._there(moves), prior, looks, first, tolerance
        )
        return turned.cpu(), moved.cpu(), sums.cpu()

    def scores(
        self, given: Tensor, centres: Tensor, turns: Tensor, moves: Tensor, precision: Tensor
    ) -> tuple[Tensor, Tensor]:
        where_to = (self._there(part) for part in (given, centres, turns, moves, precision))
        out, where = _device.scores(self.held, *where_to)
        return out.cpu(), where.cpu()

    def _there(self, numbers: Tensor) -> Tensor:
        return numbers.double().to(self.held.values.device)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().contiguous().numpy()


def _own(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(array).clone()  # torch's own memory: sums do not depend on its place

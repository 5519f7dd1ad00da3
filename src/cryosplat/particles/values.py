"""Particles: images on disk with their poses, optics and half-sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..batch import Batch
from ..errors import SettingsError
from ..noise import blank_corners
from ..optics import Optics, OpticsGroup
from ..poses import Poses
from ._read_ahead import read_ahead
from .images import ImageSource

_BLOCK_BYTES = 2**25


@dataclass(frozen=True, slots=True, eq=False)
class Particles:
    """n particles, in the order of the table they come from.

    ``half_sets`` (n,) int8 in {1, 2}, or 0 everywhere where none were given; ``names`` (n,) text as
    in RELION, "000001@stack.mrcs"; ``micrographs``, ``filaments`` and ``tilt_particles`` (n,)
    number what belongs together, where known; ``table`` holds the file's own columns,
    ``optics_table`` one row per optics group, both for writing back; ``notes`` what the reader
    wants the user to know.
    """

    images: ImageSource
    poses: Poses
    optics: Optics
    half_sets: Tensor
    names: NDArray[np.object_]
    source: Path
    table: pd.DataFrame
    optics_table: pd.DataFrame
    micrographs: NDArray[np.int64] | None = None
    filaments: NDArray[np.int64] | None = None
    tilt_particles: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.images)
        for field in ("poses", "optics", "half_sets", "names", "table"):
            if len(getattr(self, field)) != n:
                raise SettingsError(
                    f"Particles: {len(getattr(self, field))} {field} for {n} images."
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def has_half_sets(self) -> bool:
        """Whether every particle belongs to half-set 1 or 2."""
        return len(self) > 0 and bool((self.half_sets > 0).all())

    @property
    def box_size(self) -> int:
        """Box size in pixels of the optics group with most particles."""
        return self._main_group().box_size

    @property
    def pixel_size(self) -> float:
        """Pixel size in Angstrom of the optics group with most particles."""
        return self._main_group().pixel_size

    def _main_group(self) -> OpticsGroup:
        counts = torch.bincount(self.optics.group, minlength=len(self.optics.groups))
        return self.optics.groups[int(counts.argmax())]

    def select(self, index: Tensor | NDArray) -> Particles:
        """The particles ``index`` (positions, or a mask of length n), in that order."""
        index = _positions(index)
        at = index.numpy()
        return replace(
            self,
            images=self.images.select(at),
            poses=self.poses.select(index),
            optics=self.optics.select(index),
            half_sets=self.half_sets[index],
            names=self.names[at],
            table=self.table.iloc[at],
            micrographs=None if self.micrographs is None else self.micrographs[at],
            filaments=None if self.filaments is None else self.filaments[at],
            tilt_particles=None if self.tilt_particles is None else self.tilt_particles[at],
        )

    def cut_to_circle(self) -> bool:
        """Whether stored images are blank outside a circle, as RELION 5 cuts tilt images: whether
        most of 64 of them have blank corners."""
        looked_at = np.unique(np.linspace(0, len(self) - 1, 64).astype(np.int64))
        places = zip(self.images.stack[looked_at], self.images.section[looked_at], strict=True)
        images = (torch.from_numpy(self.images.stacks[s].read([i])) for s, i in places)
        return float(np.mean([bool(blank_corners(image)) for image in images])) > 0.5

    def batches(self, indices: Tensor | None = None, size: int | None = None) -> Iterator[Batch]:
        """The particles ``indices`` (default all) in file order, ``size`` at a time.

        All images of a batch have one box size. A background thread reads ahead.
        Without ``size`` a batch holds about 32 MB. Raises `ImageError` when a block with unusable
        pixels is read.
        """
        index = np.arange(len(self)) if indices is None else _positions(indices).numpy()
        return read_ahead(self._blocks(self.images.file_order(index), size))

    def _blocks(self, order: NDArray[np.int64], size: int | None) -> Iterator[Batch]:
        boxes = self.images.box_sizes[order]
        for box in np.unique(boxes):
            of_box = order[boxes == box]
            step = size or max(1, _BLOCK_BYTES // (4 * int(box) ** 2))
            for start in range(0, len(of_box), step):
                block = of_box[start : start + step]
                index = torch.from_numpy(block)
                optics = self.optics.select(index)
                yield Batch(index, self.images.read(block), self.poses.select(index), optics)


def _positions(index: Tensor | NDArray) -> Tensor:
    """Positions out of positions or out of a mask."""
    index = torch.as_tensor(index)
    return index.nonzero().squeeze(1) if index.dtype == torch.bool else index.long()

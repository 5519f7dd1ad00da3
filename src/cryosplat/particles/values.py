"""Particles: images on disk with their poses, optics and half-sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..batch import Batch
from ..errors import SettingsError
from ..noise import blank_corners
from ..notes import Note
from ..optics import Optics, OpticsGroup
from ..poses import Poses
from ._read_ahead import read_ahead
from .images import ImageSource

_BLOCK_BYTES = 2**25
_MEMBERSHIPS = ("micrographs", "filaments", "tilt_particles")
Index = int | slice | Sequence[int] | Sequence[bool] | Tensor | NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Particles:
    """n particles, in the order of the table they come from.

    ``half_sets`` (n,) int8 in {1, 2}, or 0 everywhere without half-sets; ``names`` (n,) text as in
    RELION, "000001@stack.mrcs"; ``micrographs``, ``filaments`` and ``tilt_particles`` (n,) are
    numbers of what each row is part of, where known; ``table`` holds the file's own columns,
    ``optics_table`` one row per optics group, both for writing back; ``notes`` are the reader's.

    ``particles[index]`` are some of them, as `Particles`: a slice, positions in any order, a mask of
    length n, or one position; numpy arrays, tensors or lists.

    Raises
    ------
    SettingsError
        Columns of different lengths, half-sets other than 1 and 2 (or 0 everywhere), or an index
        that is neither positions of particles nor a mask of length n.
    IndexError
        A single position that is out of range.
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
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.images)
        for name in ("poses", "optics", "half_sets", "names", "table", *_MEMBERSHIPS):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise SettingsError(f"Particles: {len(column)} {name} for {n} images.")
        labels = self.half_sets
        if not bool(((labels == 1) | (labels == 2)).all() or (labels == 0).all()):
            values = ", ".join(f"{v:g}" for v in labels.unique()[:6].tolist())
            raise SettingsError(f"Particles: half_sets are {values}, expected 1 and 2, or only 0.")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        groups = self.optics.groups
        boxes = dict.fromkeys(f"{g.box_size} px of {g.pixel_size:.4g} Å" for g in groups)
        parts = [f"{len(self):,} of {', '.join(boxes)}"]
        parts.append(f"{len(groups)} optics group{'s' if len(groups) > 1 else ''}")
        if self.has_half_sets:
            first = int((self.half_sets == 1).sum())
            parts.append(f"half-sets {first:,} + {len(self) - first:,}")
        return f"Particles({'; '.join(parts)}; {self.source.name})"

    def __getitem__(self, index: Index) -> Particles:
        rows = _positions(index, len(self))
        at = rows.numpy()
        members = {name: getattr(self, name) for name in _MEMBERSHIPS}
        return replace(
            self, images=self.images.select(at), poses=self.poses.select(rows),
            optics=self.optics.select(rows), half_sets=self.half_sets[rows], names=self.names[at],
            table=self.table.iloc[at],
            **{name: None if unit is None else unit[at] for name, unit in members.items()},
        )  # fmt: skip

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

    def cut_to_circle(self) -> bool:
        """Whether stored images are blank outside a circle, as RELION 5 cuts tilt images: whether
        most of 64 of them have blank corners."""
        some = np.unique(np.linspace(0, len(self) - 1, 64).astype(np.int64))
        places = zip(self.images.stack[some], self.images.section[some], strict=True)
        images = (torch.from_numpy(self.images.stacks[s].read([i])) for s, i in places)
        return float(np.mean([bool(blank_corners(image)) for image in images])) > 0.5

    def batches(self, indices: Index | None = None, size: int | None = None) -> Iterator[Batch]:
        """The particles ``indices`` (default all) in file order, ``size`` at a time.

        All images of a batch have one box size. A background thread reads ahead.
        Without ``size`` a batch holds about 32 MB. Raises `ImageError` when a block with unusable
        pixels is read.
        """
        index = _positions(slice(None) if indices is None else indices, len(self)).numpy()
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


def _positions(index: Index, n: int) -> Tensor:
    """The positions (m,) that an index of n particles stands for, int64 on the CPU."""
    if isinstance(index, slice):
        return torch.from_numpy(np.arange(n)[index].copy())
    if isinstance(index, (int, np.integer)):
        if not -n <= index < n:
            raise IndexError(f"particle {index} of {n}")
        return torch.tensor([int(index) % n])
    values = index.detach().cpu().numpy() if isinstance(index, Tensor) else np.asarray(index)
    if values.ndim != 1 or (values.dtype.kind not in "iub" and values.size):
        raise SettingsError(
            f"Particles[...]: the index is {values.dtype} of shape {values.shape}, expected integers "
            f"of shape (m,) or a mask of shape ({n},)."
        )
    if values.dtype.kind == "b":
        if len(values) != n:
            raise SettingsError(f"Particles[...]: a mask of {len(values)} for {n} particles.")
        return torch.from_numpy(np.flatnonzero(values))
    positions = values.astype(np.int64)
    bad = np.flatnonzero((positions < -n) | (positions >= n))
    if len(bad):
        raise SettingsError(
            f"Particles[...]: position {positions[bad[0]]} is not among the {n} particles "
            f"({len(bad)} of {len(positions)} positions are affected)."
        )
    return torch.from_numpy(np.where(positions < 0, positions + n, positions))

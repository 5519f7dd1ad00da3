"""The images of a particle table: where each one lies, and reading them in file order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from .. import fourier
from ..commands import pasted
from ..errors import ImageError, MrcError, StackError
from ..io.mrc import StackFile
from ..noise import without_outlying
from ..notes import Note
from .faults import AbsentStack, StackFaults
from .resolving import ambiguous, resolve, resolve_all, suffix_notes


@dataclass(frozen=True, slots=True, eq=False)
class BoxColumn:
    """The column ``label`` of a table with the box size (n,) of each image in pixels."""

    label: str
    values: NDArray[np.int64]


LARGEST = 1e9
"""Pixels beyond it come from damaged files: counts of a camera end four powers of ten below."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSource:
    """n images in stacks on disk; nothing but the stacks' headers is in memory.

    ``stack`` (n,) indexes ``stacks``; ``section`` (n,) counts from 0; ``row`` (n,) is the row of
    the table, from 1, and ``where`` names the table, both for messages. ``sign`` (n,) multiplies
    the images as they are read; ``crops`` say from and to which box they are then cropped in
    Fourier space; ``notes`` say where files with other suffixes were found.
    """

    stacks: tuple[StackFile | AbsentStack, ...]
    stack: NDArray[np.int64]
    section: NDArray[np.int64]
    row: NDArray[np.int64]
    where: str
    sign: NDArray[np.float32] | None = None
    notes: tuple[Note, ...] = ()
    crops: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.stack)

    def select(self, index: ArrayLike) -> ImageSource:
        """The images ``index``."""
        index = np.asarray(index)
        sign = None if self.sign is None else self.sign[index]
        columns = self.stack[index], self.section[index], self.row[index]
        return ImageSource(self.stacks, *columns, self.where, sign, self.notes, self.crops)

    @property
    def box_sizes(self) -> NDArray[np.int64]:
        """Side of each image in pixels as it is read, (n,)."""
        crops = dict(self.crops)
        sides = [crops.get(s.shape[0], s.shape[0]) for s in self.stacks]
        return np.array(sides, dtype=np.int64)[self.stack]

    def repetition_notes(self) -> list[Note]:
        """A note where rows repeat the image of an earlier row."""
        n = int(pd.DataFrame({"f": self.stack, "s": self.section}).duplicated().sum())
        text = f"{n} rows repeat the image of an earlier row."
        return [Note("images-repeated", "note", text)] if n else []

    def file_order(self, index: ArrayLike) -> NDArray[np.int64]:
        """``index`` sorted by box size, stack and section."""
        index = np.asarray(index, dtype=np.int64)
        keys = self.section[index], self.stack[index], self.box_sizes[index]
        return index[np.lexsort(keys)]

    def read(self, index: ArrayLike) -> torch.Tensor:
        """The images ``index``, of one box size, float32 (m, d, d).

        Raises `ImageError` for images with pixels that are NaN, infinite or beyond `LARGEST`, and for
        images without any contrast.
        """
        index = np.asarray(index, dtype=np.int64)
        stack, section = self.stack[index], self.section[index]
        stored = np.array([s.shape[0] for s in self.stacks])[stack]
        if len(np.unique(stored)) > 1:  # different crops that lead to one box
            images = torch.empty(len(index), *(int(self.box_sizes[index[0]]),) * 2)
            for side in np.unique(stored):
                images[torch.from_numpy(stored == side)] = self.read(index[stored == side])
            return images
        ends = [0, *(np.flatnonzero(np.diff(stack)) + 1), len(index)]
        parts = [self.stacks[stack[a]].read(section[a:b]) for a, b in pairwise(ends) if b > a]
        images = torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))
        self._check(index, images)
        if self.sign is not None:
            images = images * torch.from_numpy(self.sign[index])[:, None, None]
        d = images.shape[-1]
        box = dict(self.crops).get(d, d)
        if box == d:
            return images
        # a hit on one pixel would ring; scaled so that white noise keeps its power per pixel
        return fourier.resample(without_outlying(images)[0], box, 2) * (box / d)

    def _check(self, index: NDArray[np.int64], images: torch.Tensor) -> None:
        low, high = images.flatten(1).aminmax(dim=1)
        usable = (high - low).isfinite() & (high > low) & (low > -LARGEST) & (high < LARGEST)
        if bool(usable.all()):
            return
        bad = np.flatnonzero(~usable.numpy())
        i = int(bad[0])
        n_invalid = int((~images[i].isfinite()).sum())
        if n_invalid:
            fault = f"has {n_invalid} pixels that are NaN or infinite"
        elif high[i] > low[i]:
            extreme = float(high[i] if high[i] > -low[i] else low[i])
            fault = f"has a pixel of {extreme:.3g}, beyond the range of images ({LARGEST:.0e})"
        else:
            fault = f"has the same value {float(low[i]):g} everywhere"
        stack = self.stacks[self.stack[index[i]]].path
        raise ImageError(
            f"{self.where} row {self.row[index[i]]}: image {self.section[index[i]] + 1} of {stack} "
            f"{fault} ({len(bad)} of the {len(index)} images read with it are affected).\n"
            f"  The particle was probably extracted outside its micrograph, or the file is damaged."
            f"\n  Remedy: {pasted('cryosplat', 'check', self.where.partition(', data_')[0])} --fix "
            f"OUT.star --drop-missing drops such rows; or extract the particles again."
        )


def open_images(
    names: ArrayLike, section: NDArray[np.int64], table: Path, where: str, datadir: Path | None,
    sign: NDArray[np.float32] | None = None, boxes: BoxColumn | None = None,
    faults: StackFaults | None = None,
) -> ImageSource:  # fmt: skip
    """Find, open and check all stacks of a table: names (n,) of files and sections from 0 (n,).

    Raises `StackError` for stacks that are missing or cut short, images that are not square or of
    another size than the table's ``boxes``, and rows that point past the end of their stack; or
    collects them in ``faults``.
    """
    stack, unique = pd.factorize(np.asarray(names, dtype=object))
    stack = stack.astype(np.int64)
    rows = np.bincount(stack).tolist()
    if faults is not None:
        faults.table_boxes = None if boxes is None else boxes.values
        stacks = _open_tolerantly(list(unique), stack, table, where, datadir, faults)
        _collect_past_the_end(unique, stack, section, stacks, faults)
        images = ImageSource(stacks, stack, section, np.arange(1, len(stack) + 1), where, sign)
        if boxes is not None:
            faults.resized = np.flatnonzero(boxes.values != images.box_sizes)
        return images
    paths = resolve_all(list(unique), rows, table, where, datadir)
    stacks = tuple(_open(path, n, where) for path, n in zip(paths, rows, strict=True))
    n_images = np.array([s.n_images for s in stacks])[stack]
    bad = np.flatnonzero((section < 0) | (section >= n_images))
    if len(bad):
        i = bad[0]
        raise StackError(
            f"{where} row {i + 1}: image {section[i] + 1} of {unique[stack[i]]} was asked for,\n"
            f"  but that stack holds {n_images[i]} images ({len(bad)} rows of this file are "
            f"affected).\n  Extraction was probably run again. Remedy: use the table that was "
            f"written with these stacks, or remove those rows."
        )
    notes = tuple(suffix_notes(list(unique), paths))
    row = np.arange(1, len(stack) + 1)
    images = ImageSource(stacks, stack, section, row, where, sign, notes)
    if boxes is not None:
        _check_boxes(images, boxes)
    return images


def _check_boxes(images: ImageSource, boxes: BoxColumn) -> None:
    bad = np.flatnonzero(boxes.values != images.box_sizes)
    if len(bad):
        i = bad[0]
        raise StackError(
            f"{images.where} row {i + 1}: the images of {images.stacks[images.stack[i]].path} "
            f"measure {images.box_sizes[i]} pixels, but {boxes.label} is {boxes.values[i]} "
            f"({len(bad)} rows of this file are affected).\n"
            f"  The stack was rescaled or re-extracted after this file was written.\n"
            f"  Remedy: use the table that was written with these stacks."
        )


def _open_tolerantly(
    names: list[str], stack: NDArray[np.int64], table: Path, where: str, datadir: Path | None,
    faults: StackFaults,
) -> tuple[StackFile | AbsentStack, ...]:  # fmt: skip
    """The stacks that can be opened; absent ones in place of the others."""
    rows = np.bincount(stack).tolist()
    opened: list[StackFile | None] = []
    paths = [resolve(name, table, datadir) for name in names]
    clashes = ambiguous(names, paths)
    shared = dict(clashes.values())
    shared |= {name: path for name, (_, path) in clashes.items()}
    for name, path, n in zip(names, paths, rows, strict=True):
        file = None
        if path is None:
            faults.missing[name] = n
        elif name in shared:
            faults.ambiguous[name] = n, path
        else:
            try:
                file = _open(path, n, where)
            except StackError as error:
                faults.unreadable[name] = n, str(error)
        opened.append(file)
    present = [file.shape[0] for file in opened if file is not None]
    usual = int(np.bincount(present).argmax()) if present else 0
    _, first = np.unique(stack, return_index=True)
    stacks = []
    for number, (name, file) in enumerate(zip(names, opened, strict=True)):
        boxes = faults.table_boxes
        box = usual if boxes is None else int(boxes[first[number]])
        if file is None and box < 1:
            _, why = next(iter(faults.unreadable.values()), (0, ""))
            raise StackError(
                why
                or f"{where}: none of the {len(names)} stacks can be read, the first is {name}, and "
                f"the table does not have the size of the images.\n  Remedy: --datadir FOLDER"
            )
        reason = "unreadable" if name in faults.unreadable else "missing"
        stacks.append(AbsentStack(Path(name), (box, box), reason) if file is None else file)
    return tuple(stacks)


def _collect_past_the_end(
    names: ArrayLike, stack: NDArray[np.int64], section: NDArray[np.int64],
    stacks: tuple[StackFile | AbsentStack, ...], faults: StackFaults,
) -> None:  # fmt: skip
    past = (section < 0) | (section >= np.array([s.n_images for s in stacks])[stack])
    faults.without_image = past
    for number, n in enumerate(np.bincount(stack[past], minlength=len(stacks))):
        file = stacks[number]
        if n and isinstance(file, StackFile):
            faults.past_the_end[str(np.asarray(names)[number])] = int(n), file.n_images


def _open(path: Path, rows: int, where: str) -> StackFile:
    try:
        stack = StackFile(path)
    except MrcError as error:
        raise StackError(f"{where}, {rows} rows: {error}") from None
    if stack.shape[0] != stack.shape[1]:
        raise StackError(
            f"{where}: the images of {path} measure {stack.shape[1]} x {stack.shape[0]} pixels, "
            f"expected squares.\n  Remedy: this may be a micrograph; extract the particles first."
        )
    return stack

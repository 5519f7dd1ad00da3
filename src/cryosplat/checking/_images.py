"""The pixels of a sample of images: unusable, outliers, or not normalised."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..noise import (
    LEVEL_LIMIT,
    MEAN_LIMIT,
    Levels,
    Prepared,
    blank_corners,
    fitted_background,
    usual,
    without_outlying,
)
from ..notes import Note
from ..particles import Particles
from ..particles.images import LARGEST
from .values import Item, shortlist

SAMPLE = 2000
SECONDS = 15.0
AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Measurements on the images ``positions`` (m,): whether they are ``finite`` and ``varied``;
    ``mean`` and ``deviation`` of their background and whether it is ``blank``, ``power`` and
    ``outlying`` as in `Levels`, all (m,); ``unread``: positions that could not be read, and
    ``complete``: whether all images were read in time."""

    positions: NDArray[np.int64]
    finite: NDArray[np.bool_]
    varied: NDArray[np.bool_]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    blank: NDArray[np.bool_]
    power: NDArray[np.float64]
    outlying: NDArray[np.float64]
    unread: NDArray[np.int64]
    complete: bool

    @property
    def usable(self) -> NDArray[np.int64]:
        """Positions of images without fault, sorted."""
        return np.sort(self.positions[self.finite & self.varied])

    @property
    def unusable(self) -> NDArray[np.int64]:
        """Positions of images that no reconstruction can use, sorted."""
        bad = self.positions[~(self.finite & self.varied)]
        return np.sort(np.concatenate([bad, self.unread]))


def spread_evenly(members: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` of ``members``, evenly spread."""
    if len(members) <= most:
        return members
    return members[np.linspace(0, len(members) - 1, most).astype(np.int64)]


def measure(particles: Particles, positions: NDArray[np.int64], seconds: float = SECONDS) -> Pixels:
    """Measure the images ``positions``, stack by stack in random order, for ``seconds`` at most."""
    images = particles.images
    order = images.file_order(positions)
    stack = images.stack[order]
    ends = [0, *(np.flatnonzero(np.diff(stack)) + 1).tolist(), len(order)]
    runs = [order[a:b] for a, b in pairwise(ends) if b > a]
    begin = time.perf_counter()
    pending: dict[int, list[NDArray[np.float32]]] = {}
    rows: dict[int, list[NDArray[np.int64]]] = {}
    blocks, positions_of, unread = [], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    complete = True

    def measure_pending(box: int) -> None:
        blocks.append(_measure(np.concatenate(pending.pop(box))))
        positions_of.extend(rows.pop(box))

    for number in np.random.default_rng(0).permutation(len(runs)):
        if time.perf_counter() - begin > seconds:
            complete = False
            break
        for part in np.array_split(runs[number], -(-len(runs[number]) // AT_ONCE)):
            try:
                pixels = images.stacks[images.stack[part[0]]].read(images.section[part])
            except (InputError, OSError, ValueError):  # a file that was cut since it was opened
                unread.append(part)
                continue
            box = pixels.shape[-1]
            pending.setdefault(box, []).append(pixels)
            rows.setdefault(box, []).append(part)
            if sum(map(len, pending[box])) >= AT_ONCE:
                measure_pending(box)
    for box in tuple(pending):
        measure_pending(box)
    columns = np.concatenate(blocks) if blocks else np.zeros((0, 7))
    finite, varied, mean, deviation, blank, power, outlying = columns.T
    return Pixels(
        np.concatenate(positions_of), finite > 0, varied > 0, mean, deviation, blank > 0,
        power, outlying, np.concatenate(unread), complete,
    )  # fmt: skip


def _measure(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = pixels.reshape(len(pixels), -1)
    finite = np.all(np.abs(flat) < LARGEST, axis=1)  # not where it is NaN
    whole = np.where(finite[:, None], flat, 0.0).astype(np.float32)
    varied = ~finite | (whole.max(1) > whole.min(1))
    images = torch.from_numpy(whole.reshape(pixels.shape))
    blank = blank_corners(images)
    images, outlying = without_outlying(images)
    background = fitted_background(images)
    found = Prepared(background.taken_from(images), background, outlying)
    columns = (
        finite, varied, background.mean, background.deviation, blank, found.powers,
        outlying / flat.shape[1],
    )  # fmt: skip
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def image_items(particles: Particles, pixels: Pixels) -> list[Item]:
    """Items on the images that were read."""
    n = len(pixels.positions)
    text = f"{n:,} of {len(particles):,} read" + ("" if pixels.complete else " in the time allowed")
    findings = [*_unusable_notes(particles, pixels), *_level_notes(particles, pixels)]
    items = [Item("images", text, tuple(findings))]
    good = pixels.finite & pixels.varied
    if good.any():
        items.append(_background(pixels, good))
    return items


def _name(particles: Particles, position: int) -> str:
    images = particles.images
    stack = images.stacks[images.stack[position]].path.name
    return f"row {images.row[position]:,} (image {images.section[position] + 1} of {stack})"


def _unusable_notes(particles: Particles, pixels: Pixels) -> Iterator[Note]:
    n = len(pixels.positions) + len(pixels.unread)
    drop = (
        f"cryosplat check {particles.source} --fix OUT.star --drop-missing reads all images and "
        f"drops these rows"
    )
    for code, bad, what in (
        (
            "images-nan",
            pixels.positions[~pixels.finite],
            f"have pixels that are NaN, infinite or beyond {LARGEST:.0e}",
        ),
        ("images-constant", pixels.positions[~pixels.varied], "have one value everywhere"),
        ("images-unreadable", pixels.unread, "cannot be read"),
    ):
        if len(bad):
            names = [_name(particles, int(i)) for i in np.sort(bad)]
            yield Note(
                code, "alarm", f"{len(bad):,} of {n:,} images {what}: {shortlist(names)}.", drop
            )


def _level_notes(particles: Particles, pixels: Pixels) -> list[Note]:
    """What a reconstruction will do to single images, in its words."""
    good = pixels.finite & pixels.varied
    index = torch.from_numpy(pixels.positions[good])
    group = particles.optics.group[index]
    columns = (pixels.mean, pixels.deviation, pixels.power, pixels.outlying)
    levels = Levels(index, group, *(torch.from_numpy(column[good]) for column in columns))
    powers = [usual(levels.power[group == i]) for i in range(len(particles.optics.groups))]
    return levels.notes(levels.unlike(powers), lambda i: _name(particles, i))


def _background(pixels: Pixels, good: NDArray[np.bool_]) -> Item:
    mean, deviation = pixels.mean[good], pixels.deviation[good]
    typical = float(np.median(deviation))
    if float(np.median(pixels.blank[good])) > 0.5:
        text = "blank in the corners; noise is measured in a ring inside the circle"
        return Item("background", text)
    text = f"mean {np.median(mean):.3g}, deviation {typical:.3g} in the corners"
    off = float(np.median(np.abs(mean))) > MEAN_LIMIT * typical or abs(typical - 1) > LEVEL_LIMIT
    findings = ()
    if off:
        findings = (Note(
            "background-not-normalised", "note",
            f"The images are not normalised: {text}, expected 0 and 1. Each will be normalised by "
            f"its own background.",
        ),)  # fmt: skip
    return Item("background", text, findings)

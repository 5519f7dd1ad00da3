"""Particle images as the image-space solver meets them: transformed, in mini-batches, at random."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ... import fourier
from ...arrays import Columns, members
from ...batch import Batch
from ...errors import ImageError, InputError
from ...grid import Grid
from ...noise import NoiseModel
from ...optics import Optics, ctf, recorded, seen_rotations
from ...poses import Poses
from ...solvent import VACUUM, Solvent

POOL_BYTES = 2**27  # of images that wait in memory, in random order
BLOCK_BYTES = 2**22  # of neighbouring images that are read together
PROBED = 32  # frequencies at which a CTF is looked at
SAMPLE = 256  # images that tell the grey scale


@dataclass(frozen=True, slots=True)
class ImageData:
    """Particle images and what is known about them before any mixture is.

    ``read`` yields the particles with the given positions, in any order, a block at a time, e.g.
    `Particles.batches`. ``half_sets`` (n,): 1 or 2; particles of set 0 are not used. ``grid`` is the
    map's. ``sign`` multiplies the images: -1 where protein is dark; they show the map through
    ``solvent``. ``name`` says which particle a position is, for messages. ``kinds`` (n,) numbers what
    has one box and one pixel size, from 0; None where all images have.
    """

    read: Callable[[Tensor], Iterable[Batch]]
    half_sets: Tensor
    grid: Grid
    noise: NoiseModel
    sign: float = 1.0
    name: Callable[[int], str] = "particle {} (counted from 0)".format
    kinds: Tensor | None = None
    solvent: Solvent = VACUUM

    def used(self) -> Tensor:
        """Positions of the particles in use; raises `InputError` where a half-set has none."""
        counts = [int((self.half_sets == half).sum()) for half in (1, 2)]
        if min(counts) == 0:
            only = (self.half_sets > 0).nonzero().flatten().tolist()[:1]
            raise InputError(
                f"fit_images: half-set 1 holds {counts[0]} and half-set 2 {counts[1]} particles, "
                f"expected at least one in each"
                + "".join(f"; the first in use is {self.name(i)}" for i in only)
                + ".\n  Likely cause: a selection that kept one half-set. Remedy: use more "
                "particles, or have them split at random."
            )
        return (self.half_sets > 0).nonzero().squeeze(1)


@dataclass(frozen=True, slots=True)
class Observed(Columns):
    """n images of one pixel and box size, transformed.

    ``index`` (n,): their positions; ``transforms`` (n, d, d // 2 + 1) complex64: ``rfft2`` of the
    stored images, normalised and with protein bright; ``poses`` as the images see them
    (`seen_rotations`).
    """

    index: Tensor
    transforms: Tensor
    poses: Poses
    optics: Optics

    def __len__(self) -> int:
        return self.index.shape[0]

    @property
    def grid(self) -> Grid:
        """The grid of the images."""
        return Grid(self.transforms.shape[1], float(self.optics.of_group("pixel_size")[0]))


def observe(batch: Batch, data: ImageData) -> Observed:
    """Normalise and transform a batch.

    Raises `ImageError` for an image with NaN or infinite pixels, and where the CTF is zero at every
    frequency, or not a number; `InputError` where the noise of an optics group is not known.
    """
    known = batch.optics.group < len(data.noise.variance)
    if not bool(known.all()):
        raise InputError(
            f"{data.name(int(batch.index[~known][0]))}: is of optics group "
            f"{int(batch.optics.group[~known][0]) + 1}, but the noise is known of "
            f"{len(data.noise.variance)}.\n  Remedy: estimate the noise from these particles."
        )
    images = data.noise.normalised(batch)
    if data.sign != 1.0:
        images = images * data.sign
    transforms = fourier.transform(images, 2)
    finite = transforms[:, 0, 0].isfinite()
    _check(batch.index, finite, data, "has pixels that are NaN or infinite",
           "It was probably extracted outside its micrograph, or the file is damaged")  # fmt: skip
    steps = torch.linspace(0.0, 0.5, PROBED, dtype=torch.float64)
    steps = steps / float(batch.optics.of_group("pixel_size").min())
    contrast = ctf(batch.optics, torch.stack([steps, steps.flip(0)], -1)).abs().amax(1)
    _check(batch.index, contrast > 1e-9, data, "has a CTF that is zero, or no number, everywhere",
           "Its defocus or its scale is probably wrong")  # fmt: skip
    seen = seen_rotations(batch.poses, batch.optics)
    return Observed(batch.index, transforms, seen, batch.optics)


def _check(index: Tensor, good: Tensor, data: ImageData, what: str, cause: str) -> None:
    if bool(good.all()):
        return
    bad = index[~good].tolist()
    raise ImageError(
        f"{data.name(bad[0])}: {what} ({len(bad)} of the {len(index)} images read with it are "
        f"affected).\n  {cause}.\n  Remedy: remove the particle, or extract it again."
    )


def sample(data: ImageData) -> Iterator[Observed]:
    """A few hundred images from the whole set, for first estimates."""
    used = data.used()
    for batch in data.read(used[:: max(1, len(used) // SAMPLE)][:SAMPLE]):
        yield from _by_pixel_size(observe(batch, data))


def grey_level(data: ImageData) -> float:
    """Root mean square of the pixels of the normalised images: noise and particles together."""
    power, n = 0.0, 0
    for block in sample(data):
        d = block.transforms.shape[1]
        squares = recorded(block.transforms, block.optics).abs().square()
        power += float((squares * fourier.friedel_counts(d)).sum()) / d**4
        n += len(block)
    return (power / n) ** 0.5


def _by_pixel_size(block: Observed) -> list[Observed]:
    sizes = list(members(block.optics.of_group("pixel_size")))
    return [block.select(rows) for _, rows in sizes] if len(sizes) > 1 else [block]


@dataclass(frozen=True, slots=True)
class Order:
    """How often and how the images are met; their order is a function of seed, epoch and pool."""

    epochs: int
    batch_size: int
    seed: int


@dataclass(frozen=True, slots=True)
class Part:
    """What is in memory at a time: particles ``index``, met in ``n_batches`` of an ``epoch``."""

    epoch: int
    number: int
    index: Tensor
    n_batches: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Images in memory, and the order they are met in.

    ``batches``: half-set, number in ``blocks``, and positions there.
    """

    part: Part
    blocks: list[Observed]
    batches: list[tuple[int, int, Tensor]]

    def batches_from(self, first: int) -> Iterator[tuple[int, Observed]]:
        """The mini-batches from number ``first`` on: half-set, images."""
        for half, block, index in self.batches[first:]:
            yield half, self.blocks[block].select(index)


def planned(data: ImageData, order: Order) -> list[Part]:
    """All pools of all epochs, before any image is read."""
    used, kinds = data.used(), data.kinds
    kinds = torch.zeros_like(data.half_sets) if kinds is None else kinds
    cells = 3 * kinds.long() + data.half_sets.long()

    def n_batches(index: Tensor) -> int:
        return int((-(-torch.bincount(cells[index]) // order.batch_size)).sum())

    return [
        Part(epoch, number, index, n_batches(index))
        for epoch in range(order.epochs)
        for number, index in enumerate(epoch_pools(used, data.grid.box_size, order.seed, epoch))
    ]


def epoch_pools(used: Tensor, box_size: int, seed: int, epoch: int) -> list[Tensor]:
    """The particles of an epoch in pools: neighbours in the file are read together, blocks shuffled.

    A function of ``seed`` and ``epoch`` alone. A set that fits into one pool is one pool.
    """
    size = max(1, POOL_BYTES // (4 * box_size**2))
    if len(used) <= size:
        return [used]
    blocks = used.split(max(1, min(size, BLOCK_BYTES // (4 * box_size**2))))
    random = np.random.default_rng([seed, epoch])
    shuffled = [blocks[i] for i in random.permutation(len(blocks))]
    n_pools = -(-len(used) // size)
    return [torch.cat(shuffled[i::n_pools]) for i in range(n_pools)]


def mini_batches(
    blocks: list[Observed], half_sets: Tensor, size: int, random: np.random.Generator
) -> list[tuple[int, int, Tensor]]:
    """All images once, in random order: each batch of one half-set, one block, about ``size``."""
    batches = []
    for number, block in enumerate(blocks):
        for half in (1, 2):
            mine = (half_sets[block.index.cpu()] == half).nonzero().squeeze(1).numpy()
            if len(mine):
                parts = np.array_split(random.permutation(mine), -(-len(mine) // size))
                batches += [(half, number, torch.from_numpy(part)) for part in parts]
    return [batches[i] for i in random.permutation(len(batches))]


def pools(
    data: ImageData, order: Order, plan: Sequence[Part], device: torch.device
) -> Iterator[Pool]:
    """The pools of a plan, each read while the one before it is used.

    Raises `InputError` where the images are of other kinds than ``data`` says.
    """
    n_used = len(data.used())
    single = all(len(part.index) == n_used for part in plan)

    def load(index: Tensor) -> list[Observed]:
        read: dict[Grid, list[Observed]] = {}
        for batch in data.read(index):
            for block in _by_pixel_size(observe(batch, data)):
                read.setdefault(block.grid, []).append(block)
        found = [Observed.concatenate(blocks) for _, blocks in sorted(read.items(), key=_size)]
        return [block.to(device) for block in found]

    # not as a context: where a broken-off iteration is collected as garbage, in any thread and at any
    # time, waiting for another thread may wait for ever
    thread = ThreadPoolExecutor(1, "cryosplat-pool")
    try:
        ahead: Future[list[Observed]] | None = None
        for i, part in enumerate(plan):
            if ahead is None:
                ahead = thread.submit(load, part.index)
            blocks = ahead.result()
            if not single:
                ahead = thread.submit(load, plan[i + 1].index) if i + 1 < len(plan) else None
            random = np.random.default_rng([order.seed, part.epoch, part.number])
            batches = mini_batches(blocks, data.half_sets, order.batch_size, random)
            if len(batches) != part.n_batches:
                raise InputError(
                    f"ImageData: the images come in {len(batches)} mini-batches, expected "
                    f"{part.n_batches} by their half-sets and kinds.\n"
                    f"  Likely cause: images of several box or pixel sizes. Remedy: give `kinds`."
                )
            yield Pool(part, blocks, batches)
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def _size(item: tuple[Grid, list[Observed]]) -> tuple[int, float]:
    return item[0].box_size, item[0].pixel_size

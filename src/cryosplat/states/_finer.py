"""States in a finer box: more Gaussians, drawn from the coarse ones, that behave as they did."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..fitting import Encoding, Journal, inverse_softplus
from ..grid import Grid
from ..memory import free_memory
from ..mixture import GaussianMixture, quaternions_to_matrices
from ..particles import downsampled
from ..progress import FINER, FINER_HALVES, Progress
from ..reconstruction.preparing import measured_noise
from ._expectation import Assumptions
from ._judging import clear
from ._kernels import n_parts
from ._learned import kept
from ._learning import Plan, evidence, learn
from ._preparation import FLOOR, Prepared
from .coordinates import NODES
from .maps import voxel_states, whole_images
from .models import Classes, Model
from .moving import Displaced, Motion, Skeleton
from .observations import Observations, Observer
from .values import Gain

HEIRS = 7  # of a Gaussian, on average, in a box of twice the side
MOST_GAUSSIANS = 4000
EVERYONE = Plan(
    iterations=18, first=1500, batch=2500, steps=4, hottest=1.0, cooling=0.4, radii=(0.5, 1.0),
    decay=0.2,
)  # fmt: skip
HALVES = replace(EVERYONE, iterations=10, steps=3)
USUAL_BOX, LARGEST_BOX = 64, 128
SHARE, LEAST_BYTES = 0.5, 1e9  # of the memory that is free
LEAST = 1.3  # times the box before, below which nothing is gained


def seen_in(prepared: Prepared, box: int, n_states: int, progress: Progress) -> Observations | None:
    """The images in a larger box, as far as memory has room for ``n_states`` in it.

    None where that is not larger enough.
    """
    particles = prepared.particles
    box = min(box, particles.box_size)
    room = max(LEAST_BYTES, SHARE * free_memory())
    while box > prepared.seen.box and memory_of(box, n_states, len(particles)) > room:
        box -= 4
    if box < LEAST * prepared.seen.box:
        return None
    small = particles if box == particles.box_size else downsampled(particles, box)
    grid = Grid(small.box_size, small.pixel_size)
    observer = Observer(len(small), grid, measured_noise(small, progress), prepared.seen.device)
    with progress.stage(f"reading images at {box} pixels", len(small), "images") as stage:
        for batch in small.batches():
            observer.add(batch)
            stage.advance(len(batch))
    seen = observer.result()
    return seen if prepared.polarity.sign > 0.0 else seen.inverted()


def refined(
    model: Model, given: Assumptions, prepared: Prepared, box: int | None, found: bool,
    progress: Progress, journal: Journal,
) -> tuple[Model, Assumptions, Observations]:  # fmt: skip
    """The states of all particles in a larger ``box``, with more Gaussians, and the images there.

    Without a box, in one that shows what half-maps resolve if states were ``found``; as they are where
    none that is larger enough can be had.
    """
    n = model.n_states
    side = box or (_shared(n, _resolved(prepared, progress)) if found else 0)
    seen = seen_in(prepared, side, n, progress)
    if seen is None:
        if box is not None and box > prepared.seen.box:
            progress.say(
                f"Neither images nor memory have a box to refine in that is much larger than "
                f"{prepared.seen.box} pixels."
            )
        return model, given, prepared.seen
    k = heirs_in(seen.box, prepared.seen.box, model)
    title = f"{FINER} {seen.box} pixels, {k} Gaussians"
    with progress.stage(title, EVERYONE.iterations, "iterations") as s:
        grown, given = grown_in(
            seen, prepared.everyone, model, given, k, EVERYONE, s.advance, journal
        )  # fmt: skip
    return grown, given, seen


def finer_halves(
    halves: Sequence[tuple[Model, Assumptions]], prepared: Prepared, progress: Progress,
    journal: Journal,
) -> tuple[list[tuple[Model, Assumptions]], Observations] | None:  # fmt: skip
    """The states of both half-sets, refined in a larger box by its own images, which are as seen there.

    None where there is no such box, or either half-set's images are not clearly better explained by
    what the other's have become.
    """
    n = halves[0][0].n_states
    seen = seen_in(prepared, _shared(n, USUAL_BOX), n, progress)
    if seen is None:
        return None
    found, gain = [], []
    with progress.stage(FINER_HALVES, 2 * HALVES.iterations, "iterations") as stage:
        for half, (model, given) in enumerate(halves):
            rows, others = prepared.rows[half], prepared.rows[1 - half]
            k = heirs_in(seen.box, prepared.seen.box, model)
            own = grown_in(
                seen, rows, model, given, k, HALVES, stage.advance, journal.of(f"half {half + 1}")
            )
            after, before = (evidence(*each, seen, others) for each in (own, (model, given)))
            gain.append(Gain.of((after - before).numpy()))
            found.append(own)
    progress.say(
        f"Each half-set's motion refined at {seen.box} pixels: {gain[0]} and {gain[1]} nats per image "
        f"of the other half-set."
    )
    return (found, seen) if clear((gain[0], gain[1])) else None


def _resolved(prepared: Prepared, progress: Progress) -> float:
    """The side of the box that shows what half-maps of all particles resolve, at least the usual."""
    particles = prepared.particles
    if particles.box_size <= USUAL_BOX:
        return USUAL_BOX
    whole, noise = whole_images(particles, progress)
    weights, sign = np.ones((len(whole), 1)), prepared.polarity.sign
    (every,) = voxel_states(whole, weights, sign, noise, progress, "half-maps of all particles")
    if not every.resolution or math.isnan(every.resolution):
        return USUAL_BOX
    side = 2.0 * particles.box_size * particles.pixel_size / every.resolution
    return min(max(side, USUAL_BOX), LARGEST_BOX)


def _shared(n_states: int, box: float) -> int:
    """``box``, or with more states than the nodes of one coordinate one that takes as long."""
    return 2 * round(0.5 * box * min(1.0, (NODES[1] / n_states) ** (1.0 / 3.0)))


def heirs_in(box: int, before: int, model: Model) -> int:
    """How many Gaussians a model should have in a box, from one of the side ``before``."""
    now = len(model.values["means"])
    return max(now, min(MOST_GAUSSIANS, round(HEIRS * (0.5 * box / before) ** 3 * now)))


def grown_in(
    seen: Observations, rows: NDArray[np.int64], model: Model, given: Assumptions, k: int,
    plan: Plan, on_iteration: Callable[[int], None], journal: Journal,
) -> tuple[Model, Assumptions]:  # fmt: skip
    """States with ``k`` Gaussians, learned on from those of ``model`` by the images ``rows``."""
    generator = torch.Generator().manual_seed(0)
    grown = with_heirs(model, k, seen.pixel_size, generator)
    return kept(
        journal, grown, lambda: learn(grown, given, seen, rows, plan, generator, on_iteration)
    )


def with_heirs(model: Model, k: int, pixel: float, generator: torch.Generator) -> Model:
    """``k`` Gaussians in the place of those of ``model``, for maps of ``pixel`` Angstrom.

    Heavy ones have many heirs, which lie where their parent was and behave as it did.
    """
    base = model.shared()
    total = base.amplitudes.sum()
    # at even steps of the mass, so that each has as many as it is heavy
    steps = (torch.arange(k) + torch.rand(1, generator=generator)) / k * total
    parent = torch.searchsorted(base.amplitudes.cumsum(0), steps).clamp_max(len(base) - 1)
    chosen = base.select(parent)
    axes = quaternions_to_matrices(chosen.quaternions)
    narrower = (len(base) / k) ** (1.0 / 3.0)
    # what they are narrower by is made up for by their places
    offsets = chosen.scales * torch.randn(k, 3, generator=generator) * (1 - narrower**2) ** 0.5
    means = chosen.means + torch.einsum("gij,gj->gi", axes, offsets)
    narrow = chosen.scales * narrower
    mixture = GaussianMixture(
        means, narrow, chosen.quaternions, (total / k).expand(k).clone()
    )  # fmt: skip
    encoding = Encoding.of([mixture], pixel, FLOOR)
    shared = encoding.encode(mixture)
    if isinstance(model, Classes):
        differences = _inherited(model, parent, shared["amplitudes"])
        if not isinstance(model, Displaced):
            return Classes(shared, encoding, differences)
    assert isinstance(model, Motion | Displaced)
    ratio = model.encoding.length / pixel
    anchors = model.skeleton.anchors * ratio
    skeleton = Skeleton(anchors, Skeleton.blended(shared["means"], anchors))
    turns, moves = model.values["turns"], model.values["moves"] * ratio
    if isinstance(model, Displaced):
        return Displaced(shared, encoding, differences, skeleton, turns, moves)
    fades = model.values.get("fades")
    return Motion(shared, encoding, skeleton, model.basis, turns, moves, fades)


def _inherited(model: Classes, parent: Tensor, amplitudes: Tensor) -> Tensor:
    """Differences that give each heir its parent's amplitude in each class, in proportion."""
    values = model.values
    each = functional.softplus(values["amplitudes"][:, None] + values["differences"])
    relative = each / functional.softplus(values["amplitudes"])[:, None]
    own = functional.softplus(amplitudes)[:, None] * relative[parent]
    return inverse_softplus(own.clamp_min(1e-6)) - amplitudes[:, None]


def memory_of(box: int, n_states: int, n_images: int) -> float:
    """Bytes for learning ``n_states`` in a box: images, grids, statistics and their transforms."""
    side = 2 * box + 4
    cells = side * side * (box + 4)
    lanes = 8 * (math.ceil(2 * n_states / 8) + n_parts() * math.ceil(3 * n_states / 8))
    images = n_images * 0.5 * math.pi * (0.5 * box) ** 2 * 12.0
    return images + 4.0 * cells * lanes + n_states * 8.0 * box**3 * 24.0

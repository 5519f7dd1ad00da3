"""Poses from nothing, read from top to bottom: images, starts, the best of them, half-sets, poses."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import replace

import torch
from torch import Tensor

from ..devices import device_of, device_title
from ..errors import InputError
from ..fitting import NOWHERE, Journal, Store
from ..maps.fsc import fourier_shell_correlation
from ..mixture import GaussianMixture
from ..notes import Note
from ..particles import Particles, split_half_sets
from ..poses import Poses
from ..progress import Progress, SilentProgress
from ..settings import RefinementSettings
from ..splatting import voxelize
from ..validation.polarity import Polarity
from . import _second
from ._axes import with_symmetry
from ._centring import centred
from ._contrast import contrast_of
from ._first import FirstLevel
from ._images import SmallImages, small_images
from ._search import Hypotheses
from ._second import SecondLevel, reached_by
from ._work import Branch, Start, Work
from .values import AbinitSettings, FoundPoses, Show, unseen

FEWEST = 200  # particles
HELD_OUT, MOST_HELD_OUT = 0.1, 1000  # of the particles; images
LEAST_SHIFT, SHIFT = 8.0, 0.04  # Angstrom; of the box
HAND_UNKNOWN = Note(
    "hand-unknown", "note",
    "The handedness of the map is unknown: its mirror image explains the images equally well.",
    "If helices are left-handed, repeat the command with --hand flip.",
)  # fmt: skip
INFORMED = 10.0  # nats an image: below it the posterior is sharpened


def find_poses(
    particles: Particles,
    settings: AbinitSettings = AbinitSettings(),
    progress: Progress = SilentProgress(),
    checkpoint: Store | None = None,
    show: Show = unseen,
) -> FoundPoses:
    """Orientations, centres and half-sets of ``particles``, of whose table only the optics are read.

    A tenth of the images makes no map: it scores the starts. Nothing is written but the
    ``checkpoint``, where one is given: levels that are done are not done again. ``show`` is told of the
    growing map.

    Raises
    ------
    InputError
        There are too few particles, or their images hold nothing.
    """
    if len(particles) < FEWEST:
        raise InputError(
            f"{particles.source}: {len(particles)} particles, expected at least {FEWEST} to find "
            f"poses from nothing.\n  Remedy: use more particles."
        )
    begin = time.perf_counter()
    generator = torch.Generator().manual_seed(settings.seed)
    particles = _with_new_half_sets(particles, generator)
    device = device_of(settings.device)
    images = small_images(particles, _second.BOX, generator, progress).to(device)
    if device.type != "cpu":
        progress.say(f"Computing on {device_title(device)}.")
    deviation = (settings.shift or max(LEAST_SHIFT, SHIFT * images.side)) / images.side
    contrast = contrast_of(images, centred(images, deviation), settings.contrast, generator)
    progress.say(f"Contrast: {contrast.used} protein.")
    images = images.inverted() if contrast.sign < 0.0 else images
    journal = NOWHERE if checkpoint is None else _journal(checkpoint, images, settings)
    held = torch.zeros(len(images), dtype=torch.bool)
    n_held = min(max(round(HELD_OUT * len(images)), FEWEST // 4), MOST_HELD_OUT)
    held[torch.randperm(len(images), generator=generator)[:n_held]] = True
    work = Work(images, held, particles.half_sets, centred(images, deviation), deviation, show)

    starts: list[Start] = []
    for number in range(settings.starts):
        sharp = bool(starts) and max(s.score.gain for s in starts) < INFORMED
        starts.append(work.start(number, settings.seed, sharp, journal, progress))
        starts.sort(key=lambda s: -s.score.gain)
        if len(starts) > 1 and _indistinguishable(starts[1], starts[0]):
            break
    best = starts[0]
    timings = {"first maps": time.perf_counter() - begin}
    timings["total"] = timings["first maps"]
    if not best.score.found:
        return _nothing(particles, work, starts, settings, contrast, timings)

    carried = [s for s in starts[: settings.carried] if _indistinguishable(s, best)]
    branches = [work.carry(s, settings.seed, journal, progress) for s in carried]
    branch = max(branches, key=lambda p: p.score.gain)
    poses = work.finish(branch, settings.seed, progress)
    first, second = branch.mixtures
    branch = replace(branch, mixtures=(first.to("cpu"), second.to("cpu")))
    notes = [HAND_UNKNOWN]
    if settings.symmetry != "C1":
        branch, poses, note = with_symmetry(work, branch, poses, settings, progress)
        notes.append(note)
    timings["total"] = time.perf_counter() - begin
    timings["half-sets"] = timings["total"] - timings["first maps"]
    return _result(particles, work, starts, branch, poses, settings, contrast, notes, timings)


def _indistinguishable(start: Start, best: Start) -> bool:
    """Whether the held-out images do not prefer ``best`` by three standard errors of a difference."""
    difference = (best.gains - start.gains).double()
    doubt = float(difference.std()) / math.sqrt(len(difference))
    return start is best or float(difference.mean()) <= max(3.0 * doubt, 0.1)


def _in_order(starts: list[Start]) -> list[Start]:
    return sorted(starts, key=lambda s: s.number)


def _with_new_half_sets(particles: Particles, generator: torch.Generator) -> Particles:
    """Half-sets of our own: those of the table belong to its poses."""
    none = replace(particles, half_sets=torch.zeros_like(particles.half_sets))
    return replace(split_half_sets(none, generator), notes=particles.notes)


def _journal(store: Store, images: SmallImages, settings: AbinitSettings) -> Journal:
    digest = hashlib.sha256()
    for part in (torch.view_as_real(images.values), images.precisions):
        digest.update(part.contiguous().cpu().numpy().tobytes())
    wanted = settings.to_dict() | {"device": images.device.type}
    return Journal.open(store, {"settings": wanted, "images": digest.hexdigest()})


def _nothing(
    particles: Particles, work: Work, starts: list[Start], settings: AbinitSettings,
    contrast: Polarity, timings: dict[str, float],
) -> FoundPoses:  # fmt: skip
    best = starts[0]
    score = best.score
    note = Note(
        "no-structure", "alarm",
        f"The images show no structure: a map made from nine tenths of them explains the rest by "
        f"{score.gain:.2f} nats per image better than noise, and by {score.shape:.2f} ± "
        f"{score.doubt:.2f} better than a round blob. No poses are written.",
        "cryosplat check PARTICLES; look at the 2-D classes; use more particles.",
    )  # fmt: skip
    grid = work.grid
    return FoundPoses(
        particles, False, (best.first.mixture.to("cpu"), best.first.mixture.to("cpu")),
        torch.zeros(grid.n_shells, dtype=torch.float64), grid.box_size,
        work.images.side / FirstLevel().limits[1], torch.zeros(len(particles)),
        tuple(s.score for s in _in_order(starts)), best.number, best.history, settings, contrast,
        (note,), timings,
    )  # fmt: skip


def _result(
    particles: Particles, work: Work, starts: list[Start], branch: Branch,
    poses: Hypotheses, settings: AbinitSettings, contrast: Polarity, notes: list[Note],
    timings: dict[str, float],
) -> FoundPoses:  # fmt: skip
    side, mixtures = work.images.side, branch.mixtures
    rotations = poses.rotations.double().flatten(0, 1)
    centres = poses.centres.double().flatten(0, 1)
    grid = work.grid
    if settings.flip:
        rotations, mixtures = mirrored(rotations), (_mirror(mixtures[0]), _mirror(mixtures[1]))
    rotations = _proper(rotations).unflatten(0, (len(particles), -1))
    shifts = (-centres * side).unflatten(0, (len(particles), -1))
    places = tuple(Poses(rotations[:, k], shifts[:, k]) for k in range(rotations.shape[1]))
    fsc = fourier_shell_correlation(*(voxelize(mixture, grid) for mixture in mixtures))
    return FoundPoses(
        replace(particles, poses=places[0]), True, mixtures, fsc,
        grid.box_size, side / FirstLevel().limits[1], poses.weights[:, 0],
        tuple(s.score for s in _in_order(starts)), branch.start.number,
        (*branch.start.history, *branch.history), settings, contrast, tuple(notes), timings,
        places[1:], _refinement(reached_by(branch.fsc, SecondLevel().worth), side),
    )  # fmt: skip


def _refinement(reached: float, side: float) -> RefinementSettings:
    """How to go on: poses are off by a part of the finest wave that was ``reached``, in steps."""
    angle = min(math.degrees(2.0 * SecondLevel().spacing / reached), 30.0)
    shift = min(0.5 * side / reached, 50.0)
    return RefinementSettings(angle=round(angle, 1), shift=round(shift, 1), prior="none")


def mirrored(rotations: Tensor) -> Tensor:
    """The poses (n, 3, 3) that give the same images of a map mirrored at its plane z = 0.

    ``A -> Z A Z`` with Z = diag(1, 1, -1): the projection along z does not see the first Z.
    """
    z = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=rotations.dtype))
    return z @ rotations @ z


def _mirror(mixture: GaussianMixture) -> GaussianMixture:
    """A mixture mirrored at the plane z = 0.

    An axis (x, y, z) becomes (x, y, -z), and the three, whose signs do not matter, (-x, -y, z) too:
    the quaternion (w, x, y, z) becomes (w, -x, -y, z).
    """
    flip = torch.tensor([1.0, 1.0, -1.0])
    turn = torch.tensor([1.0, -1.0, -1.0, 1.0])
    return replace(mixture, means=mixture.means * flip, quaternions=mixture.quaternions * turn)


def _proper(rotations: Tensor) -> Tensor:
    """The nearest rotations, in double precision."""
    u, _, v = torch.linalg.svd(rotations)
    return u @ v

"""The refinement, read from top to bottom: maps, what they are worth, better poses, and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...fitting import Journal, Store
from ...fourier import fast_box_size
from ...maps.mask import soft_mask
from ...particles import Particles
from ...poses import Poses
from ...progress import FIT_ROUND, JUDGE, OPTICS, ROUND, TURN, Progress, SilentProgress
from ...settings import ReconstructionSettings, RefinementSettings
from ...statistics import QuadraticForm, Statistics
from ...validation.baseline import voxel_maps
from ...validation.polarity import polarity_score
from .._checkpoint import journal_in, resumable
from .._clock import Clock
from .._data import measured_noise, with_half_sets
from ._halves import HalfSets
from ._judging import gain_of, judged, orientations_tell
from ._lenses import Looks, integrated, with_defocus, with_lenses_refined
from ._moving import Tries, columns_of, first_prior, moved, unmoved
from ._state import UNKNOWN, State
from .values import Refinement

CONTRAST_BOX = 40  # pixels are enough to tell bright from dark
SEARCHES = 2  # first rounds that search on a grid, where poses are far off


def refine(
    particles: Particles,
    settings: ReconstructionSettings = ReconstructionSettings(),
    how: RefinementSettings = RefinementSettings(),
    progress: Progress = SilentProgress(),
    *,
    others: Sequence[Poses] = (),
    checkpoint: Store | None = None,
    show: Callable[[str, Tensor, float], None] = lambda title, volume, pixel_size: None,
) -> Refinement:
    """Refine the poses of ``particles``, each half-set against maps of its own.

    Rounds of fitting mixtures to both half-sets and moving every image under its own half's map end
    by themselves when images are no likelier under the map of the *other* half-set. The best poses
    are used; the given ones where nothing was gained by the likelihood of unseen images, or where
    the FSC of mixtures with voxels of the other half-set falls. Of the ``settings`` of the
    reconstruction that follows, contrast, symmetry and seed count here. ``others``: further poses of
    all particles, tried beside the given ones. Goes on from the ``checkpoint``. ``show`` is told of the
    map of each round: its title, the map, and its pixel size.

    Raises
    ------
    InputError
        A half-set is too small; the checkpoint is another run's; and whatever reading the images
        raises.
    """
    clock = Clock()
    journal = journal_in(checkpoint, particles, settings, progress, refinement=how.to_dict()).of(
        "refinement"
    )
    generator = torch.Generator().manual_seed(settings.seed)
    drew_half_sets = not particles.has_half_sets
    particles = with_half_sets(particles, generator, progress)
    halves = HalfSets(particles, measured_noise(particles, progress), settings)
    with resumable(journal, progress):
        state = State.of(journal, particles, how)
        while not state.done:
            seen = halves.through(state.optics)
            weighed = seen.weighed(state.weights, state.scales)
            statistics = weighed.statistics(state.poses, progress, journal, state)
            if state.side == 0:
                state = _begun(state, statistics, settings, progress)
            state = _after_a_round(halves, state, statistics, how, others, journal, progress, show)
            journal.finish(state.to_dict())
            journal.write()
    return state.result(particles, drew_half_sets, how, clock.total())


def _begun(
    state: State,
    statistics: list[Statistics],
    settings: ReconstructionSettings,
    progress: Progress,
) -> State:
    """The sign of the images, and the cube that holds the molecule."""
    sign = _sign(statistics[0] + statistics[1], settings)
    upright = _upright(statistics, sign)
    grid = statistics[0].grid
    mask = soft_mask(voxel_maps((upright[0], upright[1]))[0], grid)
    reach = int(((mask > 0.0).nonzero() - grid.centre).abs().max()) + 2
    side = min(fast_box_size(2 * reach), grid.box_size)
    progress.say(f"Contrast: {'bright' if sign > 0.0 else 'dark'} protein.")
    return replace(state, sign=sign, side=side)


def _sign(whole: Statistics, settings: ReconstructionSettings) -> float:
    """What makes protein bright, by the data or as the settings say."""
    if settings.contrast != "auto":
        return -1.0 if settings.contrast == "dark" else 1.0
    small = whole.downsampled(CONTRAST_BOX) if whole.grid.box_size > CONTRAST_BOX else whole
    return -1.0 if polarity_score(QuadraticForm(small, small.grid.box_size)) < 0.0 else 1.0


def _upright(statistics: list[Statistics], sign: float) -> list[Statistics]:
    return statistics if sign > 0.0 else [half.inverted() for half in statistics]


def _after_a_round(
    halves: HalfSets,
    state: State,
    statistics: list[Statistics],
    how: RefinementSettings,
    others: Sequence[Poses],
    journal: Journal,
    progress: Progress,
    show: Callable[[str, Tensor, float], None],
) -> State:
    """Judge the state's poses, and move on from them unless that is the end."""
    number, given, begin = len(state.rounds), halves.particles.poses, state
    seen, stays = halves.through(state.optics), state.stays(given)
    about = given if how.prior == "given" else state.poses
    upright = _upright(statistics, state.sign)
    with progress.stage(f"{ROUND} {number}: {FIT_ROUND}", 2, "fits") as stage:
        maps = [seen.fitted(upright, half, state.side, journal, number, stage) for half in (0, 1)]
    show(f"{ROUND} {number}", 0.5 * (maps[0] + maps[1]), halves.grid.pixel_size)
    with progress.stage(f"{ROUND} {number}: {JUDGE}", None, "images") as stage:
        heeded = halves.heeding(stage, journal, begin)
        known = UNKNOWN if stays else state.prior
        judgement = judged(seen, state.poses, about, known, state.sign, upright, maps, heeded)
        judgement = judgement.corrected(
            integrated(halves, state.poses, state.optics, rows, template, heeded)
            for rows, template in judgement.held
        )
        if number == 0:
            dealt = torch.Generator().manual_seed(halves.settings.seed)
            told = orientations_tell(seen, state.poses, judgement, dealt, heeded)
            judgement = replace(judgement, oriented=told)
        state = state.judged(judgement, how, stays)
    progress.say(state.told())
    if state.done:
        return state
    weights, scales = seen.worth(state.poses, state.sign, maps, progress)
    state, seen = replace(state, weights=weights, scales=scales), seen.weighed(weights, scales)
    with progress.stage(f"{ROUND} {number}: {TURN}", None, "images") as stage:
        heeded = halves.heeding(stage, journal, begin)
        if number == 0 and how.prior == "given":
            state = replace(state, prior=first_prior(seen, given, judgement, how, heeded))
        tries = Tries(about, state.prior, how.prior, number < SEARCHES, others)
        found = moved(seen, state.poses, tries, judgement, heeded)
        gains: dict[str, tuple[float, float]] = {}
        if how.prior == "given":
            gains["poses"] = gain_of(seen, found.poses, given, found.prior, judgement, heeded)
            if not gains["poses"][0] > gains["poses"][1]:
                found = unmoved(seen, given, found.prior, judgement, heeded)
    with progress.stage(f"{ROUND} {number}: {OPTICS}", None, "images") as stage:
        heeded = halves.heeding(stage, journal, begin)
        open_ = halves.weighed(state.weights, state.scales)
        looks = Looks(open_, found.poses, judgement, heeded)
        changes = with_lenses_refined(looks, state.optics, found.prior.shift, how)
        changes = with_defocus(looks, changes, how)
        changes = replace(changes, gains={**changes.gains, **gains})
    return state.moved(found, columns_of(found, judgement), changes)

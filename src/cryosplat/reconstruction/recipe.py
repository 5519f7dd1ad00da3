"""The recipe, read from top to bottom: half-sets, statistics, solvent, fits, FSC, controls."""

from __future__ import annotations

from pathlib import Path

import torch

from ..devices import device_of, device_title
from ..errors import SettingsError
from ..fitting import Store
from ..grid import Grid
from ..maps.fsc import masked_fscs
from ..maps.mask import REACHES, named_masks, soft_mask, spherical_mask
from ..maps.mask_checks import read_mask
from ..maps.model_fit import read_model
from ..maps.views import unseen_share
from ..notes import by_severity
from ..particles import Particles
from ..progress import Progress, SilentProgress, tell
from ..settings import ReconstructionSettings
from ..splatting import voxelize
from ..statistics import QuadraticForm
from ..validation.baseline import voxel_maps
from ..validation.comparison import compare
from ..validation.findings import HARDLY_SEEN
from ..validation.independence import Fingerprints
from ..validation.noise_substitution import already_normalised
from ..validation.polarity import Polarity
from ._checkpoint import journal_in
from ._clock import Clock, peak_memory
from ._controls import control, notes_on_mask
from ._data import (
    Halves,
    accumulated,
    measured_noise,
    polarity_of,
    with_half_sets,
)
from ._examples import examples_of
from ._fits import fitted_to_statistics
from ._grey_scales import matched
from ._identity import digest_of_half_sets
from ._image_fits import fitted_to_images, image_data
from ._maps import Maps
from ._plan import Parts, fitted_side
from ._prior import prior_of
from ._quality import as_the_map_is_seen, quality_of
from ._recorder import Recorder
from ._residual import completed
from ._screening import Screen
from ._solvent import FoundSolvent, found_solvent
from ._starting import Start, mixtures_to_start_from
from ._subject import Subject
from ._worth import worth_of
from .values import Reconstruction


def reconstruct(
    particles: Particles,
    settings: ReconstructionSettings,
    progress: Progress = SilentProgress(),
    *,
    start: Start | None = None,
    checkpoint: Store | None = None,
) -> Reconstruction:
    """Fit mixtures to both half-sets and to all particles, and judge the maps.

    The fits of the two half-sets share the noise model, the contrast sign, the two numbers of the
    solvent, the side of the fitted cube, the number of Gaussians and a prior of one number a shell,
    and nothing else; their voxel baselines also share the Wiener penalty, what is added of their
    residuals one weight a shell and a mask, and all the mask in which the FSC is measured. Nothing is
    written but the ``checkpoint``, where one is given: fits that were broken off go on from it.
    ``start``: what `run_folder.read_start` reads of the run in ``settings.start``.

    Raises
    ------
    InputError
        A half-set is too small; the start, the mask or the model of ``settings`` does not fit or
        cannot be read; and whatever reading the images raises.
    """
    clock, told, device = Clock(), Recorder(progress), device_of(settings.device)
    if device.type != "cpu":
        told.say(f"Computing on {device_title(device)}.")
    for note in particles.notes:
        told.say(str(note))
    generator = torch.Generator().manual_seed(settings.seed)
    drew_half_sets = not particles.has_half_sets
    particles = with_half_sets(particles, generator, told)
    grid = Grid(particles.box_size, particles.pixel_size)
    half_sets = digest_of_half_sets(particles)
    journal = journal_in(checkpoint, particles, settings, told)
    earlier = mixtures_to_start_from(start, settings, half_sets)
    if (settings.particle_diameter or 0.0) > grid.side:
        raise SettingsError(
            f"--particle-diameter {settings.particle_diameter:g}: expected at most the side of the "
            f"box, {grid.side:.4g} Å."
        )
    user_mask = None if settings.mask is None else read_mask(settings.mask, grid)
    if settings.model is not None:
        read_model(Path(settings.model))  # what is wrong with it is better said now than in the end
    with clock("noise"):
        noise = measured_noise(particles, told)
    fingerprints, screen, polarity = Fingerprints(), Screen(noise), None

    for is_first in (True, False):  # images of several pixel sizes may need a second pass
        with clock("accumulate"):
            batches = screen.watch(fingerprints.watch(particles.batches()))
            ready, sets = already_normalised(noise), particles.half_sets
            halves = accumulated(batches, sets, grid, ready, told, settings.symmetry, device)
        with clock("contrast"):
            polarity = polarity or polarity_of(halves, settings, told)
            halves = _upright(halves, polarity)
        with clock("baseline"):
            voxels = _baseline(halves, told)
        with clock("grey scale"):
            seen = polarity.sign * voxels.half1, polarity.sign * voxels.half2
            rescaled = matched(particles, seen, grid, noise, told) if is_first else None
        if rescaled is None:
            break
        particles = rescaled

    left_out, screened = screen.left_out, screen.notes(particles)
    for note in screened:
        tell(progress, note)
    worth = None
    if settings.particle_weights == "auto":

        def again(scaled: Particles, weights: torch.Tensor):
            batches = screen.watch(scaled.batches())
            found = accumulated(
                batches, sets, grid, ready, told, settings.symmetry, device, weights
            )  # fmt: skip
            found = _upright(found, polarity)
            return found, _baseline(found, told)

        with clock("weights"):
            now = worth_of(
                particles, halves, voxels, left_out, polarity.sign, noise, again, told
            )  # fmt: skip
        worth, particles, halves, voxels = now.worth, now.particles, now.halves, now.voxels
        if worth is not None and worth.used:
            left_out = (~worth.kept).nonzero().squeeze(1)
    weighed = [] if worth is None else worth.notes()
    for note in weighed:
        told.say(str(note))
    found = FoundSolvent()
    if settings.solvent == "auto":
        with clock("solvent"):
            found = found_solvent(halves, settings.symmetry, settings.seed, told)
    solvent, pure = found.solvent, found.seen(halves)
    with clock("prior"):
        support = soft_mask(voxels.full, grid)
        if settings.particle_diameter is not None:
            radius, edge = 0.5 * settings.particle_diameter, REACHES["auto"].on(grid)[1]
            support *= spherical_mask(grid, radius, edge)
        side, prior = fitted_side(support, grid), prior_of(voxels, support, grid)
    parts = Parts((pure[0] + pure[1], *pure), side, prior, earlier, clock, in_water=bool(solvent))
    if settings.solver == "images":
        data = image_data(particles, grid, noise, polarity.sign, left_out, solvent)
        fitted = fitted_to_images(parts, data, settings, told, journal)
    else:
        fitted = fitted_to_statistics(parts, settings, told, journal)
    with clock("residual"):
        molecules = Maps(*(voxelize(mixture, grid).detach() for mixture in fitted.mixtures))
        maps = shown = Maps(*(solvent.shown(molecule, grid) for molecule in molecules))
        residual = None
        if settings.solver == "statistics":  # fits to images stay what they are: Gaussians alone
            maps, residual = completed(shown, halves, voxels, support)

    if worth is not None and worth.used:  # the controls look at particles of reversed contrast
        left_out = (~(worth.kept | worth.inverted)).nonzero().squeeze(1)
    with clock("validation"):
        generator = torch.Generator().manual_seed(settings.seed)
        masks = named_masks(maps.full, grid, user_mask)
        mask = masks["auto" if user_mask is None else "user"]
        unseen = unseen_share(as_the_map_is_seen(particles.poses, settings.symmetry).rotations)
        form = QuadraticForm(parts.sets[0], side) if unseen > HARDLY_SEEN else None
        comparison = compare(maps, voxels, mask, grid, generator, form)
        masked = masked_fscs(maps.half1, maps.half2, masks, generator)
    subject = Subject(
        particles, left_out, noise, polarity, grid, settings, halves, maps, shown, residual, support,
        voxels, mask, fingerprints, device, solvent,
    )  # fmt: skip
    with clock("controls"):
        noted = [] if user_mask is None else notes_on_mask(mask, masked["user"], maps.full, grid)
        comparison, controls = control(subject, comparison, parts, fitted, noted, told)
    with clock("local resolution, directions, errors"):
        quality = quality_of(subject, fitted.mixtures[0], molecules, comparison)
    examples = None
    if worth is not None:
        with clock("weights"):
            seen = maps.half1, maps.half2
            examples = examples_of(particles, worth, seen, polarity.sign, grid, noise)
    for note in controls.notes:
        if note.severity != "note":
            progress.warn(note)
    return Reconstruction(
        settings=settings, particles=particles, drew_half_sets=drew_half_sets, half_sets=half_sets,
        grid=grid, noise=noise, polarity=polarity, halves=halves,
        fitted=fitted, fitted_side=side, solvent=found, residual=residual, maps=maps, voxels=voxels,
        mask=mask, masks=masked, comparison=comparison, controls=controls, quality=quality,
        worth=worth, examples=examples,
        notes=tuple(by_severity(
            [*weighed, *controls.notes, *screened, *particles.notes, *told.notes, *found.notes()]
        )),
        timings=clock.seconds | {"total": clock.total()}, peak_memory=peak_memory(),
        device=device_title(device),
    )  # fmt: skip


def _upright(halves: Halves, polarity: Polarity) -> Halves:
    """The statistics with protein bright."""
    return halves if polarity.sign > 0.0 else (halves[0].inverted(), halves[1].inverted())


def _baseline(halves: Halves, progress: Progress) -> Maps:
    with progress.stage("voxel baseline", 5, "maps") as stage:
        maps = voxel_maps(halves, stage.advance)
    return Maps(*maps)

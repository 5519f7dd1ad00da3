"""How good the map is, and where: sharpening, local and directional resolution, errors, a model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..maps.directional import DirectionalFsc, directional_fsc
from ..maps.local_resolution import LocalResolution, local_resolution
from ..maps.model_fit import ModelFit, map_model_fsc
from ..maps.sharpening import Postprocessed, sharpen
from ..maps.uncertainty import Uncertainty, mixture_uncertainty
from ..maps.views import Views, sampling_score, view_distribution
from ..mixture import GaussianMixture
from ..poses import Poses
from ..symmetry import equivalent
from ..validation.comparison import HALF_MAPS, Comparison
from ._subject import Maps, Subject


@dataclass(frozen=True, slots=True)
class Quality:
    """The map ``sharpened``, and how good it is.

    ``local`` resolution from the half-maps of the mixtures, which share a prior, and
    ``local_of_voxels`` from those of the baseline, which do not; ``directional`` resolution;
    ``views`` and their ``sampling`` of Fourier space (SCF, 0 to 1); ``uncertainty`` of the
    Gaussians; agreement with an atomic ``model``, None where none was given.
    """

    sharpened: Postprocessed
    local: LocalResolution
    local_of_voxels: LocalResolution
    directional: DirectionalFsc
    views: Views
    sampling: float
    uncertainty: Uncertainty
    model: ModelFit | None


def quality_of(
    subject: Subject, mixture: GaussianMixture, molecules: Maps, comparison: Comparison
) -> Quality:
    """How good the maps are; ``mixture`` is that of all particles, ``molecules`` are the maps as they
    are without solvent."""
    grid, mask, settings = subject.grid, subject.mask, subject.settings
    full, half1, half2 = subject.maps
    headline = comparison.headline
    low_pass = headline.angstrom if headline.resolved else None
    poses = as_the_map_is_seen(subject.particles.poses, settings.symmetry)
    return Quality(
        sharpened=sharpen(full, comparison.curves[HALF_MAPS], grid, low_pass=low_pass),
        local=local_resolution(half1, half2, mask, grid),
        local_of_voxels=local_resolution(subject.voxels.half1, subject.voxels.half2, mask, grid),
        directional=directional_fsc(half1, half2, mask, grid),
        views=view_distribution(poses),
        sampling=sampling_score(poses.rotations),
        uncertainty=mixture_uncertainty(mixture, molecules.half1, molecules.half2, grid),
        model=None if settings.model is None else map_model_fsc(full, mask, grid, settings.model),
    )


def as_the_map_is_seen(poses: Poses, symmetry: str) -> Poses:
    """Each view replaced by one of its equivalents under the ``symmetry``, at random."""
    if symmetry == "C1":
        return poses
    spread = equivalent(poses.rotations.numpy(), symmetry, np.random.default_rng(0))
    return replace(poses, rotations=torch.from_numpy(spread))

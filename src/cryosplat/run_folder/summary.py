"""From a reconstruction to its summary: the numbers of ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from ..fitting import Schedule
from ..grid import Grid
from ..maps.fsc import resolution
from ..maps.mask_checks import resolutions_by_mask
from ..provenance import provenance
from ..reconstruction import Controls, FoundSolvent, Quality, Reconstruction, Refinement
from ._worth import worth_summary
from .measured import (
    Agreement,
    Contrast,
    Independence,
    NoiseSubstitution,
    Residual,
    Solvent,
)
from .schema import Provenance, RunSummary
from .searched import Refinement as PoseRefinement

THRESHOLDS = 0.5, 0.143


def summary_of(
    result: Reconstruction, curves: Mapping[str, Tensor], refinement: Refinement | None = None
) -> RunSummary:
    """The numbers of ``result``, whose FSC curves are ``curves``, and how it was made."""
    comparison, mixtures, grid = result.comparison, result.mixtures, result.grid
    headline = comparison.headline
    floor = Schedule().floor * grid.pixel_size
    return RunSummary(
        particles=str(result.particles.source.absolute()),
        box_size=grid.box_size,
        pixel_size=grid.pixel_size,
        n_particles=len(result.particles),
        n_half=[half.n_images for half in result.halves],
        half_sets=result.half_sets,
        symmetry=result.settings.symmetry,
        contrast=Contrast(**asdict(result.polarity)),
        solvent=_solvent(result.solvent),
        normalised=result.noise.normalise,
        resolution=headline.angstrom,
        resolution_at_nyquist=headline.at_nyquist,
        resolution_from=comparison.taken_from,
        resolution_reason=comparison.reason,
        resolutions={
            name: {str(t): resolution(curve, grid, t).angstrom for t in THRESHOLDS}
            for name, curve in curves.items()
        },
        masks=resolutions_by_mask(result.masks, grid),
        voxels_of_mask=float(result.mask.sum()),
        fitted_side=result.fitted_side,
        gaussians=[m.copies * len(m) for m in mixtures],
        gaussians_stored=[len(m) for m in mixtures],
        smallest_scale_allowed=floor,
        residual=_residual(result),
        scale_at_floor=float((mixtures[0].scales < 1.05 * floor).float().mean()),
        notes=list(result.notes),
        timings=result.timings,
        peak_memory_bytes=result.peak_memory,
        device=result.device,
        settings=result.settings.to_dict(),
        refinement=None if refinement is None else PoseRefinement(**refinement.summary()),
        provenance=Provenance.model_validate(provenance()),
        worth=worth_summary(result),
        **result.fitted.summary,
        **_controls(result.controls, grid),
        **_quality(result.quality, result.settings.model),
    )


def _solvent(found: FoundSolvent) -> Solvent:
    solvent, halves = found.solvent, found.halves
    return Solvent(
        contrast=solvent.contrast,
        contrast_error=found.contrast_error if halves else None,
        b_factor=solvent.b_factor,
        b_factor_error=found.b_factor_error if halves else None,
        half_sets=[[half.contrast, half.b_factor] for half in halves],
        gain=found.gain,
    )


def _residual(result: Reconstruction) -> Residual | None:
    found, resolved = result.residual, result.comparison.headline.shell
    if found is None:
        return None
    of_resolved = found.carried[1 : max(resolved, 1) + 1]
    most = int(of_resolved.argmax()) + 1
    return Residual(
        carried=float(of_resolved.mean()),
        most=float(found.carried[most]),
        most_angstrom=result.grid.side / most,
        weights=found.weights.tolist(),
        carried_by_shell=found.carried.tolist(),
    )


def _controls(found: Controls, grid: Grid) -> dict[str, Any]:
    agreement, substitution = found.agreement, found.substitution
    return {
        "noise_substitution": NoiseSubstitution(skipped=True)
        if substitution is None
        else NoiseSubstitution(
            from_shell=substitution.from_shell,
            from_angstrom=grid.side / substitution.from_shell,
            invented=float(substitution.invented.mean()),
            most_invented=float(substitution.invented.max()),
        ),
        "agreement": Agreement(
            particles=agreement.n,
            gain=agreement.gain,
            gain_deviation=agreement.gain_deviation,
            gain_with_dealt_rotations=agreement.dealt_gain,
            strength=agreement.strength,
            against=agreement.against,
        ),
        "independence": Independence(
            shared_images=found.shared_images,
            noise_correlation=found.noise_correlation and found.noise_correlation.value,
            noise_deviation=found.noise_correlation and found.noise_correlation.deviation,
        ),
        "symmetry_control": None if found.symmetry is None else found.symmetry.summary(),
    }


def _quality(found: Quality, model: str | None) -> dict[str, Any]:
    local = found.local.summary() | {"voxels": found.local_of_voxels.summary()}
    return {
        "guinier": found.sharpened.summary(),
        "local_resolution": local,
        "uncertainty": found.uncertainty.summary(),
        "directional": found.directional.summary() | {"scf": found.sampling},
        "views": found.views.summary(),
        "model": None if found.model is None else found.model.summary() | {"file": model},
    }

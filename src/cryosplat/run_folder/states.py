"""Classes and motion as a folder: star files, maps, the mixtures of all states, numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import device_title
from ..grid import Grid
from ..io.arrays import write_arrays
from ..io.mrc import write_map
from ..io.pickles import save_pickle
from ..mixture import TENSORS
from ..notes import Note
from ..particles import Particles, write_particles
from ..provenance import provenance
from ..splatting import voxelize
from ..states import Canonical, Classification, Movement, StateMap, States, Verdict
from .folder import RunFolder
from .measured import Contrast
from .schema import Provenance, RunSummary
from .searched import StatesSummary
from .stored_states import FORMAT, MOTION

FRAMES = 20
"""Maps along a coordinate."""


def write_classes(
    folder: RunFolder, result: Classification, grid: Grid, maps: list[StateMap], every: StateMap,
    seconds: float,
) -> RunFolder:  # fmt: skip
    """Fill ``folder`` with classes, their ``maps`` and that of ``every`` particle; commit it."""
    states, particles = result.states, result.prepared.particles
    label = states.posterior.argmax(1)
    table = particles.table.reset_index(drop=True).assign(
        rlnClassNumber=label + 1,
        rlnMaxValueProbDistribution=np.round(states.posterior.max(1), 6),
        cryosplatAbsent=states.absent.clip(0.0).round(6),
    )
    labelled = replace(particles, table=table)
    write_particles(labelled, folder.particles)
    folder.classes.mkdir()
    for j, own in enumerate(maps):
        stem = folder.classes / f"class_{j + 1:02d}"
        _write_maps(stem, own, grid)
        drawn = voxelize(states.full[j], grid).numpy()
        write_map(Path(f"{stem}_gaussians.mrc"), drawn, grid.pixel_size)
        members = np.flatnonzero(label == j)
        if len(members):
            write_particles(labelled[members], Path(f"{stem}.star"))
    save_pickle(folder.latent, states.posterior.astype(np.float32))
    _write_mixtures(folder, states, {"kind": "classes"})
    summary = StatesSummary(
        kind="classes", found=result.verdict.found, cause=result.verdict.cause, n=result.n,
        shares=states.shares.tolist(), counts=np.bincount(label, minlength=result.n).tolist(),
        absent=float(states.absent.mean()), **_evidence(result.verdict),
        scores=[[n, gain.mean, gain.error] for n, gain in result.scores.items()],
        resolutions=[own.resolution for own in maps],
        starts=[list(reached) for reached in result.starts], **_further(result),
    )  # fmt: skip
    return _finished(folder, result, grid, maps, every, summary, seconds)


def write_motion(
    folder: RunFolder, result: Movement, grid: Grid, maps: list[StateMap], every: StateMap,
    canonical: Canonical | None, seconds: float,
) -> RunFolder:  # fmt: skip
    """Fill ``folder`` with motion, ``maps`` of equal parts along the first coordinate, that of
    ``every`` particle, and the one with the motion undone; commit it."""
    states, particles = result.states, result.prepared.particles
    columns: dict[str, NDArray[np.float64]] = {}
    for c in range(result.coordinate.shape[1]):
        columns[f"cryosplatCoordinate{c + 1}"] = np.round(result.coordinate[:, c], 6)
        columns[f"cryosplatCoordinate{c + 1}Width"] = np.round(result.width[:, c], 6)
    columns["cryosplatAbsent"] = states.absent.clip(0.0).round(6)
    table = particles.table.reset_index(drop=True).assign(**columns)
    write_particles(replace(particles, table=table), folder.particles)
    folder.states.mkdir()
    for j, own in enumerate(maps):
        _write_maps(folder.states / f"part_{j + 1:02d}", own, grid)
    if canonical is not None:
        _write_maps(folder.states / "canonical", canonical.map, grid)
        mask = canonical.moving.numpy()
        write_map(folder.states / "moving_part_mask.mrc", mask, grid.pixel_size)
    frames = frames_of(result)
    for i, mixture in enumerate(result.at(frames)):
        volume = voxelize(mixture, grid).numpy()
        write_map(folder.states / f"frame_{i + 1:02d}.mrc", volume, grid.pixel_size)
    save_pickle(folder.latent, result.coordinate.astype(np.float32))
    motion = result.model.values
    extra = {name: motion[name].numpy() for name in MOTION if name in motion}
    shared = result.model.shared()
    extra |= {f"shared_{name}": getattr(shared, name).numpy() for name in TENSORS}
    extra |= {
        "anchors": result.model.skeleton.anchors.numpy(),
        "blend": result.model.skeleton.blend.numpy(),
        "nodes": result.nodes,
    }
    _write_mixtures(folder, states, {
        "kind": "motion", "length": result.model.encoding.length, "box_size": grid.box_size,
        "pixel_size": grid.pixel_size,
    }, extra)  # fmt: skip
    summary = StatesSummary(
        kind="motion", found=result.verdict.found, cause=result.verdict.cause,
        n=len(result.nodes), shares=states.shares.tolist(), nodes=result.nodes.tolist(),
        half_shares=[_shares(states, particles, half) for half in (0, 1)],
        coordinates=result.coordinate.shape[1], frames=frames.tolist(),
        absent=float(states.absent.mean()), **_evidence(result.verdict),
        resolutions=[own.resolution for own in maps],
        starts=[list(reached) for reached in result.starts],
        **_further(result),
        canonical=[] if canonical is None else canonical.at.tolist(),
        moving={} if canonical is None else canonical.angstrom,
    )  # fmt: skip
    curves = (
        {}
        if canonical is None
        else {
            "canonical": canonical.map.fsc,
            **{f"moving part, {name}": curve for name, curve in canonical.fsc.items()},
        }
    )
    told = () if canonical is None else canonical.notes
    return _finished(folder, result, grid, maps, every, summary, seconds, curves, told)


def _write_maps(stem: Path, maps: StateMap, grid: Grid) -> None:
    for suffix, volume in (("", maps.full), ("_half1", maps.half1), ("_half2", maps.half2)):
        write_map(Path(f"{stem}{suffix}.mrc"), volume.numpy(), grid.pixel_size)


def frames_of(result: Movement) -> torch.Tensor:
    """Coordinates (m, c) of the maps along the first one, the others at their medians."""
    first, last = result.ends()
    return torch.from_numpy(np.linspace(first, last, FRAMES)).float()


def _shares(states: States, particles: Particles, half: int) -> list[float | None]:
    own = particles.half_sets.numpy() == half + 1
    return states.posterior[own].mean(0).tolist()


def _further(result: Classification | Movement) -> dict[str, Any]:
    told, found = result.further()
    gains = [[gain.mean, gain.error] for gain in result.further_gains]
    return {"further": told, "further_found": found, "further_gains": gains}


def _evidence(verdict: Verdict) -> dict[str, Any]:
    return {
        "gains": [[gain.mean, gain.error] for gain in verdict.gains],
        "agreement": verdict.agreement,
        "rival": [verdict.rival.mean, verdict.rival.error],
    }


def _write_mixtures(
    folder: RunFolder, states: States, values: dict[str, Any],
    extra: dict[str, NDArray] | None = None,
) -> None:  # fmt: skip
    """All states of all particles and of the half-sets, ``full_means`` (J, k, 3) and so on."""
    arrays: dict[str, NDArray] = dict(extra or {})
    for name, mixtures in (
        ("full", states.full),
        ("half1", states.halves[0]),
        ("half2", states.halves[1]),
    ):
        for tensor in TENSORS:
            arrays[f"{name}_{tensor}"] = torch.stack([getattr(m, tensor) for m in mixtures]).numpy()
    arrays["shares"] = states.shares
    write_arrays(folder.mixtures, "states", FORMAT, arrays, values)


def _finished(
    folder: RunFolder, result: Classification | Movement, grid: Grid, maps: list[StateMap],
    every: StateMap, states: StatesSummary, seconds: float,
    more: Mapping[str, Tensor] = MappingProxyType({}), told: Sequence[Note] = (),
) -> RunFolder:  # fmt: skip
    particles = result.prepared.particles
    curves = {f"state {j + 1}": own.fsc.tolist() for j, own in enumerate(maps)}
    for path, volume in (
        (folder.map, every.full), (folder.half1, every.half1), (folder.half2, every.half2)
    ):  # fmt: skip
        write_map(path, volume.numpy(), grid.pixel_size)
    curves["all particles"] = every.fsc.tolist()
    curves |= {name: curve.tolist() for name, curve in more.items()}
    folder.write_fsc_csv(grid.shell_frequencies().tolist(), curves)
    folder.write_summary(RunSummary(
        particles=str(particles.source.absolute()), box_size=grid.box_size,
        pixel_size=grid.pixel_size, n_particles=len(particles), states=states,
        n_half=[int((particles.half_sets == half).sum()) for half in (1, 2)],
        notes=[*result.verdict.notes, *told, *particles.notes], timings={"total": seconds},
        device=device_title(result.prepared.seen.device),
        settings=asdict(result.prepared.settings),
        contrast=Contrast(**asdict(result.prepared.polarity)),
        gaussians=[len(mixtures[0]) for mixtures in (result.states.full, *result.states.halves)],
        provenance=Provenance.model_validate(provenance()),
    ))  # fmt: skip
    return folder.commit()

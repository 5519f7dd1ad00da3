"""Classes and motion as a folder: star files, maps, the mixtures of all states, numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..grid import Grid
from ..io.arrays import read_arrays, write_arrays
from ..io.mrc import write_map
from ..io.pickles import save_pickle
from ..mixture import TENSORS, GaussianMixture
from ..particles import Particles, write_particles
from ..provenance import provenance
from ..splatting import voxelize
from ..states import Classification, Movement, StateMap, States, Verdict, functions_at
from ..states.models import Motion
from .folder import RunFolder
from .schema import Provenance, RunSummary
from .searched import StatesSummary

FORMAT = 1
FRAMES = 20
"""Maps along a coordinate."""
EDGES = 0.02  # share of the particles beyond the first and the last of them


def write_classes(
    folder: RunFolder, result: Classification, grid: Grid, maps: list[StateMap], seconds: float
) -> RunFolder:
    """Fill ``folder`` with classes and their ``maps`` on ``grid``, and commit it."""
    states, particles = result.states, result.prepared.particles
    label = states.posterior.argmax(1)
    table = particles.table.reset_index(drop=True).assign(
        rlnClassNumber=label + 1,
        rlnMaxValueProbDistribution=np.round(states.posterior.max(1), 6),
        cryosplatAbsent=np.round(states.absent, 6),
    )
    labelled = replace(particles, table=table)
    write_particles(labelled, folder.particles)
    folder.classes.mkdir()
    for j, own in enumerate(maps):
        stem = folder.classes / f"class_{j + 1:02d}"
        for suffix, volume in (("", own.full), ("_half1", own.half1), ("_half2", own.half2)):
            write_map(Path(f"{stem}{suffix}.mrc"), volume.numpy(), grid.pixel_size)
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
        starts=[list(reached) for reached in result.starts],
    )  # fmt: skip
    return _finished(
        folder, result.prepared.particles, grid, maps, summary, result.verdict, seconds
    )


def write_motion(
    folder: RunFolder, result: Movement, grid: Grid, maps: list[StateMap], seconds: float
) -> RunFolder:
    """Fill ``folder`` with motion, and ``maps`` of equal parts along the first coordinate."""
    states, particles = result.states, result.prepared.particles
    columns: dict[str, NDArray[np.float64]] = {}
    for c in range(result.coordinate.shape[1]):
        columns[f"cryosplatCoordinate{c + 1}"] = np.round(result.coordinate[:, c], 6)
        columns[f"cryosplatCoordinate{c + 1}Width"] = np.round(result.width[:, c], 6)
    columns["cryosplatAbsent"] = np.round(states.absent, 6)
    table = particles.table.reset_index(drop=True).assign(**columns)
    write_particles(replace(particles, table=table), folder.particles)
    folder.states.mkdir()
    for j, own in enumerate(maps):
        stem = folder.states / f"part_{j + 1:02d}"
        for suffix, volume in (("", own.full), ("_half1", own.half1), ("_half2", own.half2)):
            write_map(Path(f"{stem}{suffix}.mrc"), volume.numpy(), grid.pixel_size)
    frames = frames_of(result)
    for i, mixture in enumerate(result.at(frames)):
        volume = voxelize(mixture, grid).numpy()
        write_map(folder.states / f"frame_{i + 1:02d}.mrc", volume, grid.pixel_size)
    save_pickle(folder.latent, result.coordinate.astype(np.float32))
    motion = result.model.values
    extra = {name: motion[name].numpy() for name in ("turns", "moves")}
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
    )  # fmt: skip
    return _finished(folder, particles, grid, maps, summary, result.verdict, seconds)


def frames_of(result: Movement) -> torch.Tensor:
    """Coordinates (m, c) of the maps along the first one, the others at their medians."""
    first = result.coordinate[:, 0]
    ends = np.quantile(first, [EDGES, 1.0 - EDGES])
    frames = np.tile(np.median(result.coordinate, axis=0), (FRAMES, 1))
    frames[:, 0] = np.linspace(ends[0], ends[1], FRAMES)
    return torch.from_numpy(frames).float()


def _shares(states: States, particles: Particles, half: int) -> list[float | None]:
    own = particles.half_sets.numpy() == half + 1
    return states.by_halves[half][own].mean(0).tolist()


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


def read_states(folder: RunFolder, at: list[float]) -> GaussianMixture:
    """The mixture of a class (its number) or at coordinates of motion.

    Raises `InputError` where the run has no such state.
    """
    arrays, values = read_arrays(
        folder.mixtures, "states", FORMAT, "give the folder of a run of classify or motion."
    )
    if values["kind"] == "classes":
        number = at[0]
        n = len(arrays["full_means"])
        if len(at) != 1 or number != int(number) or not 1 <= number <= n:
            raise InputError(f"--at {at[0]:g}: expected the number of a class, 1 to {n}.")
        own = {name: arrays[f"full_{name}"][int(number) - 1] for name in TENSORS}
        return _mixture(own)
    c = arrays["nodes"].shape[1]
    if len(at) != c or max(map(abs, at)) > 1.0:
        raise InputError(f"--at: expected {c} coordinate{'s' if c > 1 else ''} from -1 to 1.")
    shared = _mixture({name: arrays[f"shared_{name}"] for name in TENSORS})
    held = {name: torch.from_numpy(arrays[name]) for name in ("anchors", "blend", "turns", "moves")}
    return Motion.moved(shared, values["length"], **held, basis=functions_at(torch.tensor([at])))[0]


def _mixture(arrays: dict[str, NDArray]) -> GaussianMixture:
    means, scales, quaternions, amplitudes = (torch.from_numpy(arrays[name]) for name in TENSORS)
    return GaussianMixture(means, scales, quaternions, amplitudes)


def _finished(
    folder: RunFolder, particles: Particles, grid: Grid, maps: list[StateMap],
    states: StatesSummary, verdict: Verdict, seconds: float,
) -> RunFolder:  # fmt: skip
    curves = {f"state {j + 1}": own.fsc.tolist() for j, own in enumerate(maps)}
    folder.write_fsc_csv(grid.shell_frequencies().tolist(), curves)
    folder.write_summary(RunSummary(
        particles=str(particles.source.absolute()), box_size=grid.box_size,
        pixel_size=grid.pixel_size, n_particles=len(particles), states=states,
        n_half=[int((particles.half_sets == half).sum()) for half in (1, 2)],
        notes=[*verdict.notes, *particles.notes], timings={"total": seconds},
        provenance=Provenance.model_validate(provenance()),
    ))  # fmt: skip
    return folder.commit()

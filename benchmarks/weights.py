"""What weights and scales find and give: voxel maps plain, weighted, and as if all were known.

usage: python -m benchmarks.weights FOLDER ...
Each folder holds a simulated set: particles.star, truth.mrc and hidden.npz with ``junk`` (n,) bool and
``scale`` (n,). Writes benchmarks/results/weights.json, under the folder's name; others there stay.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.maps.mask import soft_mask
from cryosplat.particles import Particles, read_particles
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction import Maps
from cryosplat.reconstruction._data import measured_noise
from cryosplat.reconstruction._worth import Worth, worth_of
from cryosplat.statistics import Statistics, accumulate
from cryosplat.validation.baseline import voxel_maps

from .machine import describe

RESULT = Path(__file__).parent / "results" / "weights.json"
SHELLS = 6  # of the FSC that are told, evenly spaced up to Nyquist


def measured(folder: Path) -> dict[str, Any]:
    """One set: FSC with the truth of three voxel maps, and how well junk and scale were found."""
    particles = read_particles(folder / "particles.star")
    hidden = np.load(folder / "hidden.npz")
    good = torch.from_numpy(~hidden["junk"])
    scale = torch.from_numpy(hidden["scale"])
    grid = Grid(particles.box_size, particles.pixel_size)
    truth = torch.from_numpy(read_map(folder / "truth.mrc").data)
    mask = soft_mask(truth, grid)
    noise = measured_noise(particles, SilentProgress())
    halves = particles.half_sets.long() - 1

    def maps(used: Particles, weights: Tensor | None) -> Maps:
        return Maps(
            *voxel_maps(
                tuple(accumulate(used.batches(), halves, 2, grid, noise, weights=weights))  # type: ignore
            )
        )

    def fsc(found: Maps) -> Tensor:
        return fourier_shell_correlation(found.full * mask, truth * mask)

    plain = maps(particles, None)
    begin = time.process_time()
    none = torch.zeros(0, dtype=torch.int64)
    rounds: list[Maps] = []

    nothing = Statistics.zero(grid), Statistics.zero(grid)  # worth_of passes halves on, unread

    def again(scaled: Particles, weights: Tensor) -> tuple[tuple[Statistics, Statistics], Maps]:
        rounds.append(maps(scaled, weights))
        return nothing, rounds[-1]

    found = worth_of(particles, nothing, plain, none, 1.0, noise, again, SilentProgress())
    seconds = time.process_time() - begin
    worth, weighted = found.worth, found.voxels
    assert worth is not None
    known = replace(particles, optics=replace(particles.optics, scale=scale.double()))
    ideal = maps(known, good.double())
    shells = torch.linspace(0, grid.n_shells - 2, SHELLS + 1).round().long()[1:].tolist()
    curves = {"plain": fsc(plain), "weighted": fsc(weighted), "all known": fsc(ideal)}
    return {
        "particles": len(particles),
        "used": worth.used,
        "rounds": len(rounds),
        "shells": shells,
        "fsc": {k: [round(float(v[i]), 3) for i in shells] for k, v in curves.items()},
        "cpu seconds": round(seconds, 1),
        **_found(worth, good, scale),
    }


def _found(worth: Worth, good: Tensor, scale: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "shares": [round(s, 3) for s in worth.shares],
        "spreads": [round(s, 3) for s in worth.spreads],
        "least weight of a particle": round(float(worth.weights[good].min()), 3),
    }
    if not bool(good.all()):
        rank = worth.odds.argsort().argsort().double()
        n, m = int(good.sum()), int((~good).sum())
        found["area under curve"] = round((float(rank[good].sum()) - n * (n - 1) / 2) / (n * m), 5)
        found["junk kept"] = round(float(worth.kept[~good].double().mean()), 3)
        found["particles lost"] = round(float((~worth.kept[good]).double().mean()), 4)
    if float(scale.std()) > 0.0:
        logs = torch.stack([worth.scales[good].log(), scale[good].double().log()])
        found["correlation of log scales"] = round(float(torch.corrcoef(logs)[0, 1]), 3)
    return found


def main(run: Callable[[Path], dict[str, Any]] = measured) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"sets": {}}
    for folder in parser.parse_args().folders:
        found["sets"][folder.name] = run(folder)
        found["machine"] = describe()
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
        print(folder.name, json.dumps(found["sets"][folder.name]), flush=True)


if __name__ == "__main__":
    main()

"""Classes and motion found in simulated particles, against what was put in.

usage: python -m benchmarks.states [--only NAME ...] [--seeds N ...] [--data FOLDER] [--shared FOLDER]
           [--voxels] [--cryodrgn PROGRAM [--epochs N]]
Particles are made by ``tools/make_moving_particles.py`` in the folder ``--shared``, whole commands run
on them with no option, and what they find is scored: rank correlation of coordinates, accuracy of
classes, and the area under the FSC of each state with its truth to 14.4 Angstrom (6 for igg128), the
map being taken at the state's mean coordinate (CryoBench, Jeon et al. 2024), beside that of one map of
all particles.
``--voxels`` adds voxel classes that share nothing, learned from the same sums, and ``--cryodrgn`` the
coordinate and maps of that program; both also to runs that are there. Writes
benchmarks/results/states.json and the table in benchmarks/README.md, of medians; runs that are there
stay, unless ``--again``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr

from cryosplat import fourier
from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map
from cryosplat.io.star import read_star, write_star
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.run_folder import RunFolder
from cryosplat.run_folder.stored_states import StoredStates
from cryosplat.splatting import voxelize

from .latent import cryodrgn
from .machine import describe
from .table import rewrite_states
from .voxel_classes import voxel_classes

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "states.json"
MODEL = "1igy_IgG1.pdb"
TURN = ("--part", "A,B:1-225", "--hinge", "B:226")
STILL = (*TURN, "--turn", "0", "--states", "1")
PARTS = ("--part", "A,B:1-225", "--part", "C,D:1-225", "--absent")
SEEDS = (1, 2, 3, 4, 5)
APICAL = ",".join(f"{chain}:191-376" for chain in "ABCDEFG")  # of one ring of GroEL
RECEPTOR = ("--part", "A:330-528", "--hinge", "A:329", "--turn", "60")  # of one chain of the spike


@dataclass(frozen=True, slots=True)
class StateSet:
    """Particles: what `classify` or `motion` (``command``) looks at, and how they are simulated.

    ``finest``: the resolution in Angstrom to which maps are compared with the truth. ``shift_error``:
    errors of the shifts in the file, in Angstrom.
    """

    name: str
    command: str
    simulated: tuple[str, ...]
    model: str = MODEL
    finest: float = 14.4
    shift_error: float = 0.0


def _sets() -> list[StateSet]:
    found = []
    for snr in (0.05, 0.02, 0.01):
        noise, name = ("--snr", str(snr)), f"{snr:.2f}"[2:]
        found.append(StateSet(f"mot{name}", "motion", (*TURN, *noise)))
        found.append(StateSet(f"cls{name}", "classify", (*PARTS, *noise)))
    loud, large = ("--snr", "0.05"), ("--snr", "0.01", "--box", "128", "--apix", "3")
    return [
        *found,
        StateSet("clsw05", "classify", (*PARTS, *loud, "--weights", "8,4,2,1")),
        StateSet(
            "hard05", "motion", (*TURN, *loud, "--angle-err", "1", "--junk", ".2"), shift_error=1.0
        ),
        StateSet("groel", "classify", ("--part", APICAL, "--absent", *loud), "1MNF_groel.pdb.gz"),
        StateSet("spike", "motion", (*RECEPTOR, *loud), "6vxx.pdb"),
        StateSet("igg128", "motion", (*TURN, *large, "--num", "10000"), finest=6.0),
        StateSet("rig05", "motion", (*STILL, *loud)),
        StateSet("rigj05", "motion", (*STILL, *loud, "--junk", ".2")),
        StateSet("rigp05", "motion", (*STILL, *loud, "--angle-err", "2")),
    ]


def simulated(s: StateSet, seed: int, data: Path, shared: Path) -> Path:
    """The folder of the particles, which are made unless they are there."""
    folder = data / f"{s.name}_{seed}"
    if not (folder / "particles.star").exists():
        tool = shared / "tools" / "make_moving_particles.py"
        model = shared / "data" / "models" / s.model
        made = [sys.executable, tool, model, folder, *s.simulated, "--seed", str(seed)]
        subprocess.run(made, check=True)
        if s.shift_error:
            _misplace(folder / "particles.star", s.shift_error, seed)
    return folder


def _misplace(star: Path, error: float, seed: int) -> None:
    """Errors of deviation ``error`` (Angstrom) to the shifts of a file."""
    blocks, draw = read_star(star), np.random.default_rng(seed)
    for name in ("rlnOriginXAngst", "rlnOriginYAngst"):
        blocks["particles"][name] += draw.normal(0.0, error, len(blocks["particles"]))
    write_star(star, blocks)


def measured(s: StateSet, folder: Path) -> dict[str, Any]:
    """One set: what the command cost, found, and how true that is."""
    star, out = folder / "particles.star", folder / "run"
    command = [sys.executable, "-m", "cryosplat", s.command, star, "-o", out, "--overwrite"]
    done = subprocess.run(
        [sys.executable, HERE / "measure.py", folder / "log.txt", *map(str, command)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    cost = json.loads(done.stdout)
    if cost["exit_code"]:
        raise SystemExit(f"{s.name}: {(folder / 'log.txt').read_text()[-2000:]}")
    run = RunFolder(out)
    states = run.read_summary().states
    assert states is not None
    label, rows = _labels(run, folder)
    result: dict[str, Any] = {
        **cost, "commit": describe()["commit"],
        "found": states.found, "cause": states.cause, "gains": states.gains,
        "rival": states.rival, "agreement": round(states.agreement or 0.0, 4),
        "absent": round(states.absent or 0.0, 4), "moving_part": states.moving,
    }  # fmt: skip
    real = label >= 0
    if not real.all():
        absent = rows["cryosplatAbsent"].to_numpy(float) > 0.5
        result["junk_found"] = round(float(absent[~real].mean()), 4)
        result["particles_lost"] = round(float(absent[real].mean()), 4)
    if label.max() > 0:
        truths = _truths(folder)
        grid = Grid(len(truths[0]), run.read_summary().pixel_size or 1.0)
        score = _moved if s.command == "motion" else _sorted
        compared = Compared(truths, grid, s.finest)
        result |= score(run, rows, label, compared)
        result["area_one_map"] = round(compared.area([_one_map(run)] * len(truths)), 4)
    return result


def beside(
    s: StateSet, folder: Path, row: dict[str, Any], voxels: bool, program: Path | None, epochs: int
) -> None:
    """Add to a ``row`` what voxel classes and the other ``program`` find in the same particles."""
    label = np.load(folder / "states.npy")
    truths = _truths(folder)
    if len(truths) == 1:
        return
    pixel_size = read_map(folder / "truth.mrc").pixel_size
    compared = Compared(truths, Grid(len(truths[0]), pixel_size), s.finest)
    if voxels and "voxel_classes" not in row:
        row["voxel_classes"] = _of_voxels(folder, label, compared, s.command)
    if program is not None and s.command == "motion":
        star = folder / "particles.star"
        found = cryodrgn(program, star, len(truths[0]), pixel_size, epochs, label)
        rank = abs(float(spearmanr(found.z[label >= 0], label[label >= 0]).statistic))
        row["cryodrgn"] = found.cost | {
            "rank_correlation": round(rank, 4),
            "area": round(compared.cropped(len(found.maps[0])).area(found.maps), 4),
        }


def _labels(run: RunFolder, folder: Path) -> tuple[NDArray[np.int64], Any]:
    """The true state of each particle in the run's file, -1 for junk, and its rows."""
    rows = read_star(run.particles)["particles"]
    number = rows["rlnImageName"].str.split("@").str[0].astype(int).to_numpy() - 1
    return np.load(folder / "states.npy")[number], rows


def _truths(folder: Path) -> list[torch.Tensor]:
    paths = sorted(folder.glob("truth_??.mrc"))
    return [torch.from_numpy(read_map(path).data.copy()) for path in paths]


def _one_map(run: RunFolder) -> torch.Tensor:
    return torch.from_numpy(read_map(run.map).data.copy())


@dataclass(frozen=True, slots=True)
class Compared:
    """The true maps of all states on ``grid``, and to what resolution others are held against them."""

    truths: list[torch.Tensor]
    grid: Grid
    finest: float

    def area(self, volumes: list[torch.Tensor]) -> float:
        """The mean FSC of each map with its state's truth, over all shells, of all states."""
        last = int(self.grid.side / self.finest + 1e-6)
        return float(np.mean([
            fourier_shell_correlation(v, t)[1 : last + 1].mean()
            for v, t in zip(volumes, self.truths, strict=True)
        ]))  # fmt: skip

    def cropped(self, box: int) -> Compared:
        """The same in a smaller box, as far as that shows."""
        truths = [fourier.resample(t.double(), box, 3) for t in self.truths]
        grid = Grid(box, self.grid.side / box)
        return Compared(truths, grid, max(self.finest, 2.0 * grid.pixel_size))


def _moved(run: RunFolder, rows: Any, label: NDArray, compared: Compared) -> dict[str, Any]:
    z = rows["cryosplatCoordinate1"].to_numpy(float)
    means = [float(z[label == j].mean()) for j in range(len(compared.truths))]
    stored = StoredStates.open(run)
    volumes = [voxelize(stored.at([at]), compared.grid) for at in means]
    rank = abs(float(spearmanr(z[label >= 0], label[label >= 0]).statistic))
    return {
        "rank_correlation": round(rank, 4),
        "area": round(compared.area(volumes), 4),
    }


def _sorted(run: RunFolder, rows: Any, label: NDArray, compared: Compared) -> dict[str, Any]:
    found = rows["rlnClassNumber"].to_numpy(int) - 1
    table = np.zeros((len(compared.truths), int(found.max()) + 1))
    np.add.at(table, (label[label >= 0], found[label >= 0]), 1)
    true, own = linear_sum_assignment(-table)
    # a state of which there is no class of its own is shown by the class with most of its particles
    shown = table.argmax(1)
    shown[true] = own
    stored = StoredStates.open(run)
    volumes = [voxelize(stored.at([float(j + 1)]), compared.grid) for j in shown]
    return {
        "classes": len(table.T),
        "accuracy": round(float(table[true, own].sum() / table.sum()), 4),
        "area": round(compared.area(volumes), 4),
    }


def _of_voxels(folder: Path, label: NDArray, compared: Compared, command: str) -> dict[str, Any]:
    """Voxel classes: as many as there are states, or for motion as the command has nodes."""
    n_states = len(compared.truths)
    n = 8 if command == "motion" else n_states
    posterior, maps, seconds = voxel_classes(folder / "particles.star", n)
    own = posterior.argmax(1)
    found: dict[str, Any] = {"classes": n, "cpu_s": round(seconds, 1)}
    mean = np.stack([posterior[label == j].mean(0) for j in range(n_states)])
    if command == "classify":
        table = np.zeros((n_states, n))
        np.add.at(table, (label[label >= 0], own[label >= 0]), 1)
        rows, columns = linear_sum_assignment(-table)
        found["accuracy"] = round(float(table[rows, columns].sum() / table.sum()), 4)
    volumes = [maps[j] for j in mean.argmax(1)]
    found["area"] = round(compared.cropped(len(maps[0])).area(volumes), 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of sets")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where particles go")
    shared = os.environ.get("CRYOSPLAT_SHARED", "../shared")
    parser.add_argument("--shared", type=Path, default=Path(shared), help="tools and atomic models")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="of the particles")
    parser.add_argument("--again", action="store_true", help="also runs that are there")
    parser.add_argument("--voxels", action="store_true", help="voxel classes beside them")
    parser.add_argument("--cryodrgn", type=Path, metavar="PROGRAM", help="cryoDRGN beside them")
    parser.add_argument("--epochs", type=int, default=60, help="of cryoDRGN")
    given = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"sets": {}}
    for seed, s in itertools.product(given.seeds, _sets()):
        if given.only and s.name not in given.only:
            continue
        row = found["sets"].setdefault(
            s.name,
            {"command": s.command, "simulated": " ".join((s.model, *s.simulated)), "runs": {}},
        )
        more = given.voxels or given.cryodrgn is not None
        if str(seed) in row["runs"] and not given.again and not more:
            continue
        folder = simulated(s, seed, given.data, given.shared)
        if str(seed) not in row["runs"] or given.again:
            row["runs"][str(seed)] = measured(s, folder)
        beside(s, folder, row["runs"][str(seed)], given.voxels, given.cryodrgn, given.epochs)
        found["machine"] = describe()
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
        print(s.name, seed, json.dumps(row["runs"][str(seed)]), flush=True)
    rewrite_states(HERE / "README.md", RESULT)


if __name__ == "__main__":
    main()

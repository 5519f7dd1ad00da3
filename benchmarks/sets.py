"""The particle sets of the benchmark, and how they are simulated.

The simulator is independent of cryosplat where one is given (``CRYOSPLAT_SHARED`` or ``--shared``:
its ``tools/make_particles.py``); otherwise ``cryosplat simulate`` makes the particles, and the
results say so.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class ParticleSet:
    """One simulated data set: ``n`` particles of ``box_size`` pixels of ``pixel_size`` Angstrom.

    ``b_factor`` in square Angstrom; ``angle_error`` (degrees, per axis of the rotation vector) and
    ``shift_error`` (Angstrom, per axis) are the standard deviations of what the recorded poses are
    off by. ``parts`` simulations with consecutive seeds are joined when one would not fit in memory.
    """

    name: str
    model: str
    box_size: int
    pixel_size: float
    n: int
    snr: float
    angle_error: float = 0.0
    shift_error: float = 0.0
    b_factor: float = 80.0
    seed: int = 7
    parts: int = 1


SETS = (
    ParticleSet("spike", "6vxx.pdb", 128, 2.0, 4000, 0.03, 0.7, 0.4),
    ParticleSet("haemoglobin", "4hhb_hemoglobin.pdb", 80, 1.3, 4000, 0.02, 0.7, 0.4),
    ParticleSet("groel", "1MNF_groel.pdb.gz", 96, 2.8, 4000, 0.05, 0.7, 0.4),
    ParticleSet("igg", "1igy_IgG1.pdb", 96, 2.2, 4000, 0.01, 0.7, 0.4),
    ParticleSet("apoferritin", "apoferritin_ca_sym.pdb", 160, 1.2, 3000, 0.1),
    ParticleSet("hb64", "4hhb_hemoglobin.pdb", 64, 1.6, 2000, 0.1),
    ParticleSet("spike_clean", "6vxx.pdb", 128, 2.0, 3000, 0.1),
    ParticleSet("large", "6vxx.pdb", 256, 1.0, 20000, 0.03, 0.7, 0.4, parts=4),
)
DEFAULT_SETS = tuple(s.name for s in SETS if s.name != "large")


def _independent_command(
    s: ParticleSet, tool: Path, models: Path, out: Path, seed: int, n: int
) -> list[str]:
    return [
        sys.executable, str(tool), str(models / s.model), str(out),
        "--box", str(s.box_size), "--apix", str(s.pixel_size), "--num", str(n),
        "--snr", str(s.snr), "--b", f"{s.b_factor:g}", "--angle-err", str(s.angle_error),
        "--shift-err", str(s.shift_error), "--seed", str(seed),
    ]  # fmt: skip


def _own_command(
    s: ParticleSet, cryosplat: list[str], models: Path, out: Path, seed: int, n: int
) -> list[str]:
    return [
        *cryosplat, "simulate", str(models / s.model), "-o", str(out),
        "--box", str(s.box_size), "--pixel-size", str(s.pixel_size), "--n", str(n),
        "--snr", str(s.snr), "--b-factor", f"{s.b_factor:g}", "--angle-error-deg", str(s.angle_error),
        "--shift-error", str(s.shift_error), "--seed", str(seed),
    ]  # fmt: skip


def simulate(s: ParticleSet, folder: Path, shared: Path, cryosplat: list[str] | None) -> str:
    """Make the set ``s`` in ``folder`` unless it is there already; returns the simulator's name.

    Raises FileNotFoundError when neither simulator nor the atomic model is at hand.
    """
    tool, models = shared / "tools" / "make_particles.py", shared / "data" / "models"
    if not (models / s.model).exists():
        raise FileNotFoundError(
            f"set {s.name}: the atomic model {models / s.model} does not exist. "
            f"Remedy: put it there (from the PDB), or name another folder with --shared FOLDER."
        )
    if tool.exists():
        simulator = "make_particles.py (independent of cryosplat)"
    elif cryosplat is not None:
        simulator = "cryosplat simulate"
    else:
        raise FileNotFoundError(
            f"set {s.name}: neither {tool} nor the command `cryosplat` exists. "
            f"Remedy: pip install -e . , or set CRYOSPLAT_SHARED."
        )
    stamp = folder / "set.json"
    wanted = {**asdict(s), "simulator": simulator}
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return simulator
    shutil.rmtree(folder, ignore_errors=True)
    parts = [folder / f"part{p}" for p in range(s.parts)] if s.parts > 1 else [folder]
    for p, part in enumerate(parts):
        part.mkdir(parents=True)
        arguments = (models, part, s.seed + p, s.n // s.parts)
        if tool.exists():
            command = _independent_command(s, tool, *arguments)
        else:
            assert cryosplat is not None
            command = _own_command(s, cryosplat, *arguments)
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if s.parts > 1:
        _join(folder, parts)
    stamp.write_text(json.dumps(wanted))
    return simulator


def _join(folder: Path, parts: list[Path]) -> None:
    """One STAR file, one stack list, one pair of pickles for several parts; images stay in place."""
    text = []
    for p, part in enumerate(parts):
        lines = (part / "particles.star").read_text().splitlines(keepends=True)
        first = next(i for i, line in enumerate(lines) if "@particles.mrcs" in line)
        text += lines[:first] if p == 0 else []
        for line in lines[first:]:
            named = line.replace("@particles.mrcs", f"@{part.name}/particles.mrcs")
            text.append(named.replace(" mic", f" {part.name}_mic", 1))
    (folder / "particles.star").write_text("".join(text))
    (folder / "particles.txt").write_text("".join(f"{p.name}/particles.mrcs\n" for p in parts))
    # the simulator's own files, written above: not foreign pickles
    poses = [pickle.loads((part / "poses.pkl").read_bytes()) for part in parts]
    joined = tuple(np.concatenate([pose[k] for pose in poses]) for k in range(2))
    (folder / "poses.pkl").write_bytes(pickle.dumps(joined))
    optics = np.concatenate([pickle.loads((part / "ctf.pkl").read_bytes()) for part in parts])
    (folder / "ctf.pkl").write_bytes(pickle.dumps(optics))
    shutil.copy(parts[0] / "truth.mrc", folder / "truth.mrc")

"""`cryosplat check` at full size: a million rows, and sets of an independent simulator."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_sets import write_empty_stack

from cryosplat.checking import check_particles, table_items
from cryosplat.io.star import write_star
from cryosplat.particles import StackFaults, read_particles
from cryosplat.progress import SilentProgress

ROWS, STACKS = 1_000_000, 2_000
SECONDS = 60.0  # 13 on two idle cores; a machine under test is not idle


@pytest.mark.slow
def test_a_million_rows_take_seconds(tmp_path: Path) -> None:
    star = _large_set(tmp_path)
    begin = time.perf_counter()
    faults = StackFaults()
    particles = read_particles(star, faults=faults)
    items = table_items(particles, faults)
    assert time.perf_counter() - begin < SECONDS
    found = {finding.code for item in items for finding in item.findings}
    assert "stacks-missing" in found
    assert sum(faults.missing.values()) == ROWS // STACKS


def _large_set(folder: Path) -> Path:
    """A table of a million rows over stacks that are holes in the disk, one of them missing."""
    rng = np.random.default_rng(0)
    per = ROWS // STACKS
    stack = np.repeat(np.arange(STACKS), per)
    for i in range(1, STACKS):
        write_empty_stack(folder / f"Extract/m{i:05d}.mrcs", per, 64)
    u = rng.uniform(8e3, 25e3, ROWS)
    angles = rng.uniform([-180, 0, -180], [180, 180, 180], (ROWS, 3)).round(4)
    rows = pd.DataFrame(
        {
            "rlnImageName": [f"{i % per + 1:06d}@Extract/m{k:05d}.mrcs" for i, k in enumerate(stack)],
            "rlnMicrographName": [f"MotionCorr/m{k:05d}.mrc" for k in stack],
            "rlnAngleRot": angles[:, 0], "rlnAngleTilt": angles[:, 1], "rlnAnglePsi": angles[:, 2],
            "rlnOriginXAngst": rng.normal(0, 3, ROWS).round(4),
            "rlnOriginYAngst": rng.normal(0, 3, ROWS).round(4),
            "rlnDefocusU": u.round(2), "rlnDefocusV": (u - 200.0).round(2),
            "rlnDefocusAngle": rng.uniform(0, 180, ROWS).round(2),
            "rlnRandomSubset": rng.integers(1, 3, ROWS), "rlnOpticsGroup": 1,
        }
    )  # fmt: skip
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1], "rlnOpticsGroupName": ["o"], "rlnVoltage": [300.0],
            "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1],
            "rlnImagePixelSize": [1.3], "rlnImageSize": [64], "rlnImageDimensionality": [2],
        }
    )  # fmt: skip
    path = folder / "particles.star"
    write_star(path, {"optics": optics, "particles": rows})
    return path


SETS = {
    "4hhb_hemoglobin.pdb": "--box 64 --apix 1.6 --num 1500 --snr 0.1 --b 80",
    "1igy_IgG1.pdb": "--box 64 --apix 3.3 --num 1500 --snr 0.01 --b 80 --angle-err 2 --shift-err 1",
}


@pytest.mark.slow
@pytest.mark.parametrize("model", SETS)
def test_sets_of_another_simulator_raise_no_alarm(shared: Path, tmp_path: Path, model: str) -> None:
    tool, atoms = shared / "tools" / "make_particles.py", shared / "data" / "models" / model
    if not atoms.exists():
        pytest.skip(f"no {atoms}")
    out = tmp_path / "set"
    subprocess.run([sys.executable, tool, atoms, out, *SETS[model].split()], check=True)
    path = out / "particles.star"
    _, checked = check_particles(
        lambda faults: read_particles(path, faults=faults), SilentProgress()
    )
    assert checked.report.codes("alarm") == set()
    assert "conventions-confirmed" in checked.report.codes("note")


def test_fifty_real_particles_are_too_few_to_tell(shared: Path) -> None:
    path = shared / "data" / "real" / "atp_synthase_freehand50" / "particles.star"
    _, checked = check_particles(
        lambda faults: read_particles(path, faults=faults), SilentProgress()
    )
    assert checked.report.codes("alarm") == set()
    assert "too-few" in checked.report.codes("note")


def test_seven_real_particles_are_too_few_to_tell(shared: Path) -> None:
    folder = shared / "data" / "real" / "empiar10076_first7"
    path, poses, ctf = folder / "empiar_10076_7.mrc", folder / "poses.pkl", folder / "ctf.pkl"
    _, checked = check_particles(
        lambda faults: read_particles(path, poses=poses, ctf=ctf, faults=faults), SilentProgress()
    )
    assert checked.report.codes("alarm") <= {"stacks-unreadable"}
    assert "too-few" in checked.report.codes("note")

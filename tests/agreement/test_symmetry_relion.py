"""Symmetry beside RELION: the rotations it prints, and maps that it symmetrises."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from problems import blobs

from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map, write_map
from cryosplat.splatting import voxelize
from cryosplat.symmetry import rotations_of

GROUPS = ("C1", "C2", "C3", "C7", "D1", "D2", "D3", "D7", "T", "O", "I", "I1", "I2", "I3", "I4")
GRID = Grid(36, 2.4)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("name", GROUPS)
def test_all_rotations_are_those_that_relion_prints(name: str) -> None:
    command = [_program("relion_refine"), "--sym", name, "--print_symmetry_ops"]
    text = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    lines = [line.split() for line in text.splitlines()]
    starts = [i for i, words in enumerate(lines) if words and words[0].startswith("R(")]
    printed = np.array([[lines[i + j][:3] for j in (1, 2, 3)] for i in starts], float)
    ours = rotations_of(name)
    assert printed.shape == ours.shape
    apart = np.abs(printed[:, None] - ours).max((2, 3))
    assert apart.min(0).max() < tolerances.FIVE_DIGITS
    assert apart.min(1).max() < tolerances.FIVE_DIGITS


@pytest.mark.parametrize(("name", "other"), [("T", "O"), ("I3", "I4")])
def test_relion_finds_our_maps_symmetric(tmp_path: Path, name: str, other: str) -> None:
    """Its mean over the group changes nothing but what interpolation does; that over another does."""
    program = _program("relion_image_handler")
    mixture = replace(blobs(2, 26.0, torch.Generator().manual_seed(4), 4.0), symmetry=name)
    ours = voxelize(mixture, GRID).float().numpy()
    write_map(tmp_path / "map.mrc", ours, GRID.pixel_size)

    def correlation(group: str) -> float:
        out = tmp_path / f"{group}.mrc"
        subprocess.run(
            [program, "--i", tmp_path / "map.mrc", "--o", out, "--sym", group],
            check=True, capture_output=True,
        )  # fmt: skip
        return float(np.corrcoef(read_map(out).data.ravel(), ours.ravel())[0, 1])

    assert correlation(name) > tolerances.SYMMETRISED_PEER
    assert correlation(other) < 0.95

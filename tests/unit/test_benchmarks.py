"""The benchmarks are importable and say how they are called; their pages show their results."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shutil
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from problems import blobs
from scipy.spatial.transform import Rotation
from torch import Tensor

import benchmarks
from benchmarks import abinit, aligning, hard, poses, random_start, scoring, table
from cryosplat.grid import Grid
from cryosplat.poses import Poses, random_poses
from cryosplat.splatting import voxelize

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "benchmarks" / "README.md"
MODULES = sorted(m.name for m in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."))
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(PAGE.parent.rglob("*.py"))
    if "ArgumentParser(" in path.read_text("utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_importable(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_how_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(name).main()
    assert end.value.code == 0 and "usage:" in capsys.readouterr().out


def test_every_command_stands_in_the_readme() -> None:
    told = set(re.findall(r"python -m (benchmarks\.[\w.]+)", PAGE.read_text("utf-8")))
    assert told == set(COMMANDS)


def test_tables_are_what_the_results_say(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    shutil.copy(PAGE, page)
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "results")
    table.rewrite(page, tmp_path / "results")
    assert page.read_text("utf-8") == PAGE.read_text("utf-8")


def test_results_name_no_folder_of_the_machine() -> None:
    for path in sorted((ROOT / "benchmarks" / "results").rglob("*.json")):
        assert not re.search(r"[\" =](/\w+){2,}", path.read_text("utf-8")), path.name


def test_the_table_of_faults_is_what_its_results_say() -> None:
    results = json.loads((ROOT / "benchmarks/results/hard.json").read_text("utf-8"))
    assert hard.table(results) in PAGE.read_text("utf-8")


def test_the_table_of_poses_from_nothing_is_what_its_results_say() -> None:
    results = json.loads((ROOT / "benchmarks/results/abinit.json").read_text("utf-8"))
    assert abinit.table(results) in PAGE.read_text("utf-8")


def test_a_map_is_known_however_it_was_turned_moved_and_mirrored() -> None:
    rng = np.random.default_rng(2)
    x = np.arange(32) - 16.0
    z, y, x = np.meshgrid(x, x, x, indexing="ij")
    points = rng.normal(0.0, 3.0, (12, 3))

    def drawn(centres: np.ndarray) -> np.ndarray:
        near = [np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 5.0) for a, b, c in centres]
        return np.sum(near, 0)

    turn = Rotation.from_euler("ZYZ", [40.0, 70.0, 10.0], degrees=True).as_matrix()
    moved = points @ turn.T + [1.3, -0.6, 0.9]
    for hand in (1, -1):
        curve, found = aligning.aligned(drawn(moved * [1, 1, hand]), drawn(points))
        assert found == hand and min(curve[1:9]) > 0.98
    other = aligning.aligned(drawn(rng.normal(0.0, 3.0, (12, 3))), drawn(points))[0]
    assert min(other[1:9]) < 0.7


def test_the_table_of_poses_is_what_its_results_say() -> None:
    results = json.loads((ROOT / "benchmarks/results/poses.json").read_text("utf-8"))
    assert poses.table(results) in PAGE.read_text("utf-8")


def test_errors_of_poses_know_no_common_frame() -> None:
    """Turning and moving a map with all poses changes no error, and the map is turned back."""
    generator = torch.Generator().manual_seed(3)
    exact = random_poses(50, generator, 3.0)
    turn = random_poses(1, generator).rotations[0].double()
    origin = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    rotations = exact.rotations.double() @ turn.T
    shifts = exact.shifts.double() + rotations[:, :2] @ origin
    assert poses.errors_of(Poses(rotations, shifts), exact) == {"degrees": 0.0, "angstrom": 0.0}
    found, moved = poses.frame(Poses(rotations, shifts), exact)
    np.testing.assert_allclose(found, turn.numpy(), atol=1e-6)
    np.testing.assert_allclose(moved, origin.numpy(), atol=1e-5)
    mixture = blobs(20, 14.0, generator)
    grid = Grid(32, 2.5)
    means = mixture.means @ turn.T + origin  # an image is seen at A r minus its shift
    there = replace(mixture, means=means, quaternions=_turned(mixture.quaternions, turn))
    volume, true = (voxelize(m, grid).float().numpy() for m in (there, mixture))
    back = poses.in_frame(volume, found, moved, grid.pixel_size)
    assert float(np.abs(back - true).max()) < 0.02 * float(true.max())


def _turned(quaternions: Tensor, turn: Tensor) -> Tensor:
    """Orientations (w, x, y, z) of what is turned."""
    before = Rotation.from_quat(quaternions.numpy()[:, [1, 2, 3, 0]])
    after = (Rotation.from_matrix(turn.numpy()) * before).as_quat()
    return torch.from_numpy(after[:, [3, 0, 1, 2]])


def test_the_worst_shell_is_found_among_those_that_count() -> None:
    ours, theirs = [1.0, 0.9, 0.5, 0.1, 0.0], [1.0, 0.8, 0.6, 0.25, 0.19]
    margin, shell = hard.worst(ours, theirs)
    assert (round(margin, 6), shell) == (-0.15, 3)
    assert hard.first_below(ours) == 3 and hard.first_below([1.0, 1.0]) == 2


def test_scoring_knows_a_map_from_its_shuffled_self(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    truth = np.zeros((16,) * 3, np.float32)
    truth[5:11, 5:11, 5:11] = rng.normal(size=(6, 6, 6))
    for name, volume in (("a", truth), ("b", truth[::-1].copy())):
        mrcfile.write(tmp_path / f"{name}.mrc", volume)
    same = scoring.score(tmp_path / "a.mrc", tmp_path / "a.mrc")
    other = scoring.score(tmp_path / "b.mrc", tmp_path / "a.mrc")
    assert min(same["unmasked"]) > 0.999 and min(same["truth_masked"]) > 0.999
    assert max(other["unmasked"][4:]) < 0.9


def test_the_page_of_random_starts_is_written_from_its_results() -> None:
    results = json.loads((ROOT / "benchmarks/results/random_start.json").read_text("utf-8"))
    assert random_start.table(results) in (ROOT / "docs" / "method.md").read_text("utf-8")

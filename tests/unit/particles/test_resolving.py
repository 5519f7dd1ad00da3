from __future__ import annotations

from pathlib import Path

import pytest

from cryosplat.errors import StackError
from cryosplat.particles.resolving import resolve, resolve_all


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def star(tmp_path: Path) -> Path:
    return _touch(tmp_path / "project" / "Refine3D" / "job020" / "run_data.star")


def test_the_folder_of_the_star_comes_first(tmp_path: Path, star: Path) -> None:
    root = _touch(tmp_path / "project" / "Extract" / "m.mrcs")
    assert resolve("Extract/m.mrcs", star, None) == root
    near = _touch(star.parent / "Extract" / "m.mrcs")
    assert resolve("Extract/m.mrcs", star, None) == near
    _touch(tmp_path / "data" / "Extract" / "m.mrcs")
    assert resolve("Extract/m.mrcs", star, tmp_path / "data") == near


def test_datadir_is_tried_with_the_whole_name_and_then_the_bare_one(
    tmp_path: Path, star: Path
) -> None:
    data = tmp_path / "elsewhere"
    bare = _touch(data / "m.mrcs")
    assert resolve("Extract/m.mrcs", star, None) is None
    assert resolve("Extract/m.mrcs", star, data) == bare
    assert resolve("/old/Extract/m.mrcs", star, data) == bare
    whole = _touch(data / "Extract" / "m.mrcs")
    assert resolve("Extract/m.mrcs", star, data) == whole
    moved = _touch(data / "old" / "Extract" / "m.mrcs")
    assert resolve("/old/Extract/m.mrcs", star, data) == moved


def test_absolute_names_stand_for_themselves(tmp_path: Path, star: Path) -> None:
    path = _touch(tmp_path / "x" / "m.mrcs")
    assert resolve(str(path), star, None) == path


def test_two_stacks_are_never_taken_for_one(tmp_path: Path, star: Path) -> None:
    data = tmp_path / "elsewhere"
    _touch(data / "m.mrcs")
    names = ["Extract/job1/m.mrcs", "Extract/job2/m.mrcs"]
    with pytest.raises(StackError, match=r"job1/m.mrcs and Extract/job2/m.mrcs are different"):
        resolve_all(names, [3, 4], star, "run_data.star", data)
    own = _touch(star.parent / "a" / "m.mrcs")
    assert resolve_all(["a/m.mrcs", str(own)], [1, 1], star, "x", None) == [own, own]

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


def test_stacks_linked_under_the_other_suffix_are_found_last(tmp_path: Path, star: Path) -> None:
    other = _touch(tmp_path / "project" / "J1" / "imported" / "m.mrcs")
    assert resolve("J1/imported/m.mrc", star, None) == other
    data = tmp_path / "elsewhere"
    exact = _touch(data / "J1" / "imported" / "m.mrc")
    assert resolve("J1/imported/m.mrc", star, data) == exact
    link = tmp_path / "project" / "J2" / "m.mrcs"
    link.parent.mkdir()
    link.symlink_to(other)
    assert resolve("J2/m.mrcs", star, None) == link


def test_a_bare_name_is_never_taken_under_the_other_suffix(tmp_path: Path, star: Path) -> None:
    data = tmp_path / "micrographs"
    _touch(data / "m.mrc")
    assert resolve("Extract/m.mrcs", star, data) is None


def test_the_number_that_cryosparc_puts_before_a_name_may_be_gone(
    tmp_path: Path, star: Path
) -> None:
    data = tmp_path / "elsewhere"
    plain = _touch(data / "m.mrcs")
    assert resolve("J1/imported/000123456789012345678_m.mrcs", star, data) == plain
    assert resolve("J1/imported/0012_m.mrcs", star, data) is None


def test_links_that_lead_nowhere_and_impossible_names_are_said(tmp_path: Path, star: Path) -> None:
    link = star.parent / "m.mrcs"
    link.symlink_to(tmp_path / "gone.mrcs")
    with pytest.raises(StackError, match=r"m\.mrcs is a link to .*gone\.mrcs, which is gone"):
        resolve_all(["m.mrcs"], [3], star, "run_data.star", None)
    for name in ("a" * 5000, "a\0b"):
        with pytest.raises(StackError, match="was not found"):
            resolve_all([name], [3], star, "run_data.star", None)

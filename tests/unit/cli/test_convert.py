"""``convert``, and the options that choose particles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_sets import DataSet, write_cs
from fake_runs import Outcome

from cryosplat.particles import read_particles

Cli = Callable[..., Outcome]
Star = Callable[..., Path]


def test_a_star_file_to_pickles_and_back(cli: Cli, data_set: DataSet, star: Star) -> None:
    path, folder = star(rlnClassNumber=[1, 2, 3] * 4), data_set.folder / "drgn"
    done = cli("convert", path, "-o", folder)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"12 particles in {folder}\n"
    back = data_set.folder / "back.star"
    done = cli("convert", folder / "particles.txt", "-o", back)
    assert done.code == 0 and "halfsets.pkl" in done.out
    np.testing.assert_array_equal(read_particles(back).half_sets, data_set.half_sets)


def test_particles_are_chosen_on_the_way(cli: Cli, data_set: DataSet, star: Star) -> None:
    path, out = star(rlnClassNumber=[1, 2, 3] * 4), data_set.folder / "some.star"
    (data_set.folder / "ind.txt").write_text("11 10 7 5 4 3 2 1 0")
    done = cli("convert", path, "-o", out, "--classes", "1,2", "--indices",
               data_set.folder / "ind.txt", "--selection", "rlnDefocusU > 0", "--first", 4)  # fmt: skip
    assert done.code == 0, done.err
    assert read_particles(out).images.section.tolist() == [10, 7, 4, 3]
    assert "6 of 9 particles are used (--classes 1,2)." in done.out


def test_what_cannot_be_written_is_said(cli: Cli, data_set: DataSet, star: Star) -> None:
    path = star()
    done = cli("convert", path, "-o", data_set.folder / "a.cs")
    assert done.code == 2 and "not as .cs" in done.err
    done = cli("convert", path, "-o", path)
    assert done.code == 2 and "would replace the file it is made from" in done.err
    done = cli("convert", path, "-o", data_set.folder / "a.star", "--classes", "x")
    assert done.code == 2 and "--classes x: expected whole numbers" in done.err
    done = cli("convert", path, "-o", data_set.folder / "a.star", "--alignment-class", "1")
    assert done.code == 2 and "only .cs files have poses in several classes" in done.err
    assert not (data_set.folder / "a.star").exists()


def test_a_cs_file_to_star(cli: Cli, data_set: DataSet) -> None:
    path = write_cs(data_set, data_set.folder / "a.cs", blob__psize_A=np.full(12, 1.5, np.float32))
    out = data_set.folder / "b.star"
    assert cli("convert", path, "-o", out).code == 0
    assert read_particles(out).pixel_size == 1.5


@pytest.mark.usefixtures("fake_recipe")
def test_reconstruct_takes_the_same_options(cli: Cli, data_set: DataSet, star: Star) -> None:
    path = star(rlnClassNumber=[1, 2, 3] * 4)
    done = cli("reconstruct", path, "-o", data_set.folder / "run", "--classes", "1,3", "--first", 6)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split()[:2] == ["particles", "6"]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def test_an_existing_file_is_replaced_only_when_asked(
    cli: Cli, data_set: DataSet, star: Star
) -> None:
    path, out = star(), data_set.folder / "out.star"
    out.write_text("mine")
    done = cli("convert", path, "-o", out)
    assert done.code == 2 and "exists already" in done.err and "--overwrite" in done.err
    assert out.read_text() == "mine"
    assert cli("convert", path, "-o", out, "--overwrite").code == 0
    assert len(read_particles(out)) == 12
    folder = data_set.folder / "drgn"
    folder.mkdir()
    (folder / "halfsets.pkl").write_text("mine")
    done = cli("convert", path, "-o", folder)
    assert done.code == 2 and "exists already (halfsets.pkl)" in done.err
    assert _bytes(folder) == {"halfsets.pkl": b"mine"}
    assert cli("convert", path, "-o", folder, "--overwrite").code == 0
    assert len(_bytes(folder)) == 5


def test_no_input_is_ever_replaced(
    cli: Cli, data_set: DataSet, star: Star, pickles: tuple[Path, Path]
) -> None:
    path, folder = star(), data_set.folder
    stack = folder / "particles.mrcs"
    (folder / "linked.star").symlink_to(path)
    (folder / "images.star").hardlink_to(stack)
    (folder / "poses.star").hardlink_to(pickles[0])
    (folder / "ind.star").hardlink_to(_indices(folder))
    before = _bytes(folder)
    given = ("--poses", pickles[0], "--ctf", pickles[1], "--indices", folder / "ind.txt")
    for out in (
        folder / ".." / folder.name / "particles.star", folder / "linked.star",
        folder / "images.star", folder / "poses.star", folder / "ind.star", folder,
    ):  # fmt: skip
        done = cli("convert", path, "-o", out, *given, "--overwrite")
        assert done.code == 2 and "would replace the file it is made from" in done.err, out
    assert _bytes(folder) == before


def _indices(folder: Path) -> Path:
    path = folder / "ind.txt"
    path.write_text("0 1 2")
    return path


def test_pickles_found_beside_a_stack_are_inputs(
    cli: Cli, data_set: DataSet, pickles: tuple[Path, Path]
) -> None:
    before = _bytes(data_set.folder)
    done = cli("convert", data_set.folder / "particles.mrcs", "-o", data_set.folder, "--overwrite")
    assert done.code == 2 and str(pickles[0]) in done.err
    assert _bytes(data_set.folder) == before


def test_an_output_needs_a_name_and_a_place(cli: Cli, data_set: DataSet, star: Star) -> None:
    path = star()
    done = cli("convert", path, "-o", "")
    assert done.code == 2 and "no name is given" in done.err
    done = cli("convert", path, "-o", data_set.folder / "none" / "a.star")
    assert done.code == 2 and "there is no folder" in done.err
    done = cli("convert", path, "-o", data_set.folder / "particles.mrcs" / "drgn")
    assert done.code == 2 and "cannot be written (Not a directory)" in done.err
    (data_set.folder / "file").write_text("mine")
    done = cli("convert", path, "-o", data_set.folder / "file", "--overwrite")
    assert done.code == 2 and "exists and is not a folder" in done.err
    (data_set.folder / "a.star").mkdir()
    done = cli("convert", path, "-o", data_set.folder / "a.star", "--overwrite")
    assert done.code == 2 and "is a folder" in done.err

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
    assert done.code == 0 and "the half-sets are those of" in done.out
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

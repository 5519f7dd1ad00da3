from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_sets import DataSet, write_cs
from noting import only, states

from cryosplat.errors import InputError, PickleError, SettingsError
from cryosplat.notes import codes
from cryosplat.particles import Particles, Selection, parse_selection, read_particles

Star = Callable[..., Path]


@pytest.fixture
def particles(star: Star) -> Particles:
    """Twelve particles in classes 1, 1, 2, 3, 1, 1, 2, 3, ..."""
    return read_particles(
        star(rlnClassNumber=[1, 1, 2, 3] * 3, rlnMicrographName=["a.mrc", "b.mrc"] * 6)
    )


def _rows(particles: Particles) -> list[int]:
    """The rows of the file that were kept, from 0, after checking that all columns went along."""
    rows = particles.images.row - 1
    names = [f"{row + 1:06d}@particles.mrcs" for row in rows]
    assert particles.names.tolist() == names == particles.table["rlnImageName"].tolist()
    np.testing.assert_array_equal(particles.images.section, rows)
    np.testing.assert_array_equal(particles.optics.defocus_u, particles.table["rlnDefocusU"])
    return rows.tolist()


def test_the_first_ones(particles: Particles) -> None:
    kept = Selection(first=5).apply(particles)
    assert _rows(kept) == [0, 1, 2, 3, 4]
    assert states(only(kept.notes, "selected"), "5 of 12", "--first 5")
    assert _rows(Selection(first=99).apply(particles)) == list(range(12))
    with pytest.raises(SettingsError, match="--first 0: expected at least 1"):
        Selection(first=0).apply(particles)


@pytest.mark.parametrize("kind", ["pkl", "list.pkl", "npy", "txt", "mask.pkl", "mask.npy"])
def test_index_files_count_from_0(particles: Particles, tmp_path: Path, kind: str) -> None:
    index, path = np.array([3, 0, 7]), tmp_path / f"ind.{kind}"
    mask = np.isin(np.arange(12), index)
    if kind == "txt":
        path.write_text("# mine\n3, 0\n7 # last\n")
    elif kind.endswith("npy"):
        np.save(path, mask if "mask" in kind else index)
    else:
        given = {"pkl": index, "list.pkl": index.tolist(), "mask.pkl": mask}[kind]
        path.write_bytes(pickle.dumps(given))
    kept = Selection(indices=path).apply(particles)
    assert _rows(kept) == ([0, 3, 7] if "mask" in kind else [3, 0, 7])


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("a.txt", b"1\n12\n40\n", "index 12 is not among the 12 particles, 0 to 11 (2 of 3"),
        ("a.txt", b"1\n2\n1\n", "index 1 occurs 2 times"),
        ("a.txt", b"1\n-2\n", "line 2: '-2'; expected whole numbers from 0"),
        ("a.txt", b"1\nx\n", "line 2: 'x'"),
        ("a.txt", b"# none\n", "empty; expected whole numbers"),
        ("a.txt", b"9" * 30, "expected whole numbers"),
        ("a.csv", b"1\n", "expected a .pkl, .npy or .txt file"),
        ("a.pkl", pickle.dumps(np.array([0, -1])), "index -1 is not among"),
        ("a.pkl", pickle.dumps(np.zeros(3)), "holds float64 of shape (3,), expected integers"),
        ("a.pkl", pickle.dumps(np.ones(11, bool)), "or a mask of shape (12,)"),
        ("a.pkl", pickle.dumps(np.zeros(12, bool)), "that is true somewhere"),
        ("a.pkl", pickle.dumps([]), "expected integers"),
        ("a.pkl", pickle.dumps({"a": 1}), "expected integers"),
        ("a.pkl", pickle.dumps([[1], [2, 3]]), "expected integers"),
        ("a.npy", b"hello", "not an array that numpy saved"),
    ],
    ids=range(15),
)
def test_wrong_index_files_are_refused(
    particles: Particles, tmp_path: Path, name: str, content: bytes, fragment: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        Selection(indices=tmp_path / name).apply(particles)
    assert fragment in str(error.value)


def test_tilt_images_go_with_their_particle(particles: Particles, tmp_path: Path) -> None:
    """Four particles of four, one, five and two tilt images, which need not stand together."""
    tilts = replace(particles, tilt_particles=np.array([7, 7, 2, 7, 7, 0, 0, 0, 3, 0, 0, 3]))
    assert _rows(Selection(first=2).apply(tilts)) == [0, 1, 2, 3, 4]
    path = tmp_path / "ind.npy"
    np.save(path, [3, 0])
    kept = Selection(indices=path).apply(tilts)
    assert _rows(kept) == [8, 11, 0, 1, 3, 4]
    assert states(only(kept.notes, "selected"), "2 of 4", "6 of 12", f"--indices {path}")
    np.save(path, np.array([True, False, False, True]))
    assert _rows(Selection(indices=path).apply(tilts)) == [0, 1, 3, 4, 8, 11]
    np.save(path, [4])
    with pytest.raises(InputError, match=r"the 4 particles \(of 12 tilt images\), 0 to 3"):
        Selection(indices=path).apply(tilts)


def test_missing_and_hostile_index_files_are_refused(particles: Particles, tmp_path: Path) -> None:
    for name in ("no.pkl", "no.npy", "no.txt"):
        with pytest.raises(InputError, match=r"no such file|cannot be read"):
            Selection(indices=tmp_path / name).apply(particles)
    (tmp_path / "a.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(PickleError, match="it asks to run"):
        Selection(indices=tmp_path / "a.pkl").apply(particles)


def test_classes(particles: Particles) -> None:
    assert _rows(Selection(classes=(2, 3)).apply(particles)) == [2, 3, 6, 7, 10, 11]
    with pytest.raises(InputError) as error:
        Selection(classes=(1, 4)).apply(particles)
    assert "no particle is in class 4; rlnClassNumber has 1 (6), 2 (3), 3 (3)" in str(error.value)


def test_classes_of_cryosparc_count_from_0(data_set: DataSet) -> None:
    path = write_cs(data_set, data_set.folder / "a.cs",
                    alignments3D__class=np.arange(12, dtype=np.uint32) % 3)  # fmt: skip
    kept = Selection(classes=(0,)).apply(read_particles(path))
    assert kept.images.section.tolist() == [0, 3, 6, 9]


def test_files_without_classes_say_so(star: Star) -> None:
    with pytest.raises(InputError, match="no column of classes"):
        Selection(classes=(1,)).apply(read_particles(star()))


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("rlnClassNumber=3", [3, 7, 11]),
        ("_rlnClassNumber == 3", [3, 7, 11]),
        ("ClassNumber != 1", [2, 3, 6, 7, 10, 11]),
        ("rlnClassNumber >= 2 and rlnMicrographName = b.mrc", [3, 7, 11]),
        ("rlnClassNumber = 3 or rlnClassNumber = 2 and rlnRandomSubset = 1",
         [2, 3, 6, 7, 10, 11]),
        ("rlnMicrographName != 'b.mrc' and rlnClassNumber<1.5", [0, 4, 8]),
        ('rlnMicrographName != "b.mrc" AND rlnClassNumber<1.5 Or rlnClassNumber = 3',
         [0, 3, 4, 7, 8, 11]),
        ("rlnVoltage > 200", list(range(12))),
    ],
)  # fmt: skip
def test_expressions(particles: Particles, expression: str, rows: list[int]) -> None:
    assert _rows(Selection(expression=expression).apply(particles)) == rows


@pytest.mark.parametrize(
    ("expression", "fragment"),
    [
        ("rlnClassNumber", "'rlnClassNumber' is not a comparison"),
        ("", "'' is not a comparison"),
        ("__import__('os').system('true')", "is not a comparison"),
        ("rlnClassNumber = 1 and", "'1 and' contains ' '"),
        ("rlnMicrographName != b.mrc && rlnClassNumber < 2", "join comparisons by 'and'"),
        ("rlnMicrographName != b.mrc,rlnClassNumber<2", "contains ','"),
        ("rlnMicrographName = 'b.mrc", 'contains "\'"'),
        ("rlnClassNumber = one", "holds numbers, but 'one' is not a number"),
        ("rlnMicrographName < b", "holds text; expected = or !=, not <"),
        ("rlnNothing = 1", "no column rlnNothing; there are rlnImageName"),
        ("rlnClassNumber > 5", "no particle satisfies --selection"),
    ],
)
def test_wrong_expressions_are_refused(
    particles: Particles, expression: str, fragment: str
) -> None:
    with pytest.raises((InputError, SettingsError)) as error:
        Selection(expression=expression).apply(particles)
    assert fragment in str(error.value)


def test_particles_of_pickles_have_the_columns_of_their_physics(
    data_set: DataSet, pickles: tuple[Path, Path]
) -> None:
    particles = read_particles(data_set.folder / "particles.mrcs")
    limit = float(np.median(data_set.defocus[:, 0]))
    kept = Selection(expression=f"rlnDefocusU < {limit}").apply(particles)
    assert kept.images.section.tolist() == np.flatnonzero(data_set.defocus[:, 0] < limit).tolist()


def test_all_together_and_halves_that_are_none(particles: Particles, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", [11, 4, 5, 6, 8])
    chosen = parse_selection(2, tmp_path / "a.npy", "rlnMicrographName = a.mrc", "1, 2")
    kept = chosen.apply(particles)
    assert _rows(kept) == [4, 6]
    assert "half-sets-one-value" in codes(kept.notes)
    assert not kept.has_half_sets and particles.has_half_sets
    with pytest.raises(SettingsError, match="--classes 1,b: expected whole numbers with commas"):
        parse_selection(None, None, None, "1,b")

"""From one program's words to another's and back: order, half-sets, optics and columns stay."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import tolerances
from data_sets import DataSet, make_data_set, star_block, write_cs
from hypothesis import given, settings
from hypothesis import strategies as st
from noting import only, states

from cryosplat.errors import OutputError, PickleError, StarError
from cryosplat.io.pickles import load_pickle, save_pickle
from cryosplat.io.star import read_star
from cryosplat.particles import (
    Particles,
    read_particles,
    star_losses,
    write_cryodrgn,
    write_particles,
)

Star = Callable[..., Path]


def _same(one: Particles, other: Particles, **tolerance: float) -> None:
    """Everything that the physics takes, in order."""
    for particles in (one, other):
        assert {s.path.name for s in particles.images.stacks} == {"particles.mrcs"}
    np.testing.assert_array_equal(one.images.section, other.images.section)
    np.testing.assert_array_equal(one.half_sets, other.half_sets)
    np.testing.assert_allclose(one.poses.rotations, other.poses.rotations, **tolerance)
    np.testing.assert_allclose(one.poses.shifts, other.poses.shifts, **tolerance)
    for name in ("pixel_size", "box_size", "voltage", "spherical_aberration", "amplitude_contrast"):
        np.testing.assert_allclose(
            one.optics.of_group(name), other.optics.of_group(name), rtol=1e-12
        )
    for name in ("defocus_u", "defocus_v", "defocus_angle", "phase_shift"):
        np.testing.assert_allclose(
            getattr(one.optics, name), getattr(other.optics, name), **tolerance
        )


def _mixed(folder: Path, order: list[int], halves: list[int], digits: int) -> Path:
    """A star file of two optics groups, in an order that is not the stack's, with columns that no
    program knows; ``digits`` after the point in angles and origins."""
    data_set = make_data_set(folder)
    rng = np.random.default_rng(len(order))
    rows = {
        "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in order],
        **{f"rlnAngle{a}": np.round(rng.uniform(-180, 180, 12), digits)
           for a in ("Rot", "Tilt", "Psi")},
        **{f"rlnOrigin{a}Angst": np.round(rng.uniform(-3, 3, 12), digits) for a in "XY"},
        "rlnDefocusU": data_set.defocus[:, 0], "rlnDefocusV": data_set.defocus[:, 1],
        "rlnDefocusAngle": data_set.defocus[:, 2],
        "rlnCtfBfactor": np.round(rng.uniform(0, 50, 12), digits),
        "rlnCtfScalefactor": np.round(rng.uniform(0.5, 1.5, 12), digits),
        "rlnRandomSubset": halves,
        "rlnOpticsGroup": [7 if i % 3 else 2 for i in range(12)],
        "rlnMicrographName": [f"m{i % 4}.mrc" for i in range(12)],
        "myLabel": [f"tag_{i}" for i in range(12)],
        "myNumber": np.round(rng.normal(size=12), 9),
    }  # fmt: skip
    optics = {
        "rlnOpticsGroup": [2, 7], "rlnOpticsGroupName": ["two", "seven"],
        "rlnVoltage": [300.0, 200.0], "rlnSphericalAberration": [2.7, 0.01],
        "rlnAmplitudeContrast": [0.1, 0.07], "rlnImagePixelSize": [1.5, 1.5],
        "rlnImageSize": [8, 8], "rlnImageDimensionality": [2, 2],
        "rlnBeamTiltX": [0.125, 0.0], "myOptics": ["a", "b"],
    }  # fmt: skip
    path = folder / "mixed.star"
    path.write_text(star_block("optics", optics) + star_block("particles", rows))
    return path


_ORDERS = st.permutations(list(range(12)))
_HALVES = st.lists(st.integers(1, 2), min_size=12, max_size=12).filter(lambda h: len(set(h)) == 2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(_ORDERS, _HALVES, st.integers(0, 15))
def test_star_to_star_changes_no_value(order: list[int], halves: list[int], digits: int) -> None:
    with TemporaryDirectory() as name:
        path = _mixed(Path(name), order, halves, digits)
        first = read_particles(path)
        path = write_particles(first, Path(name) / "b.star")
        second = read_particles(path)
        _same(first, second, rtol=0.0, atol=0.0)
        np.testing.assert_array_equal(first.optics.b_factor, second.optics.b_factor)
        np.testing.assert_array_equal(first.optics.scale, second.optics.scale)
        assert first.optics.groups == second.optics.groups
        for label in ("myLabel", "myNumber", "rlnMicrographName"):
            assert first.table[label].tolist() == second.table[label].tolist()
        assert second.optics_table["rlnBeamTiltX"].tolist() == [0.125, 0.0]
        assert second.optics_table["myOptics"].tolist() == ["a", "b"]
        third = write_particles(second, Path(name) / "c.star")
        assert third.read_bytes() == path.read_bytes()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(_ORDERS, _HALVES)
def test_star_to_pickles_to_star(order: list[int], halves: list[int]) -> None:
    with TemporaryDirectory() as name:
        first = read_particles(_mixed(Path(name), order, halves, 4))
        folder = Path(name) / "drgn"
        losses = write_cryodrgn(first, folder)
        assert losses[0].code == "scale-not-written"
        assert (folder / "particles.txt").exists() == (order == list(range(12)))
        between = read_particles(
            folder / "particles.star", poses=folder / "poses.pkl", ctf=folder / "ctf.pkl"
        )
        _same(first, between, **tolerances.THROUGH_FLOAT32)
        assert [g.name for g in between.optics.groups] == ["two", "seven"]
        last = read_particles(write_particles(between, Path(name) / "b.star"))
        _same(first, last, **tolerances.THROUGH_FLOAT32)
        assert last.table["myLabel"].tolist() == first.table["myLabel"].tolist()
        assert last.optics_table["myOptics"].tolist() == ["a", "b"]


def test_whole_stacks_in_order_need_only_the_pickles(data_set: DataSet, star: Star) -> None:
    first = read_particles(star())
    folder = data_set.folder / "out" / "drgn"
    assert write_cryodrgn(first, folder) == ()
    assert sorted(os.listdir(folder)) == [
        "ctf.pkl", "halfsets.pkl", "particles.star", "particles.txt", "poses.pkl",
    ]  # fmt: skip
    again = read_particles(folder / "particles.txt")
    _same(first, again, **tolerances.THROUGH_FLOAT32)
    assert states(only(again.notes, "half-sets-pickled"), folder / "halfsets.pkl")
    rotations, fractions = load_pickle(folder / "poses.pkl")
    assert (rotations.dtype, rotations.shape, fractions.shape) == (np.float32, (12, 3, 3), (12, 2))
    np.testing.assert_allclose(fractions, data_set.origins / 12.0, rtol=1e-6)
    ctf = load_pickle(folder / "ctf.pkl")
    assert (ctf.dtype, ctf.shape) == (np.float32, (12, 9))
    np.testing.assert_allclose(ctf[0, [0, 1, 5, 6, 7, 8]], [8, 1.5, 300, 2.7, 0.1, 0], rtol=1e-6)


def test_shifts_beyond_the_box_are_said(data_set: DataSet, star: Star) -> None:
    particles = read_particles(star(rlnOriginXAngst=[0.0] * 11 + [13.0]))
    (loss,) = write_cryodrgn(particles, data_set.folder / "drgn")
    assert loss.code == "origins-beyond-box" and states(loss, 1)


def test_an_older_list_of_stacks_does_not_stay(data_set: DataSet, star: Star) -> None:
    first = read_particles(star())
    folder = data_set.folder / "drgn"
    write_cryodrgn(first, folder)
    losses = write_cryodrgn(first[np.array([2, 1])], folder)
    assert not (folder / "particles.txt").exists()
    assert losses[-1].code == "stacks-not-listed"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_is_written_whole_or_not_at_all(data_set: DataSet, star: Star) -> None:
    first = read_particles(star(myLabel=["a"] * 12))
    worse = replace(first, table=first.table.assign(myLabel=["'\""] * 12))[:5]
    folder = data_set.folder / "new" / "drgn"
    with pytest.raises(StarError, match="both kinds of quotes"):
        write_cryodrgn(worse, folder)
    assert not folder.parent.exists()
    write_cryodrgn(first, folder)
    (folder / "notes.txt").write_text("mine")
    before = _bytes(folder)
    with pytest.raises(StarError, match="both kinds of quotes"):
        write_cryodrgn(worse, folder)
    assert _bytes(folder) == before


@pytest.mark.parametrize("at", ["particles.star", ".partial"])
def test_older_files_come_back_where_one_cannot_be_replaced(
    data_set: DataSet, star: Star, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    first = read_particles(star())
    folder = data_set.folder / "drgn"
    write_cryodrgn(first, folder)
    before = _bytes(folder)
    move = os.replace

    def failing(source: Path, target: Path) -> None:
        if at in (target.name, target.suffix) and "partial" in source.name:
            raise OSError(5, "Input/output error")
        move(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="drgn: cannot be written"):
        write_cryodrgn(first[np.arange(5)], folder)
    assert _bytes(folder) == before


def test_a_folder_in_the_place_of_a_file_is_refused(data_set: DataSet, star: Star) -> None:
    folder = data_set.folder / "drgn"
    (folder / "ctf.pkl").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"ctf.pkl: is a folder"):
        write_cryodrgn(read_particles(star()), folder)
    assert os.listdir(folder) == ["ctf.pkl"]


@pytest.mark.parametrize(
    ("halves", "fragment"),
    [
        ([np.arange(6), np.arange(5, 12)], "hold 6 and 7 positions, expected each of the 12"),
        ([np.arange(6)], "expected two arrays of positions"),
        ({"a": 1}, "expected two arrays of positions"),
        ([np.arange(6.0), np.arange(6.0, 12)], "expected two arrays of positions"),
    ],
)
def test_half_sets_that_do_not_fit_are_refused(
    data_set: DataSet, pickles: tuple[Path, Path], halves: object, fragment: str
) -> None:
    save_pickle(pickles[0].with_name("halfsets.pkl"), halves)
    with pytest.raises(PickleError, match=fragment):
        read_particles(data_set.folder / "particles.mrcs")


def test_cryosparc_to_star(data_set: DataSet) -> None:
    path = write_cs(
        data_set, data_set.folder / "a.cs", blob__sign=np.array([-1, 1] * 6, np.float32),
        alignments3D__alpha=np.linspace(0.5, 1.5, 12, dtype=np.float32),
        alignments3D__error=np.linspace(0, 1, 12, dtype=np.float32) / 3,
    )  # fmt: skip
    first = read_particles(path)
    star = write_particles(first, data_set.folder / "b.star")
    second = read_particles(star)
    _same(first, second, **tolerances.WRITTEN_SIX_DECIMALS)
    np.testing.assert_allclose(first.optics.scale, second.optics.scale, atol=1e-6)
    np.testing.assert_array_equal(
        first.images.read(np.arange(12)), second.images.read(np.arange(12))
    )
    for label in ("cs/alignments3D/error", "cs/uid", "cs/blob/sign"):
        kept = second.table[label].to_numpy().astype(first.table[label].dtype)
        np.testing.assert_array_equal(kept, first.table[label])
    third = write_particles(second, data_set.folder / "c.star")
    assert third.read_bytes() == star.read_bytes()


def test_a_star_file_cannot_tell_that_images_are_of_two_contrasts(data_set: DataSet) -> None:
    sign = np.where(np.arange(data_set.n) < 5, -1, 1).astype(np.float32)
    particles = read_particles(write_cs(data_set, data_set.folder / "a.cs", blob__sign=sign))
    (loss,) = star_losses(particles)
    assert loss.code == "data-signs-not-written" and states(loss, "5 of 12")
    back = read_particles(write_particles(particles, data_set.folder / "back.star"))
    np.testing.assert_array_equal(back.images.sign, sign)
    alike = read_particles(write_cs(data_set, data_set.folder / "a.cs"))
    assert not star_losses(alike)


def test_version_3_0_to_3_1(data_set: DataSet) -> None:
    n = data_set.n
    tilt = np.where(np.arange(n) < 5, 0.1, 0.2)
    path = data_set.folder / "old.star"
    path.write_text(star_block("", {
        "rlnImageName": [f"{n - i}@particles.mrcs" for i in range(n)],
        "rlnAngleRot": data_set.angles[:, 0], "rlnAngleTilt": data_set.angles[:, 1],
        "rlnAnglePsi": data_set.angles[:, 2], "rlnOriginX": data_set.origins[:, 0],
        "rlnOriginY": data_set.origins[:, 1], "rlnDefocusU": data_set.defocus[:, 0],
        "rlnDefocusV": data_set.defocus[:, 1], "rlnDefocusAngle": data_set.defocus[:, 2],
        "rlnVoltage": [300] * n, "rlnSphericalAberration": [2.7] * n,
        "rlnAmplitudeContrast": [0.1] * n, "rlnMagnification": [40000] * n,
        "rlnDetectorPixelSize": [6] * n, "rlnRandomSubset": data_set.half_sets,
        "rlnBeamTiltX": tilt, "rlnGroupNumber": np.arange(n) % 3 + 1,
    }))  # fmt: skip
    first = read_particles(path)
    new = write_particles(first, data_set.folder / "new.star")
    _same(first, read_particles(new), **tolerances.WRITTEN_SIX_DECIMALS)
    blocks = read_star(new)
    assert list(blocks) == ["optics", "particles"]
    assert blocks["optics"]["rlnBeamTiltX"].tolist() == [0.1, 0.2]
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [1.5, 1.5]
    rows: pd.DataFrame = blocks["particles"]
    assert rows["rlnOpticsGroup"].tolist() == [1] * 5 + [2] * 7
    assert rows["rlnGroupNumber"].tolist() == (np.arange(n) % 3 + 1).tolist()
    old = {"rlnOriginX", "rlnMagnification", "rlnDetectorPixelSize", "rlnVoltage", "rlnBeamTiltX"}
    assert not old & set(rows)
    np.testing.assert_allclose(rows["rlnOriginXAngst"], data_set.origins[:, 0] * 1.5, atol=1e-6)

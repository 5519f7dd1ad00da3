"""What star files of other versions and programs, and of cryosplat itself, hold besides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import DataSet
from noting import only, states

from cryosplat.errors import StarError
from cryosplat.io.mrc import write_stack
from cryosplat.io.star import read_star
from cryosplat.particles import read_particles, write_particles

Star = Callable[..., Path]


def test_a_name_without_number_is_the_one_image_of_its_file(data_set: DataSet, star: Star) -> None:
    for i in range(12):
        write_stack(data_set.folder / f"{i}.mrc", data_set.images[i : i + 1], 1.5)
    names = [f"{i}.mrc" for i in range(12)]
    particles = read_particles(star(rlnImageName=names))
    np.testing.assert_array_equal(particles.images.read(np.arange(12)), data_set.images)
    again = read_particles(write_particles(particles, data_set.folder / "b.star"))
    assert again.names.tolist() == [f"000001@{name}" for name in names]
    with pytest.raises(StarError) as error:
        read_particles(star(rlnImageName=[*names[:11], "particles.mrcs"]))
    assert "row 12: rlnImageName is 'particles.mrcs', a file of 12 images" in str(error.value)
    assert "Sub-tomograms and whole tilt stacks are not supported" in str(error.value)


def test_the_tilt_stacks_of_relion_5_are_refused_by_name(star: Star) -> None:
    path = star()
    path.write_text("data_general\n_rlnTomoSubTomosAre2DStacks 1\n" + path.read_text())
    with pytest.raises(StarError, match="whose angles, defoci and doses are in the"):
        read_particles(path)
    path.write_text(path.read_text().replace("Stacks 1", "Stacks 0"))
    assert len(read_particles(path)) == 12


def test_aberrations_in_the_rows_divide_the_optics_groups(data_set: DataSet, star: Star) -> None:
    tilt = np.where(np.arange(12) < 5, 0.25, -0.5)
    particles = read_particles(star(rlnBeamTiltX=tilt, rlnOddZernike=["[0,1]"] * 12))
    assert [g.name for g in particles.optics.groups] == ["optics1_1", "optics1_2"]
    group = particles.optics.group.numpy()
    np.testing.assert_array_equal(particles.optics_table["rlnBeamTiltX"].to_numpy()[group], tilt)
    beam_tilt, odd = (note for note in particles.notes if note.code == "aberration-applied")
    assert states(beam_tilt, "rlnBeamTilt", "(-0.5, 0) mrad") and states(odd, "rlnOddZernike")
    blocks = read_star(write_particles(particles, data_set.folder / "b.star"))
    assert "rlnBeamTiltX" not in blocks["particles"]
    assert blocks["optics"]["rlnOddZernike"].tolist() == ["[0,1]"] * 2
    assert blocks["optics"]["rlnBeamTiltX"].tolist() == [0.25, -0.5]


def test_aberrations_of_too_many_kinds_stay_in_the_rows(star: Star, monkeypatch) -> None:
    monkeypatch.setattr("cryosplat.particles.relion._optics_groups.MOST_GROUPS", 5)
    particles = read_particles(star(rlnBeamTiltX=np.arange(12) / 10))
    assert len(particles.optics.groups) == 1
    assert "rlnBeamTiltX" not in particles.optics_table and not particles.optics.groups[0].odd
    (note,) = particles.notes
    assert (note.code, note.severity) == ("aberration-not-applied", "warning")
    assert states(note, "rlnBeamTilt", "(1.1, 0) mrad")
    assert particles.table["rlnBeamTiltX"].tolist() == (np.arange(12) / 10).tolist()


def test_signs_that_a_cs_file_left_in_a_star_are_applied(data_set: DataSet, star: Star) -> None:
    sign = np.where(np.arange(12) % 3 == 0, -1, 1)
    particles = read_particles(star(**{"cs/blob/sign": sign}))
    expected = data_set.images * sign[:, None, None]
    np.testing.assert_array_equal(particles.images.read(np.arange(12)), expected)
    assert only(particles.notes, "data-signs-differ")


@pytest.mark.parametrize("first", ["row", "group"])
def test_precedence_of_keys_is_that_of_relion(star: Star, first: str) -> None:
    given = {"rlnCtfBfactor": [5.0] * 12, "rlnPhaseShift": [90.0] * 12} if first == "row" else {}
    path = star(optics_rlnCtfBfactor=[7.0], optics_rlnPhaseShift=[45.0], **given)
    optics = read_particles(path).optics
    assert set(optics.b_factor.tolist()) == {5.0 if first == "row" else 7.0}
    expected = np.deg2rad(90.0 if first == "row" else 45.0)
    np.testing.assert_array_equal(optics.phase_shift, np.full(12, expected))


def test_a_magnification_of_0_is_refused(star: Star) -> None:
    path = star(optics_rlnImagePixelSize=None, rlnDetectorPixelSize=[5] * 12,
                rlnMagnification=[40000] * 11 + [0])  # fmt: skip
    with pytest.raises(StarError, match="rlnMagnification is 0, expected more than 0"):
        read_particles(path)


def test_a_stack_may_have_the_sign_at_in_its_name(data_set: DataSet, star: Star) -> None:
    (data_set.folder / "particles.mrcs").rename(data_set.folder / "a@b.mrcs")
    first = read_particles(star(rlnImageName=[f"{12 - i}@a@b.mrcs" for i in range(12)]))
    again = read_particles(write_particles(first, data_set.folder / "b.star"))
    assert first.images.section.tolist() == again.images.section.tolist() == [*range(11, -1, -1)]


@pytest.mark.parametrize("name", ["Particles", "my_set"])
def test_the_one_table_with_images_is_taken_whatever_its_name(star: Star, name: str) -> None:
    path = star()
    text = path.read_text()
    expected = read_particles(path)
    path.write_text(text.replace("data_particles", f"data_{name}"))
    particles = read_particles(path)
    assert states(only(particles.notes, "table-name"), f"data_{name}")
    assert torch.equal(particles.poses.rotations, expected.poses.rotations)


def test_of_two_tables_with_images_neither_is_guessed(star: Star) -> None:
    path = star()
    text = path.read_text().replace("data_particles", "data_first")
    path.write_text(text + text[text.index("data_first") :].replace("data_first", "data_second"))
    with pytest.raises(StarError, match="no table of particles"):
        read_particles(path)

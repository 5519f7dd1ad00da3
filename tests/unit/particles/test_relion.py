from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from data_sets import DataSet, star_block
from noting import only, states, warnings

from cryosplat.errors import InputError, StackError, StarError
from cryosplat.notes import codes
from cryosplat.optics import ISOTROPIC, OpticsGroup, ctf, odd_phase
from cryosplat.particles import read_particles

Star = Callable[..., Path]


def test_every_column_becomes_its_physical_value(data_set: DataSet, star: Star) -> None:
    n = data_set.n
    path = star(
        rlnPhaseShift=np.linspace(0, 90, n), rlnCtfBfactor=np.arange(n) - 3.0,
        rlnCtfScalefactor=np.linspace(0.5, 1, n),
    )  # fmt: skip
    particles = read_particles(path)
    optics = particles.optics
    exact = tolerances.ROTATION_FLOAT64
    np.testing.assert_allclose(particles.poses.rotations, data_set.rotations, **exact)
    np.testing.assert_array_equal(particles.poses.shifts, data_set.origins)
    np.testing.assert_array_equal(optics.defocus_u, data_set.defocus[:, 0])
    np.testing.assert_array_equal(optics.defocus_v, data_set.defocus[:, 1])
    np.testing.assert_allclose(optics.defocus_angle, np.deg2rad(data_set.defocus[:, 2]), **exact)
    np.testing.assert_allclose(optics.phase_shift, np.linspace(0, np.pi / 2, n), **exact)
    np.testing.assert_array_equal(optics.b_factor, np.arange(n) - 3.0)
    np.testing.assert_array_equal(optics.scale, np.linspace(0.5, 1, n))
    np.testing.assert_array_equal(particles.half_sets, data_set.half_sets)
    (group,) = optics.groups
    assert (group.name, group.pixel_size, group.box_size) == ("optics1", 1.5, 8)
    assert (group.voltage, group.spherical_aberration, group.amplitude_contrast) == (
        3e5,
        2.7e7,
        0.1,
    )
    assert (len(particles), particles.box_size, particles.pixel_size) == (n, 8, 1.5)
    (note,) = particles.notes
    assert note.code == "b-factor-amplifies" and states(note, "3 of 12", "-3 A^2")
    assert particles.has_half_sets


def test_optics_groups_are_joined_by_id_in_any_order(data_set: DataSet, star: Star) -> None:
    ids = np.where(np.arange(data_set.n) % 3 == 0, 40, 7)
    path = star(
        rlnOpticsGroup=ids, optics_rlnOpticsGroup=[40, 3, 7],
        optics_rlnOpticsGroupName=["forty", "unused", "seven"],
        optics_rlnVoltage=[200, 120, 300], optics_rlnSphericalAberration=[2.0, 1.0, 2.7],
        optics_rlnAmplitudeContrast=[0.07, 0.2, 0.1], optics_rlnImagePixelSize=[1.1, 9.0, 1.5],
        optics_rlnImageSize=[8, 16, 8], optics_rlnImageDimensionality=[2, 2, 2],
    )  # fmt: skip
    particles = read_particles(path)
    assert [group.name for group in particles.optics.groups] == ["forty", "seven"]
    first = ids == 40
    voltage = particles.optics.of_group("voltage").numpy()
    np.testing.assert_array_equal(voltage, np.where(first, 2e5, 3e5))
    pixel_size = particles.optics.of_group("pixel_size").numpy()
    np.testing.assert_array_equal(pixel_size, np.where(first, 1.1, 1.5))
    assert particles.pixel_size == 1.5
    assert particles.optics_table["rlnOpticsGroup"].tolist() == [40, 7]


def test_the_order_of_blocks_and_columns_does_not_matter(data_set: DataSet, star: Star) -> None:
    path = star()
    expected = read_particles(path)
    optics, particles = path.read_text().split("# version 30001\n\ndata_particles")
    lines = particles.splitlines()
    labels = [line for line in lines if line.startswith("_")]
    rows = [line.split() for line in lines if "@" in line]
    reversed_rows = "\n".join("\t".join(reversed(row)) for row in rows)
    header = "\n".join(label.split()[0] for label in reversed(labels))
    path.write_text(f"data_particles\nloop_\n{header}\n{reversed_rows}\n# end\n{optics}")
    given = read_particles(path)
    np.testing.assert_array_equal(given.poses.rotations, expected.poses.rotations)
    np.testing.assert_array_equal(given.optics.defocus_u, expected.optics.defocus_u)
    assert given.optics.groups == expected.optics.groups


def test_a_key_in_the_particle_row_wins_over_its_optics_group(star: Star) -> None:
    particles = read_particles(star(rlnVoltage=[200.0] * 4 + [300.0] * 8))
    np.testing.assert_array_equal(particles.optics.of_group("voltage"), [2e5] * 4 + [3e5] * 8)
    assert [g.name for g in particles.optics.groups] == ["optics1_1", "optics1_2"]


def test_version_3_0_has_pixel_sizes_by_magnification_and_origins_in_pixels(
    data_set: DataSet,
) -> None:
    n = data_set.n
    path = data_set.folder / "old.star"
    path.write_text(star_block("images", {
        "rlnImageName": [f"{i + 1}@particles.mrcs" for i in range(n)],
        "rlnAngleRot": data_set.angles[:, 0], "rlnAngleTilt": data_set.angles[:, 1],
        "rlnAnglePsi": data_set.angles[:, 2], "rlnOriginX": data_set.origins[:, 0],
        "rlnOriginY": data_set.origins[:, 1], "rlnDefocusU": data_set.defocus[:, 0],
        "rlnVoltage": [300] * n, "rlnSphericalAberration": [2.7] * n,
        "rlnAmplitudeContrast": [0.1] * n, "rlnMagnification": [40000] * n,
        "rlnDetectorPixelSize": [6] * n,
    }))  # fmt: skip
    particles = read_particles(path)
    assert particles.pixel_size == 1.5
    np.testing.assert_array_equal(particles.poses.shifts, data_set.origins * 1.5)
    np.testing.assert_array_equal(particles.optics.defocus_v, data_set.defocus[:, 0])
    assert "no-astigmatism" in codes(particles.notes)


def test_missing_origins_are_zero_and_said(star: Star) -> None:
    particles = read_particles(star(rlnOriginXAngst=None, rlnOriginYAngst=None))
    assert not particles.poses.shifts.any()
    assert "no-origins" in codes(particles.notes)


def test_given_poses_replace_missing_angles(
    data_set: DataSet, star: Star, pickles: tuple[Path, Path]
) -> None:
    path = star(rlnAngleRot=None, rlnAngleTilt=None, rlnAnglePsi=None)
    with pytest.raises(StarError) as error:
        read_particles(path)
    assert "missing rlnAngleRot, rlnAngleTilt, rlnAnglePsi (12 rows)" in str(error.value)
    assert "--poses poses.pkl" in str(error.value)
    particles = read_particles(path, poses=pickles[0])
    np.testing.assert_array_equal(particles.poses.rotations, data_set.rotations)
    np.testing.assert_allclose(particles.poses.shifts, data_set.origins, rtol=0, atol=1e-12)


def test_a_given_pixel_size_wins_and_is_said(data_set: DataSet, star: Star) -> None:
    particles = read_particles(star(), pixel_size=2.0)
    assert particles.pixel_size == 2.0
    assert states(only(particles.notes, "pixel-size-replaced"), "2 A")
    # shifts keep their number of pixels, in whatever unit the table has them
    expected = data_set.origins * 2.0 / data_set.pixel_size
    np.testing.assert_allclose(particles.poses.shifts, expected, rtol=1e-12)
    in_pixels = {f"rlnOrigin{a}": data_set.origins[:, i] / 1.5 for i, a in enumerate("XY")}
    old = star(rlnOriginXAngst=None, rlnOriginYAngst=None, **in_pixels)
    np.testing.assert_allclose(
        read_particles(old, pixel_size=2.0).poses.shifts, expected, rtol=1e-12
    )
    for wrong in (None, ["nan"], [0]):  # nothing to scale them by
        particles = read_particles(star(optics_rlnImagePixelSize=wrong), pixel_size=2.0)
        np.testing.assert_array_equal(particles.poses.shifts, data_set.origins)


def test_pixel_sizes_of_the_rows_give_way_to_the_optics_table(star: Star) -> None:
    """As in RELION, which looks for them nowhere else."""
    particles = read_particles(star(rlnImagePixelSize=[2.0] * 12))
    assert particles.pixel_size == 1.5
    assert states(only(particles.notes, "row-columns-unused"), "rlnImagePixelSize")
    particles = read_particles(star(optics_rlnImagePixelSize=None, rlnImagePixelSize=[2.0] * 12))
    assert particles.pixel_size == 2.0


def test_optics_of_no_particle_do_not_matter(star: Star) -> None:
    two = {f"optics_{k}": v for k, v in {
        "rlnOpticsGroup": [1, 2], "rlnOpticsGroupName": ["a", "b"], "rlnVoltage": ["nan", 300],
        "rlnSphericalAberration": [2.7] * 2, "rlnAmplitudeContrast": [0.1] * 2,
        "rlnImagePixelSize": [1.5] * 2, "rlnImageSize": [8] * 2,
        "rlnImageDimensionality": [2] * 2}.items()}  # fmt: skip
    assert read_particles(star(rlnOpticsGroup=[2] * 12, **two)).optics.groups[0].voltage == 3e5
    with pytest.raises(StarError, match="data_optics row 1: rlnVoltage is 'nan'"):
        read_particles(star(rlnOpticsGroup=[2] * 11 + [1], **two))


def test_a_negative_spherical_aberration(star: Star) -> None:
    (group,) = read_particles(star(optics_rlnSphericalAberration=[-0.01])).optics.groups
    assert group.spherical_aberration == pytest.approx(-1e5)


def test_images_that_do_not_count(star: Star) -> None:
    particles = read_particles(star(rlnCtfScalefactor=[0.0] * 3 + [1.0] * 9))
    assert warnings(particles.notes) == ["scale-zero"]
    assert states(only(particles.notes, "scale-zero"), "rlnCtfScalefactor", "3 of 12")
    with pytest.raises(StarError, match="rlnCtfScalefactor is 0 in every row"):
        read_particles(star(rlnCtfScalefactor=[0.0] * 12))


def test_names_may_tell_the_format(data_set: DataSet, star: Star) -> None:
    (data_set.folder / "a.mrc").symlink_to(data_set.folder / "particles.mrcs")
    particles = read_particles(star(rlnImageName=[f"{i + 1}@a.mrc:mrcs" for i in range(12)]))
    assert particles.images.section.tolist() == list(range(12))


def test_without_a_ctf_images_stay_stretched(star: Star) -> None:
    matrix = dict(zip(("00", "01", "10", "11"), (1.02, 0.0, 0.0, 0.98), strict=True))
    stretched = {f"optics_rlnMagMat{k}": [v] for k, v in matrix.items()}
    path = star(**stretched, optics_rlnBeamTiltX=[1.0], optics_rlnEvenZernike=["[0,0,1]"],
                optics_rlnCtfDataAreCtfPremultiplied=[1],
                rlnCtfBfactor=[20.0] * 12)  # fmt: skip
    particles = read_particles(path, ctf="none")
    (group,) = particles.optics.groups
    assert group.magnification == (1.02, 0.0, 0.0, 0.98)
    assert (group.odd, group.even, group.processing) == ((), (), "none")
    values = ctf(particles.optics, torch.rand(50, 2, dtype=torch.float64) / 3)
    torch.testing.assert_close(values, torch.ones_like(values))
    assert only(particles.notes, "processing-unused").severity == "warning"
    assert states(only(particles.notes, "columns-replaced"), "rlnCtfBfactor")
    magnification = only(particles.notes, "magnification-applied")
    assert states(magnification, "rlnMagMat", "-2.00 % to +2.00 %")
    tilt, even = (note for note in particles.notes if note.code == "aberration-not-applied")
    straight = read_particles(path).optics.groups[0]
    degrees = f"{np.rad2deg(_largest_odd(straight)):,.0f} degrees"
    assert states(tilt, "rlnBeamTilt", "(1, 0) mrad", degrees, "(3 A)")
    assert states(even, "rlnEvenZernike")


def _largest_odd(group: OpticsGroup) -> float:
    angles = torch.linspace(0, 2 * torch.pi, 181, dtype=torch.float64)
    frequencies = torch.stack([angles.cos(), angles.sin()], -1) / (2 * group.pixel_size)
    return float(odd_phase(replace(group, magnification=ISOTROPIC), frequencies).abs().max())


@pytest.mark.parametrize(
    ("label", "remedy"),
    [
        ("rlnVoltage", "--ctf ctf.pkl"), ("rlnSphericalAberration", "--ctf ctf.pkl"),
        ("rlnAmplitudeContrast", "--ctf ctf.pkl"), ("rlnImagePixelSize", "--pixel-size ANGSTROM"),
    ],
)  # fmt: skip
def test_what_has_no_default_must_be_there(star: Star, label: str, remedy: str) -> None:
    with pytest.raises(StarError) as error:
        read_particles(star(**{f"optics_{label}": None}))
    assert f"missing {label} (12 rows)" in str(error.value)
    assert remedy in str(error.value)


def test_all_missing_columns_are_named_at_once(star: Star) -> None:
    path = star(rlnImageName=None, rlnDefocusU=None, rlnAnglePsi=None, optics_rlnVoltage=None)
    with pytest.raises(StarError) as error:
        read_particles(path)
    assert "missing rlnImageName, rlnDefocusU, rlnVoltage, rlnAnglePsi (12 rows)" in str(
        error.value
    )


@pytest.mark.parametrize("value", ["nan", "inf", "abc", "-"])
def test_cells_that_are_no_numbers_name_their_row(star: Star, value: str) -> None:
    path = star(rlnDefocusU=[1e4] * 6 + [value] + [1e4] * 4 + [value])
    with pytest.raises(StarError) as error:
        read_particles(path)
    message = str(error.value)
    assert "data_particles row 7: rlnDefocusU is" in message
    assert "expected a number (2 of 12 rows are affected)" in message


@pytest.mark.parametrize("name", ["0@particles.mrcs", "x@particles.mrcs", "000001@", "0.5@a.mrcs"])
def test_image_names_without_number_or_stack_are_refused(star: Star, name: str) -> None:
    names = [f"{i + 1}@particles.mrcs" for i in range(11)]
    with pytest.raises(StarError) as error:
        read_particles(star(rlnImageName=[*names, name]))
    assert f"row 12: rlnImageName is {name!r}" in str(error.value)


def test_unknown_and_repeated_optics_groups_are_refused(star: Star) -> None:
    with pytest.raises(StarError) as error:
        read_particles(star(rlnOpticsGroup=[1] * 8 + [2] * 4))
    assert "row 9: optics group 2 is not in data_optics, which has [1] (4 rows" in str(error.value)
    two = {f"optics_{k}": [v] * 2 for k, v in {
        "rlnOpticsGroup": 1, "rlnOpticsGroupName": "a", "rlnVoltage": 300,
        "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1, "rlnImagePixelSize": 1.5,
        "rlnImageSize": 8, "rlnImageDimensionality": 2}.items()}  # fmt: skip
    with pytest.raises(StarError, match="an rlnOpticsGroup occurs twice"):
        read_particles(star(**two))
    two["optics_rlnOpticsGroup"] = [1, 2]
    with pytest.raises(StarError, match="missing rlnOpticsGroup, so the rows cannot be joined"):
        read_particles(star(rlnOpticsGroup=None, **two))


def test_one_optics_group_needs_no_id(star: Star) -> None:
    assert read_particles(star(rlnOpticsGroup=None)).optics.groups[0].voltage == 3e5


def test_impossible_optics_name_the_file(star: Star) -> None:
    with pytest.raises(StarError, match=r"particles.star, data_particles: .*voltage is 300000 kV"):
        read_particles(star(optics_rlnVoltage=[3e5]))


def test_tables_without_rows_or_without_particles_are_refused(data_set: DataSet) -> None:
    path = data_set.folder / "a.star"
    path.write_text("data_particles\nloop_\n_rlnImageName #1\n\n")
    with pytest.raises(StarError, match="data_particles: the table has no rows"):
        read_particles(path)
    path.write_text("data_micrographs\nloop_\n_rlnMicrographName #1\na.mrc\n")
    with pytest.raises(StarError, match=r"no table of particles; the file has data_micrographs"):
        read_particles(path)
    path.write_text("data_particles\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n1@a.mrcs 1\n")
    with pytest.raises(StarError, match="the file has no data_optics table"):
        read_particles(path)


@pytest.mark.parametrize(
    ("column", "value", "code", "severity"),
    [
        ("rlnMtfFileName", "mtf.star", "mtf-not-applied", "note"),
        ("rlnMicrographPreExposure", 30.0, "dose-not-applied", "note"),
        ("cs/ctf/tilt_A", 30.0, "cryosparc-field-not-applied", "warning"),
    ],
)
def test_physics_that_is_not_applied_is_said(
    star: Star, column: str, value: object, code: str, severity: str
) -> None:
    note = only(read_particles(star(**{f"optics_{column}": [value]})).notes, code)
    assert note.severity == severity and states(note, column)
    assert states(note, "30") or value == "mtf.star"


def test_neutral_aberrations_are_not_mentioned(star: Star) -> None:
    path = star(optics_rlnBeamTiltX=[0.0], optics_rlnOddZernike=["[0,0,0]"],
                optics_rlnMagMat00=[1], optics_rlnMagMat01=[0], optics_rlnMtfFileName=["None"],
                optics_rlnCtfDataAreCtfPremultiplied=[0])  # fmt: skip
    assert read_particles(path).notes == ()


@pytest.mark.parametrize(
    ("column", "value", "fragment"),
    [
        (
            "rlnCtfDataArePhaseFlipped",
            "yes",
            "rlnCtfDataArePhaseFlipped is 'yes', expected a number",
        ),
        ("rlnImageDimensionality", 3, "sub-tomograms are not read"),
    ],
)
def test_images_that_are_not_plain_particles_are_refused(
    star: Star, column: str, value: int, fragment: str
) -> None:
    with pytest.raises(StarError, match=fragment):
        read_particles(star(**{f"optics_{column}": [value]}))


def test_half_sets_are_all_set_or_none(star: Star) -> None:
    with pytest.raises(InputError) as error:
        read_particles(star(rlnRandomSubset=[1, 2] * 5 + [0, 0]))
    assert "row 11: rlnRandomSubset is 0, expected 1 or 2 in every row" in str(error.value)
    assert "0 (2 rows), 1 (5 rows), 2 (5 rows)" in str(error.value)
    with pytest.raises(InputError, match="row 3: rlnRandomSubset is 3, expected 1 or 2"):
        read_particles(star(rlnRandomSubset=[1, 2, 3] * 4))
    none = read_particles(star(rlnRandomSubset=[0] * 12))
    assert not none.has_half_sets and none.notes == ()
    same = read_particles(star(rlnRandomSubset=[2] * 12))
    assert not same.has_half_sets
    assert codes(same.notes) == {"half-sets-one-value"}
    assert not read_particles(star(rlnRandomSubset=None)).has_half_sets


def test_a_box_that_differs_from_the_star_is_refused(star: Star) -> None:
    with pytest.raises(StackError) as error:
        read_particles(star(optics_rlnImageSize=[16]))
    assert "measure 8 pixels, but rlnImageSize is 16 (12 rows" in str(error.value)


def test_repeated_images_are_said(star: Star) -> None:
    names = [f"{i // 2 + 1}@particles.mrcs" for i in range(12)]
    notes = read_particles(star(rlnImageName=names)).notes
    assert states(only(notes, "images-repeated"), 6)


def test_micrographs_filaments_and_tilt_particles_are_numbered(star: Star) -> None:
    particles = read_particles(star(
        rlnMicrographName=["a", "b"] * 6, rlnHelicalTubeID=[1, 1, 2, 2] * 3,
        rlnTomoParticleName=["p", "q", "r"] * 4,
    ))  # fmt: skip
    assert particles.micrographs is not None and particles.filaments is not None
    assert particles.tilt_particles is not None
    assert particles.micrographs.tolist() == [0, 1] * 6
    assert particles.filaments.tolist() == [0, 1, 2, 3] * 3
    assert particles.tilt_particles.tolist() == [0, 1, 2] * 4

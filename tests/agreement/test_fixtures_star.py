"""Star files of real projects, against values read off them by eye and against cryoDRGN's parse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tolerances
from data_sets import write_empty_stack
from noting import only, states

from cryosplat.errors import CryosplatError, InputError, MrcError, StackError, StarError
from cryosplat.io.pickles import load_pickle
from cryosplat.io.star import read_star
from cryosplat.notes import codes
from cryosplat.particles import Particles, read_particles
from cryosplat.poses import euler_from_rotations


@pytest.fixture
def formats(shared: Path) -> Path:
    return shared / "data" / "formats"


def _read_with_empty_stacks(path: Path, datadir: Path, box_size: int) -> Particles:
    """Read a star file whose images do not exist, after making empty stacks for all its rows."""
    rows = next(t for t in read_star(path).values() if "rlnImageName" in t)
    last: dict[str, int] = {}
    for name in rows["rlnImageName"]:
        number, _, stack = name.partition("@")
        last[stack] = max(int(number), last.get(stack, 0))
    for stack, n in last.items():
        write_empty_stack(datadir / stack, n, box_size)
    return read_particles(path, datadir=datadir)


def test_six_optics_groups(formats: Path, tmp_path: Path) -> None:
    path = formats / "relion31.6opticsgroups.star"
    particles = _read_with_empty_stacks(path, tmp_path, 196)
    assert len(particles) == 139
    groups = {g.name: g for g in particles.optics.groups}
    assert set(groups) == {f"opticsGroup{i}" for i in range(1, 7)}
    assert groups["opticsGroup3"].pixel_size == groups["opticsGroup4"].pixel_size == 1.24
    assert groups["opticsGroup1"].spherical_aberration == 2.6e7
    # the first row, in group 6: id 6 is the sixth row and named opticsGroup6
    first = particles.optics.groups[int(particles.optics.group[0])]
    assert (first.name, first.pixel_size, first.voltage) == ("opticsGroup6", 1.25, 2e5)
    assert particles.optics.defocus_u[0] == 10352.805929
    angles = np.rad2deg(euler_from_rotations(particles.poses.rotations.numpy()[:1]))
    np.testing.assert_allclose(angles[0], [-128.10516, 37.068920, -82.1780], atol=1e-4)
    # the last row: group 4, which is named opticsGroup1
    last = particles.optics.groups[int(particles.optics.group[-1])]
    assert last.name == "opticsGroup1"
    np.testing.assert_array_equal(particles.poses.shifts[-1], [-4.46701, 3.032991])
    assert particles.half_sets[-1] == 2 and particles.has_half_sets
    tilt, odd, even = [note for note in particles.notes if note.code == "aberration-applied"]
    assert states(tilt, "'opticsGroup6'", "rlnBeamTilt", "(-1.29, 2.45) mrad", "1,082 degrees", 6)
    assert states(odd, "rlnOddZernike") and states(even, "rlnEvenZernike")
    assert only(particles.notes, "magnification-applied")
    unapplied = {code for code in codes(particles.notes) if code.endswith("not-applied")}
    assert unapplied == {"norm-correction-not-applied"}
    # the first row of the optics table, to the digit: odd beyond the tilt, even, and the matrix
    group = groups["opticsGroup5"]
    assert (group.odd[2], group.odd[5]) == (2.54522458134, 3.56183614819)
    assert group.even[8] == 10.2031413351 and len(group.even) == 9
    assert group.magnification == (1.011472, 0.004231, 0.00456, 1.008858)


def test_relion_5(formats: Path, tmp_path: Path) -> None:
    particles = _read_with_empty_stacks(formats / "relion5.star", tmp_path, 448)
    assert (len(particles), particles.box_size, particles.pixel_size) == (17, 448, 0.89)
    assert len(particles.images.stacks) == 2
    (group,) = particles.optics.groups
    assert (group.voltage, group.spherical_aberration) == (1e5, 1.6e7)
    np.testing.assert_array_equal(particles.poses.shifts[0], [-3.12578, -1.41031])


def test_the_order_of_relion_3_1_tables_does_not_matter(formats: Path) -> None:
    one, other = (read_particles(formats / f"relion31{v}.star") for v in ("", ".v2"))
    assert one.optics.groups == other.optics.groups
    np.testing.assert_array_equal(one.poses.rotations, other.poses.rotations)
    assert next(one.batches()).images.shape == (5, 256, 256)
    assert (one.pixel_size, one.optics.groups[0].spherical_aberration) == (2.806, 1e5)


def test_relion_3_0_without_amplitude_contrast_is_refused(formats: Path) -> None:
    path = formats / "FinalRefinement-OriginalParticles-PfCRT.star"
    with pytest.raises(StarError, match=r"data_images: missing rlnAmplitudeContrast \(5 rows\)"):
        read_particles(path)


def test_relion_3_0_of_a_real_project(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "stars" / "aspire_starfile.star"
    particles = _read_with_empty_stacks(path, tmp_path, 4)
    assert len(particles) == 3796
    assert particles.has_half_sets
    assert particles.names[0] == "000089@mrc_files/stack_0500_cor_DW.mrcs"
    assert particles.optics.defocus_u[0] == 21186.804688
    table = particles.table
    pixel_size = table["rlnDetectorPixelSize"] * 1e4 / table["rlnMagnification"]
    assert particles.pixel_size == pytest.approx(pixel_size[0], rel=1e-12)
    np.testing.assert_allclose(
        particles.poses.shifts[:, 0], table["rlnOriginX"] * pixel_size, rtol=1e-12
    )


def test_tabs_and_junk_before_the_block(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "stars" / "RyR1GCs_clustRem.star"
    particles = _read_with_empty_stacks(path, tmp_path, 4)
    assert len(particles) == 14491
    assert particles.pixel_size == pytest.approx(12.55, rel=1e-12)
    assert particles.optics.groups[0].spherical_aberration == pytest.approx(2.26e7)
    assert particles.optics.defocus_u[0] == 25256.199219
    assert "no-origins" in codes(particles.notes)


def test_every_star_file_opens_or_names_what_is_missing(shared: Path) -> None:
    missing = {
        "RyR1GCs_clustRem.star": (StackError, "the stack RyR1GCs_2Sh_clustRem.mrcs was not found"),
        "aspire_starfile.star": (StackError, "mrc_files/stack_0500_cor_DW.mrcs was not found (98"),
        "cryolike_particle_data.star": (
            StarError, "missing rlnImageName, rlnAmplitudeContrast, rlnAngleRot, rlnAngleTilt",
        ),
    }  # fmt: skip
    paths = sorted((shared / "data" / "stars").glob("*.star"))
    assert {path.name for path in paths} == set(missing)
    for path in paths:
        kind, fragment = missing[path.name]
        with pytest.raises(CryosplatError) as error:
            read_particles(path)
        assert isinstance(error.value, kind) and fragment in str(error.value)
        assert "Remedy: " in str(error.value)


def test_the_tilt_series_agrees_with_its_pickles(shared: Path) -> None:
    folder = shared / "data" / "real" / "ribo_subtilts_bin8"
    particles = read_particles(folder / "sta_testing_bin8.star")
    rotations, _ = load_pickle(folder / "sta_pose.pkl")
    ctf = load_pickle(folder / "sta_ctf.pkl").astype(float)
    optics = particles.optics
    np.testing.assert_allclose(particles.poses.rotations, rotations, **tolerances.ROTATION_FLOAT32)
    np.testing.assert_allclose(optics.defocus_u, ctf[:, 2], **tolerances.FILE_FLOAT32)
    np.testing.assert_allclose(optics.defocus_v, ctf[:, 3], **tolerances.FILE_FLOAT32)
    np.testing.assert_allclose(
        optics.defocus_angle, np.deg2rad(ctf[:, 4]), **tolerances.ANGLE_FLOAT32
    )
    assert optics.b_factor[0] == 13.0 and optics.scale[1] == 0.9986  # -13 in the sign of Warp
    assert states(only(particles.notes, "b-factor-warp"), "-507 to -13 A^2")
    assert particles.tilt_particles is not None and particles.tilt_particles.max() == 5
    assert particles.has_half_sets
    with pytest.raises(InputError, match="holds 219 rows for 220 images"):
        stack = next(folder.glob("*.mrcs"))
        read_particles(stack, poses=folder / "sta_pose.pkl", ctf=folder / "sta_ctf.pkl")


def test_a_star_without_poses_takes_them_from_a_pickle(formats: Path) -> None:
    path = formats / "toy_projections.star"
    with pytest.raises(StarError, match="missing rlnImagePixelSize, rlnAngleRot, rlnAngleTilt"):
        read_particles(path)
    star = read_particles(path, poses=formats / "toy_rot_trans.pkl", pixel_size=1.0)
    listed = read_particles(
        formats / "toy_projections.txt",
        poses=[formats / "toy_angles.pkl", formats / "toy_trans.pkl"],
        ctf=formats / "test_ctf.pkl",
    )
    np.testing.assert_array_equal(star.poses.rotations, listed.poses.rotations)
    np.testing.assert_array_equal(star.poses.shifts, listed.poses.shifts)
    np.testing.assert_array_equal(star.optics.phase_shift, listed.optics.phase_shift)
    a, b = star.optics.groups[0], listed.optics.groups[0]
    assert (a.voltage, a.pixel_size, a.amplitude_contrast) == (3e5, 1.0, 0.1)
    assert (b.voltage, b.pixel_size, b.amplitude_contrast) == (3e5, 1.0, 0.1)
    assert a.spherical_aberration == b.spherical_aberration == pytest.approx(1e4)


def test_projections_without_a_ctf(formats: Path) -> None:
    particles = read_particles(
        formats / "hand.mrcs", poses=formats / "hand_rot_trans.pkl", ctf="none", pixel_size=1.0
    )
    assert (len(particles), particles.box_size) == (100, 64)
    _, fractions = load_pickle(formats / "hand_rot_trans.pkl")
    np.testing.assert_array_equal(particles.poses.shifts, fractions.astype(float) * 64)


def test_a_header_that_claims_too_much(formats: Path) -> None:
    path = formats / "header_claims_11029_sections.mrcs"
    with pytest.raises(MrcError) as error:
        read_particles(path, poses=formats / "hand_rot.pkl", ctf="none", pixel_size=1.0)
    assert "claims 11029 sections of 128 x 128 pixels, 722797568 bytes" in str(error.value)
    assert "holds 1 whole sections" in str(error.value)

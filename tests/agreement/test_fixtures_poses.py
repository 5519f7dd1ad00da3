"""cryoSPARC, RELION and cryoDRGN files of the same particles, against one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from data_sets import write_empty_stack

from cryosplat.errors import CsError
from cryosplat.io.cs import read_cs
from cryosplat.io.mrc import read_map
from cryosplat.io.pickles import load_pickle
from cryosplat.particles import read_particles


def test_cryosparc_poses_and_ctf_are_what_cryodrgn_parsed(shared: Path, tmp_path: Path) -> None:
    formats = shared / "data" / "formats"
    path = formats / "cryosparc_P12_J24_001_particles.cs"
    rows, _ = read_cs(path)
    for stack in np.unique(rows["blob/path"]):
        n = int(rows["blob/idx"][rows["blob/path"] == stack].max()) + 1
        write_empty_stack(tmp_path / stack.decode(), n, 180)
    particles = read_particles(path, datadir=tmp_path)
    rotations, fractions = load_pickle(formats / "pose.cs.pkl")
    poses = particles.poses
    np.testing.assert_allclose(poses.rotations, rotations, **tolerances.ROTATION_FLOAT32)
    shifts = fractions.astype(float) * 180 * 2.95
    np.testing.assert_allclose(poses.shifts, shifts, **tolerances.SHIFT_FLOAT32)
    ctf = load_pickle(formats / "ctf2.pkl").astype(float)
    optics = particles.optics
    (group,) = optics.groups
    assert (group.box_size, group.pixel_size, group.voltage) == (180, 2.95, 2e5)
    assert (group.spherical_aberration, group.amplitude_contrast) == (2e7, 0.07)
    assert set(map(tuple, ctf[:, [0, 5, 6]])) == {(180.0, 200.0, 2.0)}
    np.testing.assert_allclose(optics.defocus_u, ctf[:, 2], **tolerances.FILE_FLOAT32)
    np.testing.assert_allclose(optics.defocus_v, ctf[:, 3], **tolerances.FILE_FLOAT32)
    angle = np.deg2rad(ctf[:, 4])
    np.testing.assert_allclose(optics.defocus_angle, angle, **tolerances.ANGLE_FLOAT32)
    np.testing.assert_array_equal(particles.half_sets, rows["alignments3D/split"] + 1)


def test_exported_particles_without_poses_are_refused(shared: Path) -> None:
    path = shared / "data" / "formats" / "cryosparc_J2_particles_exported.cs"
    with pytest.raises(CsError) as error:
        read_particles(path)
    message = str(error.value)
    assert "missing alignments3D/pose, alignments3D/shift (22 particles)" in message
    assert "beside it have uid, blob, ctf, alignments2D" in message


def test_empiar_10076_in_three_formats(shared: Path) -> None:
    folder = shared / "data" / "real" / "empiar10076_first7"
    given = [
        read_particles(folder / f"empiar_10076_7.{suffix}", poses=folder / "poses.pkl")
        for suffix in ("star", "cs", "mrc")
    ]
    expected = given[0]
    for particles in given[1:]:
        np.testing.assert_array_equal(particles.poses.rotations, expected.poses.rotations)
        # the star's pixel size is 5e4 / 38168, the others' 1.31 and 1.309998 A: 2e-6 apart
        np.testing.assert_allclose(particles.poses.shifts, expected.poses.shifts, rtol=2e-6)
        optics = particles.optics
        np.testing.assert_allclose(
            optics.defocus_u, expected.optics.defocus_u, **tolerances.FILE_FLOAT32
        )
        np.testing.assert_allclose(
            optics.defocus_angle, expected.optics.defocus_angle, **tolerances.ANGLE_FLOAT32
        )
        for name in ("voltage", "spherical_aberration", "amplitude_contrast", "box_size"):
            assert torch.equal(optics.of_group(name), expected.optics.of_group(name))
        (one,), (other,) = particles.batches(), expected.batches()
        assert torch.equal(one.images, other.images)


def test_atp_synthase_in_two_formats(shared: Path) -> None:
    folder = shared / "data" / "real" / "atp_synthase_freehand50"
    star = read_particles(folder / "particles.star")
    poses = folder / "poses_frealign_shifts_fraction.pkl"
    stack = read_particles(folder / "particles.mrcs", poses=poses)
    np.testing.assert_allclose(
        star.poses.rotations, stack.poses.rotations, **tolerances.ROTATION_FLOAT32
    )
    # this pickle keeps the program's own shifts, which point the other way than RELION's origins
    np.testing.assert_allclose(star.poses.shifts, -stack.poses.shifts, **tolerances.SHIFT_FLOAT32)
    np.testing.assert_allclose(
        star.optics.defocus_u, stack.optics.defocus_u, **tolerances.FILE_FLOAT32
    )
    assert star.optics.groups[0].pixel_size == stack.optics.groups[0].pixel_size == 2.8
    assert star.half_sets.tolist() == [1, 2] * 25
    noshift = read_particles(folder / "particles.mrcs", poses=folder / "poses_noshift.pkl")
    assert not noshift.poses.shifts.any()


def test_truth_volumes_are_read(shared: Path) -> None:
    formats = shared / "data" / "formats"
    assert read_map(formats / "hand-vol.mrc").data.shape == (64, 64, 64)
    toy = read_map(formats / "toymodel_small_nocenter.mrc")
    assert toy.data.shape == (30, 30, 30) and toy.pixel_size == 1.0

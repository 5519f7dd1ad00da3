from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import DataSet, write_cs

from cryosplat.errors import CsError, InputError, StackError
from cryosplat.io.mrc import write_stack
from cryosplat.particles import Particles, read_particles


def _read(data_set: DataSet, **replaced: object) -> Particles:
    return read_particles(write_cs(data_set, data_set.folder / "particles.cs", **replaced))


def test_a_plain_table_needs_no_notes(data_set: DataSet) -> None:
    particles = _read(data_set)
    assert particles.notes == ()
    assert [g.name for g in particles.optics.groups] == ["exposureGroup3"]
    np.testing.assert_array_equal(particles.half_sets, data_set.half_sets)
    (batch,) = particles.batches()
    np.testing.assert_array_equal(batch.images, data_set.images)


def test_no_rotation_is_the_identity(data_set: DataSet) -> None:
    particles = _read(data_set, alignments3D__pose=np.zeros((data_set.n, 3), np.float32))
    assert torch.equal(particles.poses.rotations, torch.eye(3).double().expand(12, 3, 3))


def test_shifts_count_pixels_of_their_own_size(data_set: DataSet) -> None:
    n = data_set.n
    shift = np.tile(np.array([[2.0, -1.0]], np.float32), (n, 1))
    particles = _read(data_set, alignments3D__shift=shift,
                      alignments3D__psize_A=np.full(n, 3.0, np.float32))  # fmt: skip
    assert particles.poses.shifts.tolist() == [[6.0, -3.0]] * n


def test_phase_shift_b_factor_and_scales_are_applied(data_set: DataSet) -> None:
    n = data_set.n
    alpha = np.linspace(0.5, 2, n).astype(np.float32)
    particles = _read(data_set, ctf__phase_shift_rad=np.full(n, 0.5, np.float32),
                      ctf__bfactor=np.full(n, 20, np.float32),
                      ctf__scale=np.full(n, 0.5, np.float32),
                      alignments3D__alpha=alpha)  # fmt: skip
    assert set(particles.optics.phase_shift.tolist()) == {0.5}
    assert set(particles.optics.b_factor.tolist()) == {20.0}
    np.testing.assert_array_equal(particles.optics.scale, 0.5 * alpha.astype(float))
    assert any("alignments3D/alpha, 0.5 to 2) are applied" in note for note in particles.notes)
    alpha[3] = 0
    particles = _read(data_set, alignments3D__alpha=alpha)
    assert set(particles.optics.scale.tolist()) == {1.0}
    assert any("alpha is not positive everywhere" in note for note in particles.notes)


def test_only_differing_data_signs_are_applied(data_set: DataSet) -> None:
    sign = np.where(np.arange(data_set.n) < 5, -1, 1).astype(np.float32)
    particles = _read(data_set, blob__sign=sign)
    (batch,) = particles.batches()
    np.testing.assert_array_equal(batch.images, data_set.images * sign[:, None, None])
    (batch,) = particles.select(torch.tensor([3, 7])).batches()
    np.testing.assert_array_equal(batch.images[0], -data_set.images[3])
    assert any("-1 for 5 of 12 particles" in note for note in particles.notes)


def test_poses_come_from_the_passthrough_beside_the_file(data_set: DataSet) -> None:
    whole = _read(data_set)
    uid = np.arange(data_set.n, dtype=np.uint64) * 7919 + 2**60
    main = write_cs(data_set, data_set.folder / "J9_particles.cs", alignments3D__pose=None,
                    alignments3D__shift=None, alignments3D__split=None)  # fmt: skip
    with pytest.raises(CsError) as error:
        read_particles(main)
    assert "missing alignments3D/pose, alignments3D/shift (12 particles)" in str(error.value)
    assert "_passthrough_particles.cs" in str(error.value)
    passthrough = write_cs(data_set, data_set.folder / "J9_passthrough_particles.cs")
    rows = np.load(passthrough)[::-1]
    assert rows["uid"][-1] == uid[0]
    with open(passthrough, "wb") as stream:
        np.save(stream, rows)
    joined = read_particles(main)
    assert torch.equal(joined.poses.rotations, whole.poses.rotations)
    assert torch.equal(joined.half_sets, whole.half_sets)
    moved = data_set.folder / "other.cs"
    passthrough.rename(moved)
    given = read_particles(main, poses=moved)
    assert torch.equal(given.poses.shifts, whole.poses.shifts)


def test_one_split_everywhere_is_no_split(data_set: DataSet) -> None:
    split = np.zeros(data_set.n, np.uint32)
    particles = _read(data_set, alignments3D__split=split)
    assert not particles.has_half_sets
    assert any("alignments3D/split is" in note for note in particles.notes)
    with pytest.raises(InputError, match=r"has the values \[0, 1, 2\], expected 0 and 1"):
        _read(data_set, alignments3D__split=np.arange(data_set.n, dtype=np.uint32) % 3)


@pytest.mark.parametrize(
    ("field", "effect"),
    [("ctf__tilt_A", "beam tilt"), ("ctf__trefoil_A", "trefoil"), ("ctf__tetra_A", "tetrafoil"),
     ("ctf__anisomag", "anisotropic magnification")],
)  # fmt: skip
def test_aberrations_that_are_not_applied_are_said(
    data_set: DataSet, field: str, effect: str
) -> None:
    values = np.zeros((data_set.n, 2), np.float32)
    assert _read(data_set, **{field: values}).notes == ()
    values[4, 1] = 0.1
    (note,) = _read(data_set, **{field: values}).notes
    assert note.startswith(f"warning: {effect} ({field.replace('__', '/')}) is not zero")


def test_what_has_no_default_must_be_there(data_set: DataSet) -> None:
    with pytest.raises(CsError, match=r"missing ctf/accel_kv, ctf/amp_contrast \(12 particles\)"):
        _read(data_set, ctf__accel_kv=None, ctf__amp_contrast=None)


def test_numbers_that_are_none_and_boxes_that_differ_are_refused(data_set: DataSet) -> None:
    pose = np.zeros((data_set.n, 3), np.float32)
    pose[5, 1] = np.nan
    with pytest.raises(CsError, match=r"row 6: alignments3D/pose is 'nan', expected a number"):
        _read(data_set, alignments3D__pose=pose)
    write_stack(data_set.folder / "particles.mrcs", np.ones((12, 6, 6), np.float32), 1.0)
    with pytest.raises(StackError, match="measure 6 pixels, but blob/shape is 8"):
        _read(data_set)


def test_paths_are_relative_to_the_project(data_set: DataSet, tmp_path: Path) -> None:
    job = tmp_path / "J12"
    job.mkdir()
    (tmp_path / "J1" / "imported").mkdir(parents=True)
    (tmp_path / "particles.mrcs").rename(tmp_path / "J1" / "imported" / "particles.mrcs")
    names = np.array([b">J1/imported/particles.mrcs"] * data_set.n)
    path = write_cs(data_set, job / "cryosparc_P1_J12_particles.cs", blob__path=names)
    particles = read_particles(path)
    assert particles.names[1] == "000002@J1/imported/particles.mrcs"

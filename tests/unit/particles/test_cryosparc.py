from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from data_sets import DataSet, write_cs
from noting import only, states, warnings
from numpy.lib.recfunctions import repack_fields

from cryosplat.errors import CsError, InputError, StackError
from cryosplat.io.mrc import write_stack
from cryosplat.notes import codes
from cryosplat.optics import ctf
from cryosplat.particles import Particles, read_particles, write_particles


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
    assert states(only(particles.notes, "scale-applied"), "alignments3D/alpha", "0.5 to 2")
    alpha[3] = 0
    particles = _read(data_set, alignments3D__alpha=alpha)
    assert set(particles.optics.scale.tolist()) == {1.0}
    assert warnings(particles.notes) == ["scale-not-applied"]


def test_only_differing_data_signs_are_applied(data_set: DataSet) -> None:
    sign = np.where(np.arange(data_set.n) < 5, -1, 1).astype(np.float32)
    particles = _read(data_set, blob__sign=sign)
    (batch,) = particles.batches()
    np.testing.assert_array_equal(batch.images, data_set.images * sign[:, None, None])
    (batch,) = particles[torch.tensor([3, 7])].batches()
    np.testing.assert_array_equal(batch.images[0], -data_set.images[3])
    assert states(only(particles.notes, "data-signs-differ"), "5 of 12")


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


def test_tables_given_as_poses_and_ctf_replace_those_of_the_file(data_set: DataSet) -> None:
    n = data_set.n
    main = write_cs(data_set, data_set.folder / "J1.cs",
                    ctf__tilt_A=np.full((n, 2), 900.0, np.float32))  # fmt: skip
    refined = write_cs(data_set, data_set.folder / "J2.cs",
                       ctf__df1_A=data_set.defocus[:, 0].astype(np.float32) + 5000,
                       alignments3D__shift=data_set.origins + 1)  # fmt: skip
    old, new = read_particles(main), read_particles(refined)
    assert old.optics.groups[0].odd
    ctf_only = read_particles(main, ctf=refined)
    assert torch.equal(ctf_only.optics.defocus_u, new.optics.defocus_u)
    assert torch.equal(ctf_only.poses.shifts, old.poses.shifts)
    assert not ctf_only.optics.groups[0].odd  # the CTF is of one job
    poses_only = read_particles(main, poses=refined)
    assert torch.equal(poses_only.optics.defocus_u, old.optics.defocus_u)
    assert torch.equal(poses_only.poses.shifts, new.poses.shifts)
    assert states(only(poses_only.notes, "fields-replaced"), "alignments3D", "J1.cs")
    both = read_particles(main, poses=refined, ctf=refined)
    assert torch.equal(both.optics.defocus_u, new.optics.defocus_u)
    assert torch.equal(both.poses.shifts, new.poses.shifts)


def test_of_a_given_pixel_size_shifts_keep_their_number_of_pixels(data_set: DataSet) -> None:
    path = write_cs(data_set, data_set.folder / "a.cs",
                    alignments3D__psize_A=np.full(data_set.n, 3.0, np.float32))  # fmt: skip
    shifts = read_particles(path).poses.shifts
    recalibrated = read_particles(path, pixel_size=1.2)
    torch.testing.assert_close(recalibrated.poses.shifts, shifts * 1.2 / 1.5)
    assert "pixel-size-replaced" in codes(recalibrated.notes)


def test_without_a_ctf_images_stay_stretched(data_set: DataSet) -> None:
    wide = np.tile(np.array([[0.02, 0, 0, -0.01]], np.float32), (data_set.n, 1))
    tilt = np.tile(np.array([[2.7e4, 0]], np.float32), (data_set.n, 1))
    path = write_cs(data_set, data_set.folder / "a.cs", ctf__anisomag=wide, ctf__tilt_A=tilt,
                    ctf__scale=np.full(data_set.n, 0.5, np.float32))  # fmt: skip
    particles = read_particles(path, ctf="none")
    (group,) = particles.optics.groups
    assert group.magnification == pytest.approx((1.02, 0, 0, 0.99)) and not group.odd
    values = ctf(particles.optics, torch.rand(50, 2, dtype=torch.float64) / 3)
    torch.testing.assert_close(values, torch.ones_like(values))
    assert states(only(particles.notes, "columns-replaced"), "ctf/scale")
    tilt = only(particles.notes, "aberration-not-applied")
    assert states(tilt, "ctf/tilt_A", "(2.7e+04, 0) A") and "no-ctf" in codes(particles.notes)


def test_one_split_everywhere_is_no_split(data_set: DataSet) -> None:
    split = np.zeros(data_set.n, np.uint32)
    particles = _read(data_set, alignments3D__split=split)
    assert not particles.has_half_sets
    assert states(only(particles.notes, "half-sets-one-value"), "alignments3D/split")
    with pytest.raises(InputError, match=r"has the values \[0, 1, 2\], expected 0 and 1"):
        _read(data_set, alignments3D__split=np.arange(data_set.n, dtype=np.uint32) % 3)


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


def _in_two_classes(data_set: DataSet, named: str) -> dict[str, np.ndarray | None]:
    """Fields of poses in classes 0 and 1, where the right pose is that of class row modulo 2."""
    right = (np.arange(data_set.n) % 2)[:, None] == np.arange(2)
    rows = np.load(write_cs(data_set, data_set.folder / "single.cs"))
    wrong = {"pose": np.full(3, 0.1), "shift": np.full(2, 9.0), "class_posterior": 0.25}
    posterior = np.full(data_set.n, 0.75)
    true = {"pose": rows["alignments3D/pose"], "shift": rows["alignments3D/shift"],
            "class_posterior": posterior}  # fmt: skip
    each = {}
    for name, values in true.items():
        shape = (data_set.n, 2, *(1,) * (values.ndim - 1))
        each[name] = np.where(right.reshape(shape), values[:, None], wrong[name]).astype(np.float32)
    fields: dict[str, np.ndarray | None] = dict.fromkeys(
        n.replace("/", "__") for n in rows.dtype.names if n.startswith("alignments3D")
    )
    split = rows["alignments3D/split"]
    size = rows["alignments3D/psize_A"]
    if named == "multi":
        fields |= {f"alignments3D_multi__{name}": values for name, values in each.items()}
        fields |= {"alignments3D_multi__split": split, "alignments3D_multi__psize_A": size}
        labels = np.tile(np.array([4, 2], np.uint32), (data_set.n, 1))
        fields["alignments3D_multi__class"] = labels
    else:
        for k in (0, 1):
            fields |= {f"alignments_class_{k}__{n}": v[:, k] for n, v in each.items()}
            fields |= {
                f"alignments_class_{k}__split": split,
                f"alignments_class_{k}__psize_A": size,
            }
    return fields


@pytest.mark.parametrize("named", ["multi", "class"])
def test_of_poses_in_several_classes_the_most_probable_is_used(
    data_set: DataSet, named: str
) -> None:
    fields = _in_two_classes(data_set, named)
    particles = read_particles(write_cs(data_set, data_set.folder / "a.cs", **fields))
    single = tolerances.ROTATION_FLOAT32
    np.testing.assert_allclose(particles.poses.rotations, data_set.rotations, **single)
    np.testing.assert_allclose(particles.poses.shifts, data_set.origins, **tolerances.SHIFT_FLOAT32)
    np.testing.assert_array_equal(particles.half_sets, data_set.half_sets)
    even, odd = (4, 2) if named == "multi" else (0, 1)
    assert particles.table["cs/alignments3D/class"].tolist() == [even, odd] * 6
    counts = f"6 in class {min(even, odd)}, 6 in class {max(even, odd)}"
    assert states(only(particles.notes, "alignment-most-probable"), counts)


def test_the_class_of_the_poses_may_be_given(data_set: DataSet) -> None:
    path = write_cs(data_set, data_set.folder / "a.cs", **_in_two_classes(data_set, "multi"))
    particles = read_particles(path, alignment_class=2)
    np.testing.assert_allclose(particles.poses.shifts[::2], 9.0 * 1.5)
    np.testing.assert_allclose(
        particles.poses.shifts[1::2], data_set.origins[1::2], **tolerances.SHIFT_FLOAT32
    )
    assert states(only(particles.notes, "alignment-class"), 2)
    with pytest.raises(CsError, match="no poses in class 1; the file has poses in 2, 4"):
        read_particles(path, alignment_class=1)
    single = write_cs(data_set, data_set.folder / "b.cs")
    with pytest.raises(CsError, match="no poses in class 0; the file has poses in a single class"):
        read_particles(single, alignment_class=0)


def test_several_classes_without_posteriors_are_refused(data_set: DataSet) -> None:
    fields = _in_two_classes(data_set, "class")
    fields["alignments_class_1__class_posterior"] = None
    with pytest.raises(CsError, match=r"no class_posterior .*\n.*--alignment-class K"):
        read_particles(write_cs(data_set, data_set.folder / "a.cs", **fields))


def test_a_group_of_files(data_set: DataSet) -> None:
    job = data_set.folder / "J7"
    job.mkdir()
    rows = np.load(write_cs(data_set, job / "all.cs"))
    pose = [n for n in rows.dtype.names if n == "uid" or n.startswith("alignments3D")]
    rest = [n for n in rows.dtype.names if not n.startswith("alignments3D")]
    shuffled = np.random.default_rng(0).permutation(data_set.n)
    for name, part in (("pose", rows[pose]), ("passthrough", rows[rest][shuffled])):
        with open(job / f"J7_{name}_particles.cs", "wb") as stream:
            np.save(stream, repack_fields(part))
    (job / "all.cs").unlink()
    results = "".join(
        f"  {group}:\n    metafile: '>J7/J7_{name}_particles.cs'\n    num_items: 12\n"
        for group, name in (
            ("alignments3D", "pose"),
            ("blob", "passthrough"),
            ("ctf", "passthrough"),
        )
    )
    path = job / "J7_particles.csg"
    path.write_text(f"created: 2026-11-21\nresults:\n{results}version: v4\n")
    particles = read_particles(path)
    assert particles.images.section.tolist() == list(range(12))
    np.testing.assert_allclose(
        particles.poses.rotations, data_set.rotations, **tolerances.ROTATION_FLOAT32
    )
    with pytest.raises(CsError, match="a group names its own files"):
        read_particles(path, poses=job / "J7_passthrough_particles.cs")


def test_fields_that_are_not_read_are_kept(data_set: DataSet) -> None:
    path = write_cs(
        data_set, data_set.folder / "a.cs", alignments3D__error=np.arange(12, dtype=np.float32),
        ctf__tilt_A=np.full((12, 2), 0.25, np.float32), ctf__type=np.array([b"spline"] * 12),
        location__micrograph_path=np.array([b">J1/m.mrc"] * 12),
    )  # fmt: skip
    particles = read_particles(path)
    table = particles.table
    assert table["cs/alignments3D/error"].tolist() == list(range(12))
    assert not any(label.startswith("cs/ctf/tilt_A") for label in table)  # in the optics groups
    assert table["cs/ctf/type"].tolist() == ["spline"] * 12
    assert table["rlnMicrographName"].tolist() == ["J1/m.mrc"] * 12
    assert table["cs/uid"].tolist() == [i * 7919 + 2**60 for i in range(12)]
    assert not any(label.startswith("cs/blob/idx") for label in table)
    again = read_particles(write_particles(particles, data_set.folder / "b.star"))
    assert again.table["cs/uid"].tolist() == table["cs/uid"].tolist()
    assert again.table["cs/ctf/type"].tolist() == table["cs/ctf/type"].tolist()
    odd = particles.optics.groups[0].odd
    assert odd != () and again.optics.groups[0].odd == pytest.approx(odd, rel=1e-12)


@pytest.mark.parametrize(
    ("field", "values", "fragment"),
    [
        (
            "blob/idx",
            np.full(12, b"a"),
            "blob/idx holds |S1 of shape (12,), expected whole numbers",
        ),
        ("blob/path", np.zeros(12), "expected text of shape (12,)"),
        ("alignments3D/pose", np.zeros((12, 2)), "expected numbers of shape (12, 3)"),
        ("alignments3D/split", np.zeros((12, 2), int), "expected whole numbers of shape (12,)"),
        ("ctf/df1_A", np.zeros((12, 2)), "expected numbers of shape (12,)"),
        ("ctf/tilt_A", np.full(12, b"a"), "expected numbers."),
    ],
)
def test_fields_of_another_type_are_refused(
    data_set: DataSet, field: str, values: np.ndarray, fragment: str
) -> None:
    with pytest.raises(CsError) as error:
        _read(data_set, **{field.replace("/", "__"): values})
    assert field in str(error.value) and fragment in str(error.value)


def test_names_that_are_no_text_are_said_to_be_missing(data_set: DataSet) -> None:
    with pytest.raises(StackError, match="was not found"):
        _read(data_set, blob__path=np.array([b">\xc2p.mrcs"] * 12))

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import DataSet

from cryosplat.errors import InputError, PickleError, StackError
from cryosplat.io.mrc import write_stack
from cryosplat.notes import codes
from cryosplat.optics import ctf
from cryosplat.particles import read_particles

Pickles = tuple[Path, Path]


def _dump(path: Path, value: object) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.fixture
def stack(data_set: DataSet) -> Path:
    return data_set.folder / "particles.mrcs"


def test_pickles_beside_the_stack_are_found(
    data_set: DataSet, stack: Path, pickles: Pickles
) -> None:
    particles = read_particles(stack)
    assert particles.pixel_size == 1.5
    np.testing.assert_array_equal(particles.poses.rotations, data_set.rotations)
    assert particles.names[2] == "000003@particles.mrcs"
    assert not particles.has_half_sets
    assert particles.notes == ()


def test_missing_pickles_name_their_option(stack: Path, pickles: Pickles) -> None:
    pickles[0].unlink()
    with pytest.raises(InputError, match=r"a stack alone has no poses[^R]+Remedy: --poses FILE.pk"):
        read_particles(stack)
    with pytest.raises(PickleError, match=r"elsewhere\.pkl: no such file"):
        read_particles(stack, poses=stack.with_name("elsewhere.pkl"))


def test_a_list_of_stacks_is_read_in_its_order(data_set: DataSet, pickles: Pickles) -> None:
    folder = data_set.folder
    write_stack(folder / "b.mrcs", data_set.images[:5], 1.5)
    write_stack(folder / "a.mrcs", data_set.images[5:], 1.5)
    (folder / "stacks.txt").write_text("b.mrcs\n\na.mrcs\n")
    particles = read_particles(folder / "stacks.txt")
    images = torch.cat([particles.images.read([i]) for i in range(data_set.n)])
    np.testing.assert_array_equal(images, data_set.images)
    (folder / "stacks.txt").write_text("\n")
    with pytest.raises(StackError, match="lists no stacks"):
        read_particles(folder / "stacks.txt")


def test_the_pixel_size_is_that_of_the_original_box(
    data_set: DataSet, stack: Path, pickles: Pickles
) -> None:
    rows = pickle.loads(pickles[1].read_bytes())
    rows[:, 0], rows[:, 1] = 32, 0.5
    rows[3:, 1] = 0.25
    rows[8:, 0] = 16
    _dump(pickles[1], rows)
    particles = read_particles(stack)
    pixel_size = particles.optics.of_group("pixel_size").numpy()
    np.testing.assert_array_equal(pixel_size, np.repeat([2.0, 1.0, 0.5], [3, 5, 4]))
    # translations are fractions of the box, so they follow each row's own pixel size
    fraction = data_set.origins / 12.0
    expected = fraction * 8 * pixel_size[:, None]
    np.testing.assert_allclose(particles.poses.shifts, expected, rtol=0, atol=1e-12)


def test_rotations_and_translations_may_be_two_files(
    data_set: DataSet, stack: Path, pickles: Pickles
) -> None:
    rotations = _dump(stack.with_name("rot.pkl"), data_set.rotations)
    shifts = _dump(stack.with_name("trans.pkl"), data_set.origins / 12.0)
    both = read_particles(stack, poses=[rotations, shifts])
    assert torch.equal(both.poses.shifts, read_particles(stack).poses.shifts)
    for alone in (rotations, _dump(stack.with_name("one.pkl"), (data_set.rotations,))):
        particles = read_particles(stack, poses=alone)
        assert not particles.poses.shifts.any()
        assert codes(particles.notes) == {"no-origins"}
    with pytest.raises(PickleError, match=r"have shape \(12, 2\), expected \(n, 3, 3\)"):
        read_particles(stack, poses=shifts)


def test_images_without_a_ctf_have_one_everywhere(stack: Path, pickles: Pickles) -> None:
    particles = read_particles(stack, ctf="none", pixel_size=1.5)
    frequencies = torch.rand(50, 2, dtype=torch.float64) / 3
    values = ctf(particles.optics, frequencies)
    torch.testing.assert_close(values, torch.ones_like(values))
    assert codes(particles.notes) == {"no-ctf"}
    with pytest.raises(InputError, match="nothing states the pixel size"):
        read_particles(stack, ctf="none")


def test_poses_in_pixels_are_refused(data_set: DataSet, stack: Path, pickles: Pickles) -> None:
    _dump(pickles[0], (data_set.rotations, data_set.origins))
    with pytest.raises(PickleError) as error:
        read_particles(stack)
    assert "expected fractions of the box, below 1" in str(error.value)
    assert "the old format of cryoDRGN, in pixels" in str(error.value)


def test_lengths_must_agree(data_set: DataSet, stack: Path, pickles: Pickles) -> None:
    good = pickles[0].read_bytes()
    _dump(pickles[0], (data_set.rotations[:11], data_set.origins[:11] / 12))
    with pytest.raises(PickleError, match="holds 11 rotations for 12 images"):
        read_particles(stack)
    _dump(pickles[0], (data_set.rotations, data_set.origins[:11] / 12))
    with pytest.raises(PickleError, match="holds 11 translations for 12 images"):
        read_particles(stack)
    pickles[0].write_bytes(good)
    rows = pickle.loads(pickles[1].read_bytes())
    _dump(pickles[1], rows[:10])
    with pytest.raises(PickleError, match="holds 10 rows for 12 images"):
        read_particles(stack)
    _dump(pickles[1], rows[:, :8])
    with pytest.raises(PickleError, match=r"array of shape \(12, 8\), expected \(n, 9\)"):
        read_particles(stack)


def test_matrices_that_do_not_rotate_are_refused(
    data_set: DataSet, stack: Path, pickles: Pickles
) -> None:
    mirrored = data_set.rotations.copy()
    mirrored[[4, 6]] *= -1
    _dump(pickles[0], (mirrored, data_set.origins / 12))
    with pytest.raises(PickleError, match=r"row 5: the matrix is not a rotation \(2 of 12 rows"):
        read_particles(stack)
    shifts = data_set.origins / 12
    shifts[7] = np.nan
    _dump(pickles[0], (data_set.rotations, shifts))
    with pytest.raises(PickleError, match=r"row 8: the translation is not finite \(1 rows"):
        read_particles(stack)
    _dump(pickles[0], {"rot": data_set.rotations})
    with pytest.raises(PickleError, match="holds dict, expected a numpy array"):
        read_particles(stack)


class _Exploit:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.witness}'",)


@pytest.mark.parametrize("which", [0, 1])
def test_pickles_never_run_code(stack: Path, pickles: Pickles, which: int) -> None:
    witness = stack.with_name("witness")
    _dump(pickles[which], _Exploit(witness))
    with pytest.raises(PickleError, match="it asks to run"):
        read_particles(stack)
    assert not witness.exists()


def test_other_files_and_options_are_refused(data_set: DataSet, stack: Path) -> None:
    other = stack.with_name("a.xml")
    other.touch()
    with pytest.raises(InputError, match=r"particles cannot be read from \.xml"):
        read_particles(other)
    with pytest.raises(InputError, match="no such file"):
        read_particles(stack.with_name("no.star"))
    other.with_name("b.txt").mkdir()
    with pytest.raises(InputError, match=r"b\.txt: a folder, expected a particle table"):
        read_particles(other.with_name("b.txt"), poses=other, ctf=other)
    for option in ("poses", "ctf"):
        for name in ("a.star", "a.csg", "a.cs"):
            with pytest.raises(InputError, match=rf"--{option} {name}: expected a cryoDRGN .pkl"):
                read_particles(stack, **{option: Path(name)})
    with pytest.raises(InputError, match="no such folder"):
        read_particles(stack, datadir=stack.with_name("no"))
    with pytest.raises(InputError, match="expected Angstrom, between 0 and 1000"):
        read_particles(stack, pixel_size=-1.0)

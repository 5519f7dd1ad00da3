"""cisTEM's own tables; that they give the same map as the others is in ``agreement``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dialects
import numpy as np
import pytest
import torch
from data_sets import star_block
from dialects import Told
from noting import only, states, warnings

from cryosplat.errors import InputError, StackError, StarError
from cryosplat.notes import codes
from cryosplat.particles import read_particles, write_particles

N, BOX = 12, 16
Table = Callable[..., Path]


@pytest.fixture
def told() -> Told:
    random = np.random.default_rng(1)
    return Told(
        images=random.normal(size=(N, BOX, BOX)).astype(np.float32),
        angles=random.uniform(5, 170, (N, 3)).round(2),
        origins=random.uniform(-5, 5, (N, 2)).round(2),
        defocus=np.stack([np.full(N, 1.2e4), np.full(N, 1.1e4), np.full(N, 30.0)], 1),
        phase=np.zeros(N), b_factor=np.zeros(N), scale=np.ones(N),
        half=np.arange(N) % 2 + 1, group=np.zeros(N, int),
    )  # fmt: skip


@pytest.fixture
def table(told: Told, tmp_path: Path) -> Table:
    """Writes a table and its stack; keywords replace columns, None leaves them out."""

    def write(stack: str = "particles.mrc", **replaced: object) -> Path:
        dialects.write_mrc(tmp_path / stack, told.images)
        columns = dialects.cistem_columns(told, stack) | replaced
        path = tmp_path / "refinement.star"
        path.write_text(star_block("", {k: v for k, v in columns.items() if v is not None}))
        return path

    return write


def test_the_table_is_read(told: Told, table: Table) -> None:
    particles = read_particles(table())
    assert len(particles) == N
    np.testing.assert_allclose(particles.poses.shifts, told.origins)
    assert particles.half_sets.tolist() == told.half.tolist()
    assert "cisTEMScore" in particles.table and "cisTEMXShift" not in particles.table
    assert not warnings(particles.notes)


def test_inactive_rows_are_left_out_and_said(told: Told, table: Table) -> None:
    active = np.where(np.arange(N) < 3, -1, 1)
    particles = read_particles(table(cisTEMImageActivity=active))
    assert len(particles) == N - 3
    np.testing.assert_array_equal(particles.images.read(np.arange(N - 3)), told.images[3:])
    np.testing.assert_allclose(particles.poses.shifts, told.origins[3:])
    assert states(only(particles.notes, "rows-inactive"), "3 of 12")
    with pytest.raises(StarError, match="no row is active"):
        read_particles(table(cisTEMImageActivity=-np.ones(N, int)))


def test_a_table_without_stack_takes_the_one_beside_it(told: Told, table: Table) -> None:
    particles = read_particles(table("refinement.mrc", cisTEMStackFilename=None))
    np.testing.assert_array_equal(particles.images.read(np.arange(N)), told.images)
    with pytest.raises(
        StarError, match=r"no cisTEMStackFilename .* 12 particles(?s:.*)Remedy: link"
    ):
        (particles.source.parent / "refinement.mrc").rename(particles.source.parent / "b.mrc")
        read_particles(particles.source)


def test_phase_shifts_are_radians_or_degrees(table: Table) -> None:
    degrees = read_particles(table(cisTEMPhaseShift=np.linspace(0, 90, N)))
    torch.testing.assert_close(
        degrees.optics.phase_shift, torch.linspace(0, np.pi / 2, N, dtype=torch.float64)
    )
    radians = read_particles(table(cisTEMPhaseShift=np.linspace(0, 1.5, N)))
    torch.testing.assert_close(
        radians.optics.phase_shift, torch.linspace(0, 1.5, N, dtype=torch.float64)
    )
    assert "phase-shift-unit" in codes(radians.notes)
    assert "phase-shift-unit" not in codes(degrees.notes)


@pytest.mark.parametrize("names", [[f"'mic {i % 3}.mrc'" for i in range(N)], ["''"] * N])
def test_micrographs_are_known_where_they_are_named(table: Table, names: list[str]) -> None:
    micrographs = read_particles(table(cisTEMOriginalImageFilename=names)).micrographs
    if names[0] == "''":
        assert micrographs is None
    else:
        assert micrographs is not None and micrographs.tolist() == [i % 3 for i in range(N)]


def test_what_is_not_applied_is_said_with_its_size(table: Table) -> None:
    particles = read_particles(
        table(cisTEMOccupancy=[10.0] * 4 + [90.0] * 8, cisTEMBeamTiltX=np.full(N, 1.0))
    )
    assert states(only(particles.notes, "occupancy-not-applied"), "4 of 12", "50 %")
    # 2 pi Cs lambda^2 tilt / (2 pixel)^3, at 300 kV
    turn = np.rad2deg(2 * np.pi * 2.7e7 * 0.019687**2 * 1e-3 / (2 * dialects.PIXEL) ** 3)
    tilt = only(particles.notes, "aberration-not-applied")
    assert states(tilt, "1 mrad", f"{turn:.3g} degrees")


@pytest.mark.parametrize("subset", [-1, 0, 1, 2])
def test_one_half_set_for_all_is_none(table: Table, subset: int) -> None:
    particles = read_particles(table(cisTEMAssignedSubset=np.full(N, subset)))
    assert set(particles.half_sets.tolist()) == {0}  # a run splits them itself
    assert ("half-sets-one-value" in codes(particles.notes)) == (subset != 0)


def test_subsets_of_some_rows_only_are_refused(table: Table) -> None:
    with pytest.raises(InputError, match="row 1: cisTEMAssignedSubset is 0, expected 1 or 2"):
        read_particles(table(cisTEMAssignedSubset=np.arange(N) % 3))
    inactive = np.where(np.arange(N) % 3 == 0, -1, 1)
    chosen = table(cisTEMAssignedSubset=np.arange(N) % 3, cisTEMImageActivity=inactive)
    assert read_particles(chosen).half_sets.tolist() == [1, 2] * 4


@pytest.mark.parametrize(
    "label",
    ["cisTEMDefocus1", "cisTEMAnglePhi", "cisTEMXShift", "cisTEMPixelSize", "cisTEMPhaseShift",
     "cisTEMPositionInStack", "cisTEMAssignedSubset", "cisTEMMicroscopeVoltagekV"],
)  # fmt: skip
def test_messages_name_the_row_and_the_column_of_the_file(table: Table, label: str) -> None:
    good = ["300", "200"] if "Voltage" in label else ["1", "2"]
    active = np.where(np.arange(N) < 5, -1, 1)
    values = ["junk" if i in (2, 8) else good[i % 2] for i in range(N)]
    with pytest.raises(StarError, match=rf"data_ row 9: {label} is 'junk', expected .*1 of 7 rows"):
        read_particles(table(cisTEMImageActivity=active, **{label: values}))
    values[8] = good[0]
    assert len(read_particles(table(cisTEMImageActivity=active, **{label: values}))) == 7


def test_an_image_without_value_is_told_by_its_row(table: Table) -> None:
    with pytest.raises(StarError, match="row 3: cisTEMDefocus1 is ''"):
        read_particles(table(cisTEMDefocus1=["''" if i == 2 else "9000" for i in range(N)]))


def test_images_that_no_stack_has_are_told_by_row(table: Table) -> None:
    active = np.where(np.arange(N) < 5, -1, 1)
    places = np.arange(1, N + 1)
    places[8] = 0
    with pytest.raises(StarError, match="data_ row 9: cisTEMPositionInStack is 0"):
        read_particles(table(cisTEMImageActivity=active, cisTEMPositionInStack=places))
    places[8] = 99
    with pytest.raises(StackError, match=r"counting active rows only\) row 4: image 99 of"):
        read_particles(table(cisTEMImageActivity=active, cisTEMPositionInStack=places))
    with pytest.raises(StackError, match="data_ row 9: image 99 of"):
        read_particles(table(cisTEMPositionInStack=places))


def test_columns_of_relion_besides_are_not_used_and_that_is_said(told: Told, table: Table) -> None:
    expected = read_particles(table())
    path = table(rlnAngleRot=np.zeros(N), rlnOriginXAngst=np.ones(N), rlnRandomSubset=np.ones(N))
    particles = read_particles(path)
    torch.testing.assert_close(particles.poses.rotations, expected.poses.rotations)
    np.testing.assert_allclose(particles.poses.shifts, told.origins)
    assert "columns-duplicated" in warnings(particles.notes)
    names = "rlnAngleRot, rlnOriginXAngst, rlnRandomSubset"
    assert states(only(particles.notes, "columns-duplicated"), names)


@pytest.mark.parametrize("label", ["cisTEMDefocus1", "cisTEMXShift", "cisTEMMicroscopeCsMM"])
def test_a_missing_column_is_named(table: Table, label: str) -> None:
    with pytest.raises(StarError, match=f"missing {label} .*12 rows of cisTEM"):
        read_particles(table(**{label: None}))


def test_the_pixel_size_may_be_given(table: Table) -> None:
    path = table(cisTEMPixelSize=None)
    assert read_particles(path, pixel_size=1.5).pixel_size == 1.5
    with pytest.raises(StarError, match="--pixel-size ANGSTROM"):
        read_particles(path)


def test_converted_it_is_relions(told: Told, table: Table, tmp_path: Path) -> None:
    particles = read_particles(table())
    write_particles(particles, tmp_path / "relion.star")
    again = read_particles(tmp_path / "relion.star")
    torch.testing.assert_close(again.poses.rotations, particles.poses.rotations)
    torch.testing.assert_close(again.poses.shifts, particles.poses.shifts)
    assert again.optics.groups == particles.optics.groups
    assert again.half_sets.tolist() == told.half.tolist()
    np.testing.assert_allclose(again.table["cisTEMScore"].astype(float), np.linspace(10, 20, N))

"""Corrected files: what the findings recommend is done, told, and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from noting import only, states, warnings
from planted import PIXEL_SIZE, PlantedSet, planted

from cryosplat.checking import check_target, write_fixed
from cryosplat.checking.readings import readings
from cryosplat.errors import InputError, OutputError
from cryosplat.io.mrc import write_stack
from cryosplat.particles import Particles, read_particles

ORIGINS = ["rlnOriginXAngst", "rlnOriginYAngst"]


def fixed(
    s: PlantedSet, trial: bool = False, drop: bool = False
) -> tuple[Particles, Particles, list[str]]:
    """The particles as given, as read back from the corrected file, and codes of the changes."""
    particles, checked = s.check(trial=trial, all_images=drop)
    out = s.folder / "fixed.star"
    n, changes = write_fixed(particles, out, checked, drop)
    back = read_particles(out)
    assert len(back) == n
    return particles, back, [change.code for change in changes]


def test_a_clean_set_is_written_as_it_is(clean: PlantedSet) -> None:
    given, back, changes = fixed(clean)
    assert changes == []
    assert list(back.names) == list(given.names)
    torch.testing.assert_close(back.poses.rotations, given.poses.rotations, rtol=0, atol=0)
    torch.testing.assert_close(back.poses.shifts, given.poses.shifts, rtol=0, atol=0)


def test_negated_shifts_are_turned_and_then_raise_no_alarm(clean: PlantedSet) -> None:
    truth = clean.rows[ORIGINS].to_numpy().copy()
    clean.rows[ORIGINS] *= -1.0
    _, back, changes = fixed(clean, trial=True)
    assert changes == ["shifts-negated"]
    np.testing.assert_allclose(back.poses.shifts.numpy(), truth, **tolerances.SIX_DECIMALS)


def test_values_in_other_units_are_converted(clean: PlantedSet) -> None:
    columns = ["rlnDefocusU", "rlnDefocusV"]
    truth = clean.rows[columns].to_numpy().copy()
    angles = clean.rows[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]]
    rotations = read_particles(clean.write()).poses.rotations
    clean.rows[columns] *= 1e-4
    clean.rows["rlnDefocusAngle"] = np.deg2rad(clean.rows["rlnDefocusAngle"])
    clean.rows[angles.columns] = np.deg2rad(angles)
    _, back, changes = fixed(clean)
    assert set(changes) == {"angles-radian", "defocus-micrometre", "defocus-angle-radian"}
    np.testing.assert_allclose(back.optics.defocus_u, truth[:, 0], **tolerances.SIX_DECIMALS)
    torch.testing.assert_close(back.poses.rotations, rotations, **tolerances.SIX_DECIMALS)


def test_missing_images_and_duplicates_are_dropped_and_order_is_kept(clean: PlantedSet) -> None:
    images = clean.images()
    images[30] = np.nan
    images[31] = 2.0
    clean.restack(images)
    clean.rows.loc[[10, 13], "rlnImageName"] = clean.rows.loc[[0, 2], "rlnImageName"].to_numpy()
    clean.rows.loc[20, "rlnImageName"] = f"{clean.n + 1:06d}@{clean.folder / 'particles.mrcs'}"
    clean.name("gone.mrcs", slice(100, 105))
    given, back, changes = fixed(clean, drop=True)
    assert changes == ["rows-dropped", "duplicates-dropped"]
    lost = {10, 13, 20, 30, 31, *range(100, 105)}
    kept = [i for i in range(clean.n) if i not in lost]
    np.testing.assert_array_equal(back.poses.shifts, given.poses.shifts[kept])
    assert list(back.names) == [given.names[i] for i in kept]
    next(iter(back.batches()))  # every image can be read


def test_found_paths_are_written(clean: PlantedSet) -> None:
    (clean.folder / "linked.mrcs").symlink_to(clean.stack)
    clean.name("linked.mrc")
    _, back, changes = fixed(clean)
    assert changes == ["paths-corrected"]
    assert {name.partition("@")[2] for name in back.names} == {"linked.mrcs"}


def test_aberrations_and_processing_are_corrected(
    simulated: Callable[..., Path], tmp_path: Path
) -> None:
    flipped = planted(simulated(processing="phase-flipped"), tmp_path)
    flipped.optics = flipped.optics.drop(columns="rlnCtfDataArePhaseFlipped")
    _, back, changes = fixed(flipped, trial=True)
    assert changes == ["ctf-phase-flipped"]
    assert [group.processing for group in back.optics.groups] == ["phase-flipped"]


def test_rows_without_images_are_not_written_unasked(clean: PlantedSet) -> None:
    clean.name("gone.mrcs", slice(0, 5))
    particles, checked = clean.check()
    with pytest.raises(InputError, match=r"5 rows have no usable image.*\n.*--drop-missing"):
        write_fixed(particles, clean.folder / "out.star", checked, False)
    assert not (clean.folder / "out.star").exists()


def test_images_of_another_box_are_not_taken_for_those_of_the_table(clean: PlantedSet) -> None:
    write_stack(clean.folder / "small.mrcs", clean.images()[:, 2:-2, 2:-2], PIXEL_SIZE)
    clean.name(str(clean.folder / "small.mrcs"))
    particles, checked = clean.check(trial=True)
    (item,) = (i for i in checked.report.items if i.title == "trial")
    assert states(only(item.findings, "trial-skipped"), "box-size-table")
    with pytest.raises(InputError, match="the images have another box size than the table"):
        write_fixed(particles, clean.folder / "out.star", checked, False)
    assert not (clean.folder / "out.star").exists()


def test_alarms_that_stand_are_named(clean: PlantedSet) -> None:
    clean.rows["rlnHelicalTubeID"] = np.arange(clean.n) // 10 + 1
    particles, checked = clean.check()
    _, changes = write_fixed(particles, clean.folder / "fixed.star", checked, False)
    assert warnings(changes) == ["alarms-remaining"] and states(changes[-1], "filaments-split")


def test_shifts_are_not_set_to_zero_beside_another_correction(clean: PlantedSet) -> None:
    codes = ("shifts-ignored", "defocus-negated")
    particles, checked = clean.check()
    both = [r for r in readings(particles) if r.code in codes]
    _, changes = write_fixed(
        particles, clean.folder / "out.star", replace(checked, readings=tuple(both)), False
    )
    assert [change.code for change in changes] == ["defocus-negated"]
    assert read_particles(clean.folder / "out.star").poses.shifts.any()


def test_targets_are_checked(clean: PlantedSet, tmp_path: Path) -> None:
    source = clean.write()
    for out, said in (
        (source, "would replace the file it is made from"),
        (tmp_path / "out.cs", r"written as a \.star file"),
        (tmp_path / "none" / "out.star", "there is no folder"),
    ):
        with pytest.raises(OutputError, match=said):
            check_target(out, source, overwrite=True)
    other = tmp_path / "other.star"
    other.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        check_target(other, source, overwrite=False)
    check_target(other, source, overwrite=True)

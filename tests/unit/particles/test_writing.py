from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from data_sets import DataSet, write_cs

from cryosplat.errors import OutputError
from cryosplat.io.star import read_star
from cryosplat.particles import read_particles, split_half_sets, write_particles
from cryosplat.poses import Poses

Star = Callable[..., Path]


def test_the_split_is_written_back(data_set: DataSet, star: Star) -> None:
    particles = read_particles(star(rlnRandomSubset=None))
    halves = split_half_sets(particles, torch.Generator().manual_seed(0))
    path = write_particles(halves, data_set.folder / "split.star")
    assert torch.equal(read_particles(path).half_sets, halves.half_sets)
    whole = write_particles(particles, data_set.folder / "whole.star")
    assert "rlnRandomSubset" not in read_star(whole)["particles"]


def test_other_columns_and_aberrations_are_kept(data_set: DataSet, star: Star) -> None:
    path = star(
        rlnCoordinateX=np.arange(12) + 0.5, rlnMicrographName=["mic.mrc"] * 12,
        optics_rlnBeamTiltX=[0.25], optics_rlnOddZernike=["[1,2]"],
    )  # fmt: skip
    chosen = read_particles(path)[torch.tensor([4, 2])]
    blocks = read_star(write_particles(chosen, data_set.folder / "b.star"))
    rows, optics = blocks["particles"], blocks["optics"]
    assert rows["rlnCoordinateX"].tolist() == [4.5, 2.5]
    assert rows["rlnMicrographName"].tolist() == ["mic.mrc"] * 2
    assert rows["rlnImageName"].tolist() == ["000005@particles.mrcs", "000003@particles.mrcs"]
    assert optics["rlnBeamTiltX"].tolist() == [0.25]
    assert optics["rlnOddZernike"].tolist() == ["[1,2]"]


def test_angles_and_origins_survive_unchanged(data_set: DataSet, star: Star) -> None:
    blocks = read_star(write_particles(read_particles(star()), data_set.folder / "b.star"))
    rows = blocks["particles"]
    angles = rows[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    np.testing.assert_allclose(angles, data_set.angles, **tolerances.WRITTEN_SIX_DECIMALS)
    origins = rows[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy()
    np.testing.assert_allclose(origins, data_set.origins, **tolerances.WRITTEN_SIX_DECIMALS)


def test_old_and_foreign_tables_become_relion_3_1(
    data_set: DataSet, pickles: tuple[Path, Path]
) -> None:
    particles = read_particles(write_cs(data_set, data_set.folder / "particles.cs"))
    blocks = read_star(write_particles(particles, data_set.folder / "b.star"))
    assert blocks["optics"]["rlnOpticsGroupName"].tolist() == ["exposureGroup3"]
    assert blocks["optics"]["rlnSphericalAberration"].tolist() == [2.7]
    assert blocks["particles"]["rlnOpticsGroup"].tolist() == [1] * 12
    from_pickles = read_particles(data_set.folder / "particles.mrcs")
    again = read_particles(write_particles(from_pickles, data_set.folder / "c.star"))
    assert again.optics.groups == from_pickles.optics.groups


def test_image_names_hold_from_the_new_folder(
    data_set: DataSet, star: Star, tmp_path_factory: pytest.TempPathFactory
) -> None:
    particles = read_particles(star())
    inside = data_set.folder / "run" / "particles.star"
    inside.parent.mkdir()
    write_particles(particles, inside)
    assert read_star(inside)["particles"]["rlnImageName"][0] == "000001@particles.mrcs"
    outside = tmp_path_factory.mktemp("other") / "particles.star"
    write_particles(particles, outside)
    stack = data_set.folder / "particles.mrcs"
    assert read_star(outside)["particles"]["rlnImageName"][0] == f"000001@{stack}"
    (batch,) = read_particles(outside).batches()
    np.testing.assert_array_equal(batch.images, data_set.images)


def test_a_folder_that_is_not_there_is_said(data_set: DataSet, star: Star) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_particles(read_particles(star()), data_set.folder / "no" / "a.star")


def test_an_upright_view_is_written(data_set: DataSet, star: Star) -> None:
    """Of angles with tilt 0 only rot + psi means something; that is no reason for a warning."""
    first = read_particles(star(rlnAngleTilt=np.zeros(data_set.n)))
    turned = first.poses.rotations.clone()
    turned[0] = torch.eye(3)
    moved = replace(first, poses=Poses(turned, first.poses.shifts))
    again = read_particles(write_particles(moved, data_set.folder / "b.star"))
    np.testing.assert_allclose(again.poses.rotations, turned, **tolerances.ROTATION_FLOAT32)


def _same_groups(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether both put the same rows together, whatever the numbers."""
    if a is None or b is None:
        return a is b
    return np.array_equal(a[:, None] == a, b[:, None] == b)


@pytest.mark.parametrize("per_micrograph", [True, False])
def test_filaments_and_micrographs_of_cryosparc_are_told(
    data_set: DataSet, per_micrograph: bool
) -> None:
    micrographs = np.array([90, 90, 7, 7, 7, 90, 4, 4, 7, 90, 4, 4], np.uint64)
    filaments = micrographs * 10 + np.arange(12, dtype=np.uint64) % 2
    told = {"location__micrograph_uid": micrographs} if per_micrograph else {}
    particles = read_particles(
        write_cs(data_set, data_set.folder / "a.cs", filament__filament_uid=filaments, **told)
    )[[11, 3, 0, 1, 2, 9, 6, 7, 8]]
    path = write_particles(particles, data_set.folder / "b.star")
    again = read_particles(path)
    assert again.filaments is not None
    assert _same_groups(again.filaments, particles.filaments)
    assert _same_groups(again.micrographs, particles.micrographs)
    rows = read_star(path)["particles"]
    assert rows["rlnHelicalTubeID"].min() == 1
    assert per_micrograph == ("rlnMicrographName" in rows)
    if per_micrograph:
        assert rows["rlnMicrographName"][0] == "micrograph000001"


def test_named_micrographs_keep_their_names(data_set: DataSet) -> None:
    path = write_cs(
        data_set, data_set.folder / "a.cs", location__micrograph_uid=np.arange(12) // 6,
        location__micrograph_path=np.array([b">J1/a.mrc"] * 6 + [b">J1/b.mrc"] * 6),
    )  # fmt: skip
    rows = read_star(write_particles(read_particles(path), data_set.folder / "b.star"))["particles"]
    assert rows["rlnMicrographName"].unique().tolist() == ["J1/a.mrc", "J1/b.mrc"]
    assert "rlnHelicalTubeID" not in rows


def test_a_filament_on_several_micrographs_stays_one(data_set: DataSet) -> None:
    path = write_cs(
        data_set, data_set.folder / "a.cs", filament__filament_uid=np.arange(12) // 4,
        location__micrograph_uid=np.arange(12) // 3,
    )  # fmt: skip
    particles = read_particles(path)
    again = read_particles(write_particles(particles, data_set.folder / "b.star"))
    assert _same_groups(again.filaments, particles.filaments)


WARP = {"rlnGroupName": [f"p{i // 3}" for i in range(12)],
        "rlnCtfBfactor": [-4.25 * (1 + i % 3) for i in range(12)]}  # fmt: skip


def test_tilt_series_of_warp_are_known_again(data_set: DataSet, star: Star) -> None:
    particles = read_particles(star(**WARP))
    assert particles.tilt_particles is not None
    path = write_particles(particles, data_set.folder / "b.star")
    rows = read_star(path)["particles"]
    assert rows["rlnCtfBfactor"].tolist() == WARP["rlnCtfBfactor"]
    assert "rlnTomoParticleName" not in rows
    again = read_particles(path)
    assert _same_groups(again.tilt_particles, particles.tilt_particles)
    assert torch.equal(again.optics.b_factor, particles.optics.b_factor)
    assert (again.optics.b_factor > 0).all()


def test_a_particle_left_with_one_tilt_image_is_told_by_name(data_set: DataSet, star: Star) -> None:
    """Warp's sign would then be taken for amplification."""
    particles = read_particles(star(**WARP))[np.arange(10)]
    path = write_particles(particles, data_set.folder / "b.star")
    assert read_star(path)["particles"]["rlnTomoParticleName"][9] == "particle000004"
    again = read_particles(path)
    assert _same_groups(again.tilt_particles, particles.tilt_particles)
    assert torch.equal(again.optics.b_factor, particles.optics.b_factor)


def test_tilt_images_are_known_again_without_b_factors(
    data_set: DataSet, star: Star, pickles: tuple[Path, Path]
) -> None:
    particles = read_particles(star(**WARP), ctf=pickles[1])
    again = read_particles(write_particles(particles, data_set.folder / "b.star"))
    assert not again.optics.b_factor.any()
    assert _same_groups(again.tilt_particles, particles.tilt_particles)


def test_exposures_that_did_not_count_will_not(data_set: DataSet, star: Star) -> None:
    exposures = [3.0 * (1 + i % 3) for i in range(12)]
    read = read_particles(star(**WARP, rlnMicrographPreExposure=exposures))
    for chosen in (read, read[np.arange(10)]):
        again = read_particles(write_particles(chosen, data_set.folder / "b.star"))
        assert not again.optics.dose.any()
        assert torch.equal(again.optics.b_factor, chosen.optics.b_factor)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_named_tilt_images_keep_the_sign_of_their_b_factors(
    data_set: DataSet, star: Star, sign: float
) -> None:
    b_factors = [sign * 4.25 * (1 + i % 3) for i in range(12)]
    particles = read_particles(
        star(rlnTomoParticleName=WARP["rlnGroupName"], rlnCtfBfactor=b_factors)
    )
    path = write_particles(particles, data_set.folder / "b.star")
    assert read_star(path)["particles"]["rlnCtfBfactor"].tolist() == b_factors
    assert torch.equal(read_particles(path).optics.b_factor, particles.optics.b_factor)

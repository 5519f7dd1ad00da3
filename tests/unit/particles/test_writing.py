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
    chosen = read_particles(path).select(torch.tensor([4, 2]))
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

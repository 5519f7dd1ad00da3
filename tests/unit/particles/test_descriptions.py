"""One data set told in the words of RELION, cryoSPARC and cryoDRGN is one data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import tolerances
import torch
from data_sets import DataSet, write_cs

from cryosplat.grid import Grid
from cryosplat.noise import estimate_noise
from cryosplat.optics import Optics
from cryosplat.particles import read_particles, write_particles
from cryosplat.statistics import accumulate


@pytest.mark.parametrize("program", ["cryosparc", "cryodrgn", "written"])
def test_all_descriptions_agree(
    data_set: DataSet, star: Callable[..., Path], pickles: tuple[Path, Path], program: str
) -> None:
    expected = read_particles(star())
    folder = data_set.folder
    if program == "cryosparc":
        given = read_particles(write_cs(data_set, folder / "particles.cs"))
    elif program == "cryodrgn":
        given = read_particles(folder / "particles.mrcs")
    else:
        given = read_particles(write_particles(expected, folder / "again.star"))
    torch.testing.assert_close(
        given.poses.rotations, expected.poses.rotations, **tolerances.WRITTEN_SIX_DECIMALS
    )
    torch.testing.assert_close(
        given.poses.shifts, expected.poses.shifts, **tolerances.WRITTEN_SIX_DECIMALS
    )
    for field in fields(Optics):
        if field.name in ("groups", "group"):
            continue
        torch.testing.assert_close(
            getattr(given.optics, field.name), getattr(expected.optics, field.name),
            **tolerances.ANGLE_FLOAT32,
        )  # fmt: skip
    for name in ("pixel_size", "box_size", "voltage", "spherical_aberration", "amplitude_contrast"):
        assert torch.equal(given.optics.of_group(name), expected.optics.of_group(name)), name
    for one, other in zip(given.batches(size=5), expected.batches(size=5), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.index, other.index)
    if program != "cryodrgn":
        assert torch.equal(given.half_sets, expected.half_sets)


@pytest.mark.parametrize("program", ["cryosparc", "cryodrgn"])
def test_all_descriptions_give_the_same_statistics(
    data_set: DataSet, star: Callable[..., Path], pickles: tuple[Path, Path], program: str
) -> None:
    expected = read_particles(star())
    path = data_set.folder / "particles.mrcs"
    if program == "cryosparc":
        path = write_cs(data_set, data_set.folder / "particles.cs")
    given = read_particles(path)
    grid = Grid(expected.box_size, expected.pixel_size)
    noise = estimate_noise(expected.batches())
    one, other = (
        accumulate(p.batches(), torch.zeros(len(p), dtype=torch.int64), 1, grid, noise)[0]
        for p in (given, expected)
    )
    for name in ("backprojection", "transfer"):
        ours, theirs = getattr(one, name), getattr(other, name)
        difference = float((ours - theirs).norm() / theirs.norm())
        assert difference < tolerances.SAME_STATISTICS, name

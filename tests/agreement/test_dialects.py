"""One set of particles in the words of every program is one set: poses, optics, statistics, map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import dialects
import numpy as np
import pytest
import tolerances
import torch
from data_sets import relion_matrix
from dialects import Told
from problems import blobs
from torch import Tensor

from cryosplat.formation import MixtureProjector, form_images
from cryosplat.grid import Grid
from cryosplat.noise import estimate_noise
from cryosplat.optics import Optics, OpticsGroup
from cryosplat.particles import Particles, read_particles
from cryosplat.poses import Poses
from cryosplat.statistics import QuadraticForm, Statistics, accumulate
from cryosplat.validation.baseline import voxel_maps
from cryosplat.validation.polarity import polarity_score

N, BOX = 400, 40
Reference = Callable[[bool], tuple[Particles, list[Statistics], Tensor]]
DIALECTS = {
    "RELION 3.0": dialects.relion30,
    "RELION 3.1, untidy": dialects.relion31_untidy,
    "RELION 5": dialects.relion5,
    "RELION, one .mrc": dialects.relion_single_mrc,
    "cryoSPARC": dialects.cryosparc,
    "cryoSPARC, ab initio": dialects.cryosparc_abinitio,
    "cryoDRGN": dialects.cryodrgn,
    "cisTEM": dialects.cistem,
}
NO_ENVELOPE = ("cryoDRGN", "cisTEM")  # whose tables have no B-factors and scales


@cache
def _told(envelope: bool) -> Told:
    """Particles of two microscopes with everything a CTF has; B-factors and scales if asked for."""
    random = np.random.default_rng(2)
    generator = torch.Generator().manual_seed(2)
    defocus = random.uniform(6e3, 2e4, N)
    told = Told(
        images=np.empty((N, BOX, BOX), np.float32),
        angles=np.round(random.uniform([-180, 3, -180], [180, 177, 180], (N, 3)), 4),
        origins=np.round(random.uniform(-6, 6, (N, 2)), 4),
        defocus=np.stack([defocus, defocus - random.uniform(-2e3, 2e3, N),
                          random.uniform(0, 180, N)], 1).round(2),
        phase=np.round(random.uniform(0, 90, N), 3),
        b_factor=np.round(random.uniform(0, 80, N), 2) * envelope,
        scale=np.round(random.uniform(0.7, 1.3, N), 3) if envelope else np.ones(N),
        half=random.permutation(np.arange(N) % 2 + 1),
        group=random.permutation((np.arange(N) % 3 == 0).astype(int)),
    )  # fmt: skip
    poses, optics = _known_poses(told), _known_optics(told)
    projector = MixtureProjector(blobs(60, 0.22 * BOX * dialects.PIXEL, generator))
    for number in (0, 1):
        own = torch.from_numpy(np.flatnonzero(told.group == number))
        formed = form_images(projector, poses.select(own), optics.select(own), BOX)
        told.images[own.numpy()] = formed.numpy()
    told.images[:] *= 1.5 / told.images.std()
    told.images[:] += random.normal(size=told.images.shape)
    return told


def _known_poses(told: Told) -> Poses:
    rotations = np.stack([relion_matrix(*np.deg2rad(a)) for a in told.angles])
    return Poses(torch.from_numpy(rotations), torch.from_numpy(told.origins))


def _known_optics(told: Told) -> Optics:
    groups = tuple(
        OpticsGroup(name, dialects.PIXEL, BOX, 1e3 * kv, 1e7 * cs, contrast)
        for name, kv, cs, contrast in zip(
            "ab", dialects.VOLTAGES, dialects.ABERRATIONS, dialects.CONTRASTS, strict=True
        )
    )
    radian = [np.deg2rad(told.defocus[:, 2]), np.deg2rad(told.phase)]
    columns = told.group, *told.defocus.T[:2], *radian, told.b_factor, told.scale
    return Optics(groups, *(torch.from_numpy(np.array(c)) for c in columns))


def _statistics(particles: Particles) -> list[Statistics]:
    """Those of both half-sets, as a run makes them: with the noise that the images show."""
    grid = Grid(particles.box_size, particles.pixel_size)
    noise = estimate_noise(particles.batches())
    return accumulate(particles.batches(), particles.half_sets.long() - 1, 2, grid, noise)


def _map(halves: list[Statistics]) -> Tensor:
    return voxel_maps((halves[0], halves[1]))[0]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The set, with or without envelopes, in RELION 3.1; its statistics, and a map."""

    @cache
    def made(envelope: bool) -> tuple[Particles, list[Statistics], Tensor]:
        folder = tmp_path_factory.mktemp("reference")
        particles = read_particles(dialects.relion31(_told(envelope), folder))
        halves = _statistics(particles)
        return particles, halves, _map(halves)

    return made


def _assert_same_optics(given: Optics, expected: Optics, tolerance: dict[str, float]) -> None:
    for field in fields(Optics):
        if field.name not in ("groups", "group"):
            one, other = getattr(given, field.name), getattr(expected, field.name)
            torch.testing.assert_close(one, other, **tolerance)
    for name in ("pixel_size", "box_size", "voltage", "spherical_aberration", "amplitude_contrast"):
        torch.testing.assert_close(
            given.of_group(name), expected.of_group(name), **tolerances.TEXT
        )  # fmt: skip


def _relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_the_reference_is_what_was_told(reference: Reference) -> None:
    told, particles = _told(True), reference(True)[0]
    poses = _known_poses(told)
    torch.testing.assert_close(particles.poses.rotations, poses.rotations, **tolerances.TEXT)
    torch.testing.assert_close(particles.poses.shifts, poses.shifts, **tolerances.TEXT)
    _assert_same_optics(particles.optics, _known_optics(told), tolerances.TEXT)
    assert particles.half_sets.tolist() == told.half.tolist()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_map(
    reference: Reference, tmp_path: Path, dialect: str
) -> None:
    envelope = dialect not in NO_ENVELOPE
    expected, halves, volume = reference(envelope)
    given = read_particles(DIALECTS[dialect](_told(envelope), tmp_path))
    written = "RELION" in dialect or dialect == "cisTEM"
    tolerance = tolerances.TEXT if written else tolerances.THROUGH_FLOAT32
    torch.testing.assert_close(given.poses.rotations, expected.poses.rotations, **tolerance)
    torch.testing.assert_close(given.poses.shifts, expected.poses.shifts, **tolerance)
    _assert_same_optics(given.optics, expected.optics, tolerance)
    assert given.half_sets.tolist() == expected.half_sets.tolist()
    again = _statistics(given)
    for one, other in zip(again, halves, strict=True):
        assert one.n_images == other.n_images
        for name in ("backprojection", "transfer"):
            difference = _relative(getattr(one, name), getattr(other, name))
            assert difference < tolerances.SAME_MAP, name
    assert _relative(_map(again), volume) < tolerances.SAME_MAP


def test_dark_protein_gives_the_same_map(reference: Reference, tmp_path: Path) -> None:
    given = read_particles(dialects.relion_dark(_told(True), tmp_path))
    again = _statistics(given)
    assert polarity_score(QuadraticForm(again[0] + again[1], BOX)) < -10.0
    volume = _map([half.inverted() for half in again])
    assert _relative(volume, reference(True)[2]) < tolerances.SAME_MAP


def test_half_precision_gives_nearly_the_same_map(reference: Reference, tmp_path: Path) -> None:
    given = read_particles(dialects.relion_float16(_told(True), tmp_path))
    difference = _relative(_map(_statistics(given)), reference(True)[2])
    assert tolerances.SAME_MAP < difference < tolerances.MAP_FLOAT16


@pytest.mark.parametrize(
    "wrong", ["transposed", "origins", "units", "defocus", "angle", "phase", "voltage"]
)
def test_a_convention_gone_wrong_would_be_seen(
    reference: Reference, tmp_path: Path, wrong: str
) -> None:
    """The tolerance above is far below what any of the usual mistakes does to the map."""
    told = _told(True)
    changed = {
        "transposed": lambda: replace(told, angles=-told.angles[:, ::-1]),
        "origins": lambda: replace(told, origins=-told.origins),
        "units": lambda: replace(told, origins=told.origins / dialects.PIXEL),
        "defocus": lambda: replace(told, defocus=told.defocus * [-1, -1, 1]),
        "angle": lambda: replace(told, defocus=told.defocus * [1, 1, -1]),
        "phase": lambda: replace(told, phase=-told.phase),
        "voltage": lambda: replace(told, group=1 - told.group),
    }[wrong]()
    given = read_particles(dialects.relion31(changed, tmp_path))
    difference = _relative(_map(_statistics(given)), reference(True)[2])
    assert difference > 1000 * tolerances.SAME_MAP

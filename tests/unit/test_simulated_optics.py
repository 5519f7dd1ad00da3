"""Particles with aberrations, stretched images, several pixel sizes, and images kept processed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat.errors import SettingsError
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.io.mrc import StackFile, read_map
from cryosplat.io.star import read_star
from cryosplat.optics import ISOTROPIC, Optics, OpticsGroup, beam_tilt, ctf, even_phase, odd_phase
from cryosplat.particles import Particles, read_particles
from cryosplat.simulation import (
    SimulationSettings,
    anisotropic_magnification,
    band_limited_map,
    phantom,
    simulate_particles,
    tetrafoil,
    trefoil,
)

GRID = Grid(32, 4.0)
N, SNR = 24, 50.0
TREFOIL = trefoil(math.radians(120.0), 0.3, GRID.pixel_size)
TILT = {"beam_tilt": (0.02, -0.01)}
MIXED = {"image_grids": (GRID, Grid(26, 5.0)), "particles_per_micrograph": 5}
KINDS = {
    "beam tilt and trefoil": {**TILT, "odd": TREFOIL},
    "beam tilt and coma": {**TILT, "odd": (5.0, -3.0, 0.0, 70.0, 90.0)},
    "tetrafoil": {"even": tetrafoil(2.0, 0.2, GRID.pixel_size)},
    "magnification": {"magnification": anisotropic_magnification(0.06, 0.5)},
    "two pixel sizes": MIXED,
    "all": {**TILT, **MIXED, "odd": TREFOIL, "even": tetrafoil(2.0, 0.2, GRID.pixel_size),
            "magnification": (1.03, 0.02, -0.01, 0.98), "voltages": (300e3, 200e3)},
}  # fmt: skip


@cache
def _molecule() -> Tensor:
    return band_limited_map(phantom("C2", b_factor=100.0), GRID)


def _simulate(folder: Path, **changes: object) -> Path:
    settings = SimulationSettings(**{"n": N, "snr": SNR, **changes})  # type: ignore[arg-type]
    seed = torch.Generator().manual_seed(5)
    return simulate_particles(_molecule(), GRID, settings, folder, seed)


def _stored(particles: Particles, index: int) -> Tensor:
    """An image as it is in its stack."""
    images = particles.images
    stack = StackFile(images.stacks[int(images.stack[index])].path)
    return torch.from_numpy(stack.read(images.section[index : index + 1]))[0]


def _predicted(particles: Particles, truth: Path, optics: Optics) -> Tensor:
    """The pixels of all images that the truth makes with ``optics``."""
    projector = VolumeProjector(torch.from_numpy(read_map(truth).data.copy()), GRID)
    formed = []
    for i in range(N):
        one = torch.tensor([i])
        box_size = optics.groups[int(optics.group[i])].box_size
        formed.append(
            form_images(projector, particles.poses.select(one), optics.select(one), box_size)
        )
    return torch.cat([image.flatten() for image in formed])


@pytest.mark.parametrize("name", KINDS)
def test_images_are_what_their_table_says_plus_unit_noise(tmp_path: Path, name: str) -> None:
    """With the aberrations of the optics table read back; without them they are not."""
    star = _simulate(tmp_path / "set", **KINDS[name])
    particles, truth = read_particles(star), star.with_name("truth.mrc")
    pixels = torch.cat([_stored(particles, i).flatten() for i in range(N)])
    predicted = _predicted(particles, truth, particles.optics)
    noise = pixels - predicted
    assert float(noise.var()) == pytest.approx(1.0, abs=tolerances.SAMPLE_VARIANCE)
    correlation = float((noise * predicted).mean() / predicted.std())
    assert abs(correlation) < tolerances.SAMPLE_VARIANCE
    if "image_grids" not in KINDS[name]:
        assert float(predicted.var()) == pytest.approx(SNR, rel=2 * tolerances.SAMPLE_VARIANCE)
    plain = tuple(
        replace(g, odd=(), even=(), magnification=ISOTROPIC) for g in particles.optics.groups
    )
    if plain != particles.optics.groups:
        neglected = pixels - _predicted(particles, truth, replace(particles.optics, groups=plain))
        assert float(neglected.var()) > 1.2


def test_beam_tilt_is_the_phase_of_the_textbook() -> None:
    """``2 pi Cs lambda^2 (t.s) s^2`` at 3 A, 1 mrad, 300 kV, 2.7 mm: 139.5 degrees, lagging."""
    group = OpticsGroup("g", 1.0, 64, 300e3, 2.7e7, 0.1)
    tilted = OpticsGroup("t", 1.0, 64, 300e3, 2.7e7, 0.1, odd=beam_tilt(group, 1e-3, 0.0))
    phases = odd_phase(tilted, torch.tensor([[1 / 3, 0.0], [-1 / 3, 0.0], [0.0, 1 / 3]]))
    wavelength = 0.0196876
    expected = -2 * math.pi * 2.7e7 * wavelength**2 * 1e-3 / 27
    assert phases.tolist() == pytest.approx([expected, -expected, 0.0], rel=1e-5, abs=1e-12)
    assert math.degrees(expected) == pytest.approx(-139.5, abs=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_trefoil_and_tetrafoil_have_their_phase_at_nyquist(angle: float) -> None:
    odd, even = trefoil(1.5, angle, 2.0), tetrafoil(0.7, angle, 2.0)
    group = OpticsGroup("g", 2.0, 64, 300e3, 2.7e7, 0.1, odd=odd, even=even)

    def at(direction: float, radius: float = 0.25) -> Tensor:
        return radius * torch.tensor([math.cos(direction), math.sin(direction)]).double()

    assert float(odd_phase(group, at(angle))) == pytest.approx(1.5)
    assert float(odd_phase(group, at(angle + math.pi / 3))) == pytest.approx(-1.5)
    assert float(odd_phase(group, at(angle, 0.125))) == pytest.approx(1.5 / 8)
    assert float(even_phase(group, at(angle))) == pytest.approx(0.7)
    assert float(even_phase(group, at(angle + math.pi / 4))) == pytest.approx(-0.7)
    assert float(even_phase(group, at(angle, 0.125))) == pytest.approx(0.7 / 16)


def test_anisotropic_magnification_stretches_along_its_angle() -> None:
    matrix = np.reshape(anisotropic_magnification(0.02, 0.5), (2, 2))
    along, across = np.array([math.cos(0.5), math.sin(0.5)]), np.array([-math.sin(0.5), 0.8775826])
    assert matrix @ along == pytest.approx(1.01 * along)
    assert matrix @ across == pytest.approx(0.99 * across, abs=1e-7)


def test_every_pixel_size_has_its_stack_group_and_grey_scale(tmp_path: Path) -> None:
    star = _simulate(tmp_path / "set", **MIXED)
    tables = read_star(star)
    rows, groups = tables["particles"], tables["optics"]
    assert groups["rlnImageSize"].tolist() == [32, 26]
    assert groups["rlnImagePixelSize"].tolist() == [4.0, 5.0]
    assert rows["rlnOpticsGroup"].tolist() == [1] * 5 + [2] * 5 + [1] * 5 + [2] * 5 + [1] * 4
    assert rows["rlnImageName"].tolist()[4:7] == [
        "000005@particles1.mrcs", "000001@particles2.mrcs", "000002@particles2.mrcs"
    ]  # fmt: skip
    assert rows["rlnCtfScalefactor"].tolist()[4:6] == [1.0, 0.8]
    second = StackFile(star.with_name("particles2.mrcs"))
    assert (second.n_images, second.shape, second.pixel_size) == (10, (26, 26), 5.0)
    assert read_map(star.with_name("truth.mrc")).data.shape == (32, 32, 32)
    assert sorted(p.name for p in star.parent.iterdir()) == [
        "particles.star", "particles1.mrcs", "particles2.mrcs", "truth.mrc"
    ]  # fmt: skip


def test_pixel_sizes_leave_signal_and_noise_of_every_frequency_as_they_are(tmp_path: Path) -> None:
    """One dose: the truth has one grey scale, and coarse images hold the fine ones' frequencies."""
    plain, mixed = _simulate(tmp_path / "plain", snr=1e6), _simulate(
        tmp_path / "mixed", snr=1e6, **{**MIXED, "image_grids": (GRID, Grid(16, 8.0))}
    )  # fmt: skip
    one, other = (read_map(star.with_name("truth.mrc")).data for star in (plain, mixed))
    assert np.array_equal(one, other)
    fine, coarse = (_stored(read_particles(star), 7) for star in (plain, mixed))
    # noise of deviation 1 has power 32^2 and 16^2 in the two transforms
    inner = torch.fft.rfft2(torch.fft.ifftshift(fine))[:6, :6] / 32
    expected = torch.fft.rfft2(torch.fft.ifftshift(coarse))[:6, :6] / 16
    error = (inner - expected).abs().max() / expected.abs().max()
    assert float(error) < tolerances.DOWNSAMPLED


def test_a_plain_table_has_no_column_of_aberrations(tmp_path: Path) -> None:
    tables = read_star(_simulate(tmp_path / "set"))
    assert list(tables["optics"])[-1] == "rlnImageDimensionality"
    assert list(tables["particles"])[-1] == "rlnOpticsGroup"


def test_a_beam_tilt_beside_coma_is_written_as_coefficients(tmp_path: Path) -> None:
    """RELION would put the tilt in the place of the coma; one list says the sum."""
    table = read_star(_simulate(tmp_path / "set", **KINDS["beam tilt and coma"]))["optics"]
    assert "rlnBeamTiltX" not in table
    written = [float(v) for v in str(table["rlnOddZernike"][0]).strip("[]").split(",")]
    group = OpticsGroup("g", 4.0, 32, 300e3, 2.7e7, 0.1)
    tilt = beam_tilt(group, *TILT["beam_tilt"])
    expected = [a + b for a, b in zip((5.0, -3.0, 0.0, 70.0, 90.0, 0.0), tilt, strict=True)]
    assert written == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("processing", ["phase-flipped", "premultiplied"])
def test_processing_filters_signal_and_noise_by_the_ctf(tmp_path: Path, processing: str) -> None:
    """The same particles, stored otherwise; the scale of small pixels is no part of the CTF."""
    changes = {**MIXED, "even": KINDS["tetrafoil"]["even"]}
    plain = read_particles(_simulate(tmp_path / "plain", **changes))
    star = _simulate(tmp_path / "other", **changes, processing=processing)
    other = read_particles(star)
    assert {g.processing for g in other.optics.groups} == {processing}
    for i in (0, 7):
        optics = plain.optics.select(torch.tensor([i]))
        group = optics.groups[int(optics.group[0])]
        d = group.box_size
        k = torch.stack(
            torch.meshgrid(torch.fft.rfftfreq(d), torch.fft.fftfreq(d), indexing="xy"), -1
        )
        contrast = ctf(optics, k.double() / group.pixel_size)[0] / optics.scale
        factor = contrast.sign() if processing == "phase-flipped" else contrast
        inside = k.square().sum(-1) < 0.24
        given = torch.fft.rfft2(_stored(other, i))[inside]
        expected = (torch.fft.rfft2(_stored(plain, i)) * factor)[inside]
        error = (given - expected).abs().max() / expected.abs().max()
        assert float(error) < 10 * tolerances.FFT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"processing": "flipped"}, "expected one of none, phase-flipped, premultiplied"),
        ({"beam_tilt": (1.0, 0.0)}, r"beam_tilt is \(1\.0, 0\.0\), expected less than 0\.1 radian"),
    ],
)
def test_impossible_optics_are_named(change: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SimulationSettings(**{"n": 10, **change})

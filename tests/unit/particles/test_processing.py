"""Images that were phase-flipped or multiplied by their CTF say what the recorded ones say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from data_sets import star_block
from noting import only, states
from torch import Tensor

from cryosplat.errors import StarError
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.io.mrc import write_stack
from cryosplat.noise import NoiseModel
from cryosplat.optics import Optics, ctf, recorded
from cryosplat.particles import Particles, downsampled, read_particles
from cryosplat.statistics import Statistics, accumulate

N, BOX, PIXEL = 24, 32, 2.2
_LABELS = {"phase-flipped": "rlnCtfDataArePhaseFlipped",
           "premultiplied": "rlnCtfDataAreCtfPremultiplied"}  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """Images (n, d, d) as the detector had them, and the folder of a star file of them."""

    folder: Path
    images: Tensor

    def star(self, name: str, images: Tensor, **optics: list[object]) -> Path:
        """A star file of other images with the same poses and CTFs, but for ``optics``."""
        write_stack(self.folder / f"{name}.mrcs", images.numpy(), PIXEL)
        rng = np.random.default_rng(3)
        defocus = rng.uniform(8e3, 2e4, N)
        rows = {
            "rlnImageName": [f"{i + 1}@{name}.mrcs" for i in range(N)],
            **{f"rlnAngle{a}": rng.uniform(10, 170, N) for a in ("Rot", "Tilt", "Psi")},
            **{f"rlnOrigin{a}Angst": rng.uniform(-4, 4, N) for a in "XY"},
            "rlnDefocusU": defocus, "rlnDefocusV": defocus - rng.uniform(0, 2e3, N),
            "rlnDefocusAngle": rng.uniform(0, 180, N), "rlnPhaseShift": rng.uniform(0, 90, N),
            "rlnCtfBfactor": rng.uniform(20, 60, N), "rlnCtfScalefactor": rng.uniform(0.7, 1.2, N),
            "rlnOpticsGroup": [1] * N,
        }  # fmt: skip
        table = {
            "rlnOpticsGroup": [1], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [PIXEL], "rlnImageSize": [BOX],
            "rlnEvenZernike": ["[0,0,5,3,20,0,30,4,10]"], "rlnMagMat00": [1.01],
            "rlnBeamTiltX": [0.4], **optics,
        }  # fmt: skip
        path = self.folder / f"{name}.star"
        path.write_text(star_block("optics", table) + star_block("particles", rows))
        return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A blob's projections with their CTF, and white noise."""
    folder = tmp_path_factory.mktemp("recorded")
    generator = torch.Generator().manual_seed(2)
    made = Recorded(folder, torch.randn(N, BOX, BOX, generator=generator))
    particles = read_particles(made.star("none", made.images))
    axis = torch.arange(BOX) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    blob = torch.exp(-((x - 4) ** 2 + y**2 / 4 + (z + 3) ** 2 / 2) / 8.0) * 3.0
    projector = VolumeProjector(blob.float(), Grid(BOX, PIXEL))
    images = form_images(projector, particles.poses, particles.optics, BOX) + made.images
    return Recorded(folder, images.float())


def _changed(images: Tensor, particles: Particles, processing: str) -> Tensor:
    """What an extraction with that option would write, by the definition of the CTF."""
    ky, kx = torch.fft.fftfreq(BOX), torch.fft.rfftfreq(BOX)
    frequencies = torch.stack(torch.meshgrid(kx, ky, indexing="xy"), -1).double()
    contrast = ctf(particles.optics, frequencies / PIXEL)
    contrast = contrast.sign() if processing == "phase-flipped" else contrast
    contrast[:, (frequencies.abs() == 0.5).any(-1)] = 1.0
    return torch.fft.irfft2(torch.fft.rfft2(images) * contrast).float()


def _read(original: Recorded, processing: str) -> tuple[Particles, Particles]:
    """The particles as they were recorded, and the same after processing."""
    plain = read_particles(original.star("plain", original.images))
    images = _changed(original.images, plain, processing)
    path = original.star(processing, images, **{_LABELS[processing]: [1]})
    return plain, read_particles(path)


def _as_recorded(images: Tensor, optics: Optics) -> Tensor:
    size = images.shape[1:]
    return torch.fft.irfft2(recorded(torch.fft.rfft2(images), optics), s=size)


def _all_images(particles: Particles) -> Tensor:
    batches = list(particles.batches(size=7))
    order = torch.cat([b.index for b in batches]).argsort()
    return torch.cat([_as_recorded(b.images, b.optics) for b in batches])[order]


def _error(given: Tensor, expected: Tensor) -> float:
    return float((given - expected).square().mean().sqrt() / expected.std())


@pytest.mark.parametrize("processing", _LABELS)
def test_images_say_what_was_recorded(original: Recorded, processing: str) -> None:
    plain, processed = _read(original, processing)
    assert processed.optics.groups[0].processing == processing
    error = _error(_all_images(processed), _all_images(plain))
    assert error < tolerances.RECORDED[processing]
    (batch,) = processed.batches()
    assert torch.equal(batch.images, processed.images.read(batch.index.numpy()))
    assert _error(batch.images, original.images[batch.index]) > 0.5


@pytest.mark.parametrize("processing", _LABELS)
def test_statistics_are_those_of_the_recorded_images(original: Recorded, processing: str) -> None:
    plain, processed = (_statistics(p) for p in _read(original, processing))
    assert torch.equal(plain.transfer, processed.transfer)
    error = _error(processed.backprojection, plain.backprojection)
    assert error < tolerances.RECORDED_STATISTICS
    assert processed.energy == pytest.approx(plain.energy, rel=tolerances.RECORDED_ENERGY)
    assert processed.n_frequencies == plain.n_frequencies


def _statistics(particles: Particles) -> Statistics:
    noise = NoiseModel((torch.full((BOX // 2 + 1,), float(BOX) ** 2).double(),), normalise=False)
    sets = torch.zeros(len(particles), dtype=torch.int64)
    (found,) = accumulate(particles.batches(), sets, 1, Grid(BOX, PIXEL), noise)
    return found


@pytest.mark.parametrize("processing", _LABELS)
def test_cropping_commutes_with_it(original: Recorded, processing: str) -> None:
    plain, processed = (downsampled(p, 20) for p in _read(original, processing))
    inside = torch.fft.rfft2(_all_images(processed))
    expected = torch.fft.rfft2(_all_images(plain))
    keep = torch.ones(20, 11, dtype=torch.bool)
    keep[10], keep[:, 10] = False, False  # at Nyquist an image does not say what it is
    difference = (inside - expected)[:, keep]
    error = float(difference.abs().square().mean().sqrt())
    error /= float(expected[:, keep].abs().square().mean().sqrt())
    assert error < tolerances.RECORDED[processing]


def test_groups_of_one_box_are_told_apart(original: Recorded) -> None:
    """Only the rows of processed groups change, each with its own group's CTF."""
    plain, flipped = _read(original, "phase-flipped")
    (group,) = plain.optics.groups
    other = replace(group, name="b", voltage=200e3, processing="phase-flipped")
    which = torch.arange(N) % 2
    optics = replace(plain.optics, groups=(group, other), group=which)
    given = original.images.clone()
    found = _as_recorded(given, optics)
    assert torch.equal(given, original.images)
    assert _error(found[which == 0], given[which == 0]) < tolerances.FFT
    alone = replace(plain.optics, groups=(other,)).select(torch.nonzero(which).squeeze(1))
    assert torch.equal(found[which == 1], _as_recorded(given[which == 1], alone))
    assert _error(found[which == 1], given[which == 1]) > 0.5
    spectra = torch.fft.rfft2(given)
    assert recorded(spectra, plain.optics) is spectra
    assert len(flipped) == N


def test_the_note_says_how_images_are_stored(original: Recorded) -> None:
    _, processed = _read(original, "premultiplied")
    assert states(only(processed.notes, "images-processed"), "'opticsGroup1'")


def test_both_at_once_are_refused(original: Recorded) -> None:
    both: dict[str, list[object]] = {label: [1] for label in _LABELS.values()}
    with pytest.raises(StarError, match="are both set for optics group 'opticsGroup1'"):
        read_particles(original.star("both", original.images, **both))

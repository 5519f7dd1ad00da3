"""Images multiplied by their CTF, or not: their noise tells, whatever the table says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from noting import only, states
from planted import PlantedSet, planted

from cryosplat.checking import write_fixed
from cryosplat.checking._processing import background_slope
from cryosplat.particles import read_particles

FLAG = "rlnCtfDataAreCtfPremultiplied"
FLAGS = [("ctf-premultiplied", 0), ("ctf-not-premultiplied", 1)]


@pytest.fixture
def multiplied(simulated: Callable[..., Path], tmp_path: Path) -> PlantedSet:
    return planted(simulated(processing="premultiplied"), tmp_path)


def _slope(s: PlantedSet) -> float | None:
    particles = read_particles(s.write())
    return background_slope(particles, np.arange(len(particles)))


def test_noise_that_went_through_the_ctf_has_a_slope_of_one(
    clean: PlantedSet, multiplied: PlantedSet
) -> None:
    assert _slope(clean) == pytest.approx(0.0, abs=0.1)
    assert _slope(multiplied) == pytest.approx(1.0, abs=0.1)


def test_the_colour_of_the_noise_does_not_matter(clean: PlantedSet) -> None:
    images = clean.images()
    k = np.fft.fftfreq(images.shape[-1])
    gain = 1.0 + 8.0 * np.exp(-((np.hypot(k[:, None], k) / 0.15) ** 2))
    clean.restack(np.fft.ifft2(np.fft.fft2(images) * gain).real.astype(np.float32))
    assert _slope(clean) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(("code", "said"), FLAGS)
def test_a_table_that_says_otherwise_is_corrected(
    clean: PlantedSet, multiplied: PlantedSet, code: str, said: int
) -> None:
    s = clean if said else multiplied
    s.optics[FLAG] = said
    particles, checked = s.check(trial=True)
    assert checked.report.codes("alarm") == {code}
    (item,) = (i for i in checked.report.items if i.title == "trial")
    assert states(only(item.findings, "trial-skipped"), code)
    write_fixed(particles, s.folder / "fixed.star", checked, False)
    fixed = read_particles(s.folder / "fixed.star")
    assert {g.processing for g in fixed.optics.groups} == {"none" if said else "premultiplied"}


def test_images_that_cannot_tell_are_not_asked(
    clean: PlantedSet, simulated: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    alike = planted(simulated(defocus=(15000.0, 15000.0)), tmp_path_factory.mktemp("alike"))
    assert _slope(alike) is None
    whole = clean.rows
    clean.rows = whole.iloc[:40]
    assert _slope(clean) is None
    clean.rows = whole
    assert _slope(clean) is not None
    images = clean.images()
    images[:, 8:-8, 8:-8] *= 100.0  # corners without noise to speak of
    clean.restack(images)
    assert _slope(clean) is None

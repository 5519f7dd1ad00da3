"""Every way to spoil a run is named in words, and sound runs raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sabotage
import torch
from runs import Run
from sabotage import QUICK, Sound, run
from torch import Tensor

from cryosplat.fitting import Schedule, start_at_random
from cryosplat.grid import Grid
from cryosplat.io.mrc import read_map, write_map
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.mixture import GaussianMixture
from cryosplat.reconstruction import _fits
from cryosplat.run_folder import RunFolder
from cryosplat.settings import ReconstructionSettings
from cryosplat.statistics import QuadraticForm, Statistics

FIXED = replace(QUICK, gaussians=600)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return sabotage.sound_phantom(tmp_path_factory.mktemp("sabotage") / "phantom")


def _alarm(run: Run, code: str) -> str:
    """The text of the alarm ``code``, which there must be."""
    found = [note for note in run.result.notes if note.code == code]
    assert found, f"expected {code}, found {run.codes()}"
    assert found[0].severity == "alarm" and found[0].remedy
    return found[0].text


def _measured(folder: Path, truth: Tensor) -> Tensor:
    volume = torch.from_numpy(read_map(RunFolder(folder).map).data.copy())
    return fourier_shell_correlation(volume, truth)


def _frequency(run: Run) -> float:
    return 1.0 / run.result.comparison.headline.angstrom


@pytest.mark.parametrize(
    "make", [sabotage.sound_phantom, sabotage.sound_blobs, sabotage.sound_dark]
)
def test_sound_particles_raise_no_alarm(make: Callable[[Path], Sound], tmp_path: Path) -> None:
    """And the headline is not above where the measured FSC with the truth falls below 0.5."""
    sound = make(tmp_path / "particles")
    result = run(sound.particles, tmp_path / "run", ReconstructionSettings())
    tight = {"delocalisation"} if make is sabotage.sound_blobs else set()  # they fill their box
    assert result.codes("alarm", "warning") == tight
    measured = _measured(tmp_path / "run", sound.truth)
    below = (measured[1:] < 0.5).nonzero()
    last = int(below[0]) if len(below) else len(measured) - 1
    assert _frequency(result) <= float(result.result.grid.shell_frequencies()[last]) + 1e-9
    controls = result.result.controls
    assert controls.substitution is not None and controls.substitution.from_shell >= 2
    assert controls.agreement.gain == pytest.approx(1.0, abs=0.15)


def test_too_few_gaussians(phantom: Sound, tmp_path: Path) -> None:
    result = run(phantom.particles, tmp_path / "run", replace(QUICK, gaussians=16))
    assert "too few: plain voxels explain unseen particles better" in _alarm(
        result, "too-few-gaussians"
    )


def test_a_fit_stopped_early(phantom: Sound, tmp_path: Path) -> None:
    result = run(phantom.particles, tmp_path / "run", replace(FIXED, steps=3))
    assert "stopped before it converged" in _alarm(result, "fit-stopped-early")


def test_a_random_start_that_is_stuck(
    phantom: Sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random positions at full resolution at once, without marching."""

    def at_once(
        statistics: Statistics, side: int, gaussians: int, scale: float, schedule: Schedule,
        generator: torch.Generator, symmetry: str, journal: object,
    ) -> GaussianMixture:  # fmt: skip
        form = QuadraticForm(statistics, side)
        return start_at_random(form, gaussians, 0.3 * form.grid.side, 0.5, generator, symmetry)

    monkeypatch.setattr(_fits, "march", at_once)
    result = run(
        phantom.particles, tmp_path / "run", replace(FIXED, gaussians=2400, start="random")
    )
    assert "the fit is stuck" in _alarm(result, "fit-stuck")


def test_a_tenth_with_the_wrong_ctf_sign(phantom: Sound, tmp_path: Path) -> None:
    spoilt = sabotage.wrong_sign(phantom.particles, tmp_path / "spoilt")
    result = run(spoilt, tmp_path / "run", FIXED)
    assert "10 % of the particles contradict the map" in _alarm(result, "particles-contradict")


def test_duplicates_across_the_half_sets(phantom: Sound, tmp_path: Path) -> None:
    result = run(sabotage.duplicated(phantom.particles, 0.1), tmp_path / "run", FIXED)
    text = _alarm(result, "half-sets-share-images")
    assert "% of the images of one half-set are in the other one too" in text


@pytest.mark.slow
def test_duplicates_that_were_extracted_again(phantom: Sound, tmp_path: Path) -> None:
    """No pixel is the same any more, and no hash sees it; the noise does."""
    spoilt = sabotage.duplicated_with_other_pixels(phantom.particles, 0.3, tmp_path / "spoilt")
    result = run(spoilt, tmp_path / "run", FIXED)
    assert "noise of the two half-sets correlates" in _alarm(result, "half-sets-share-noise")


def test_halves_that_share_seed_and_data(phantom: Sound, tmp_path: Path) -> None:
    result = run(sabotage.identical_halves(phantom.particles), tmp_path / "run", FIXED)
    text = _alarm(result, "half-sets-share-images")
    assert "The two half-sets hold the same images" in text


def test_pure_noise_has_no_resolution(phantom: Sound, tmp_path: Path) -> None:
    spoilt = sabotage.pure_noise(phantom.particles, tmp_path / "spoilt")
    result = run(spoilt, tmp_path / "run", FIXED)
    assert "The map is made of noise" in _alarm(result, "no-signal")
    assert _frequency(result) == 0.0
    assert result.summary.resolution_from == "no-signal"


def test_permuted_poses(phantom: Sound, tmp_path: Path) -> None:
    result = run(sabotage.permuted_poses(phantom.particles), tmp_path / "run", FIXED)
    assert "The orientations carry no information" in _alarm(result, "poses-say-nothing")
    assert _frequency(result) == 0.0


def test_a_mask_that_is_too_tight(phantom: Sound, tmp_path: Path) -> None:
    """A hard mask of the densest tenth of the molecule."""
    grid = Grid(phantom.particles.box_size, phantom.particles.pixel_size)
    inside = phantom.truth > phantom.truth.flatten().quantile(0.995)
    path = tmp_path / "tight.mrc"
    write_map(path, inside.numpy().astype(np.float32), grid.pixel_size)
    result = run(phantom.particles, tmp_path / "run", replace(FIXED, mask=str(path)))
    assert "mask" in _alarm(result, "mask-too-tight").lower()

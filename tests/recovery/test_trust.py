"""What a run predicts of itself, against the truth, which it does not know."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import sabotage
from runs import Run
from tolerances import PREDICTED_CROSS, PREDICTED_FULL
from torch import Tensor

from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.settings import ReconstructionSettings

JUDGED = 0.3


@dataclass(frozen=True)
class Judged:
    """A run, and FSC with the truth: of its half-maps (mean) and of the full map."""

    run: Run
    half: Tensor
    full: Tensor


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("trust")
    sound = sabotage.sound_blobs(folder / "particles")
    run = sabotage.run(sound.particles, folder / "run", ReconstructionSettings())
    names = "map", "half1", "half2"
    full, *halves = (fourier_shell_correlation(run.map(name), sound.truth) for name in names)
    return Judged(run, 0.5 * (halves[0] + halves[1]), full)


def _error(judged: Judged, name: str, measured: Tensor) -> Tensor:
    """Predicted minus measured in shells 1 .. the last before the measured FSC drops below 0.3."""
    below = (measured[1:] < JUDGED).nonzero()
    last = int(below[0]) + 1 if len(below) else len(measured)
    return judged.run.curves[name].double()[1:last] - measured[1:last]


def test_the_cross_fsc_predicts_the_half_maps(judged: Judged) -> None:
    error = _error(judged, "half-map with truth, from cross", judged.half)
    assert len(error) >= 8 and float(error.abs().max()) < PREDICTED_CROSS


def test_the_prediction_of_the_map_is_never_much_too_high(judged: Judged) -> None:
    error = _error(judged, "map with truth, predicted", judged.full)
    assert float(error.max()) < PREDICTED_FULL


def test_the_prediction_is_the_lower_of_two(judged: Judged) -> None:
    curves = judged.run.curves
    for predicted, *two in zip(
        curves["map with truth, predicted"], curves["map with truth, from half-maps"],
        curves["map with truth, from cross"], strict=True,
    ):  # fmt: skip
        assert predicted == min(two)


def test_the_run_tells_what_its_controls_found(judged: Judged) -> None:
    summary, curves = judged.run.summary, judged.run.curves
    substitution, agreement = summary.noise_substitution, summary.agreement
    assert substitution and substitution.from_shell and agreement and summary.independence
    shell, invented = substitution.from_shell, curves["noise substitution, half-maps"]
    assert bool(invented[:shell].isnan().all()) and not bool(invented[shell:].isnan().any())
    assert substitution.invented == pytest.approx(float(invented[shell:].mean()), abs=1e-6)
    assert "half-maps, corrected for invented" in curves
    assert agreement.gain and agreement.gain_with_dealt_rotations is not None
    assert agreement.gain > agreement.gain_with_dealt_rotations + 0.3
    assert summary.independence.shared_images == 0.0
    assert str(summary.resolution_reason).startswith("The half-map FSC, corrected for the mask and")

"""Which evidence gives which finding, at its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cryosplat.grid import Grid
from cryosplat.maps.fsc import resolution, truth_from_halves
from cryosplat.notes import Note
from cryosplat.validation import findings
from cryosplat.validation.agreement import Agreement
from cryosplat.validation.comparison import (
    CROSS_MASKED,
    FULL_FROM_CROSS,
    HALF_MAPS,
    INVENTED,
    VOXELS_MASKED,
    Comparison,
)
from cryosplat.validation.findings import Evidence, diagnose
from cryosplat.validation.independence import NoiseCorrelation
from cryosplat.validation.leftovers import Leftovers

GRID = Grid(40, 2.0)
FALLING = torch.linspace(1.0, 0.05, GRID.n_shells, dtype=torch.float64)


def _agreement(
    gain: float, dealt: float = 0.3, against: int = 0, strength: float = 9.0
) -> Agreement:
    n = 400
    strengths = torch.full((n,), strength, dtype=torch.float64)
    scores = gain * strengths
    scores[:against] = -strength
    others = dealt * strengths
    others[:against] *= -1.0
    return Agreement(scores, strengths, others)


def _evidence(**changes: torch.Tensor) -> Evidence:
    curves = {
        HALF_MAPS: FALLING, FULL_FROM_CROSS: truth_from_halves(FALLING), VOXELS_MASKED: 0.8 * FALLING,
        CROSS_MASKED: 0.9 * FALLING,
    }  # fmt: skip
    comparison = Comparison(
        curves | changes, torch.zeros_like(FALLING), resolution(FALLING, GRID), "cross", "",
        torch.ones_like(FALLING),
    )  # fmt: skip
    return Evidence(GRID, comparison, _agreement(0.97), history=((50, 9.0, 9.0), (55, 9.1, 9.01)))


def _codes(evidence: Evidence) -> list[str]:
    return [finding.code for finding in diagnose(evidence)]


def test_a_sound_run_has_no_findings() -> None:
    assert _codes(_evidence()) == []


@pytest.mark.parametrize(("share", "code"), [(0.001, None), (0.01, "half-sets-share-images")])
def test_shared_images(share: float, code: str | None) -> None:
    assert _codes(replace(_evidence(), shared_images=share)) == ([code] if code else [])


@pytest.mark.parametrize(
    ("value", "deviation", "alarms"),
    [(0.02, 0.001, False), (0.05, 0.01, True), (0.05, 0.02, False), (0.2, 0.02, True)],
)
def test_shared_noise_must_matter_and_be_no_chance(
    value: float, deviation: float, alarms: bool
) -> None:
    evidence = replace(_evidence(), noise_correlation=NoiseCorrelation(value, deviation))
    assert _codes(evidence) == (["half-sets-share-noise"] if alarms else [])


@pytest.mark.parametrize(
    ("unseen", "severity"), [(0.04, None), (0.1, "warning"), (0.21, "alarm"), (0.66, "alarm")]
)
def test_views_that_leave_directions_out(unseen: float, severity: str | None) -> None:
    """By the root of what is seen: 0.2 takes a tenth of the FSC with the truth."""
    found = diagnose(replace(_evidence(), unseen=unseen))
    assert [(f.code, f.severity) for f in found] == (
        [("views-missing", severity)] if severity else []
    )


def test_missing_views_excuse_the_fit() -> None:
    behind = replace(_evidence(**{CROSS_MASKED: 0.7 * FALLING}), unseen=0.5)
    assert _codes(behind) == ["views-missing"]


@pytest.mark.parametrize(("particles", "few"), [(99, True), (100, False)])
def test_few_particles(particles: int, few: bool) -> None:
    found = _codes(replace(_evidence(), particles=particles))
    assert found == (["few-particles"] if few else [])


@pytest.mark.parametrize(("share", "severity"), [(0.05, None), (0.2, "note"), (0.5, "warning")])
def test_a_box_that_cuts_fringes_off(share: float, severity: str | None) -> None:
    found = diagnose(replace(_evidence(), cut_off=share))
    assert [(f.code, f.severity) for f in found] == (
        [("delocalisation", severity)] if severity else []
    )


def _left(error: float, surplus: float, n: int = 400) -> Leftovers:
    """Scores of a defocus that is off by ``error`` Angstrom, and of a surplus of power outside."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(n, generator=generator).double()
    information = torch.full((n,), 1e-5, dtype=torch.float64)
    scores = (draw / draw.std()) * (information + (error * information) ** 2).sqrt()
    inside = 1.0 + 0.2 * torch.randn(n, generator=generator).double()
    return Leftovers(scores, information, inside, (1.0 + surplus) * inside)


def test_what_single_images_leave_over() -> None:
    assert _codes(replace(_evidence(), left=_left(0.0, 0.0))) == []
    assert _codes(replace(_evidence(), left=_left(600.0, 0.0))) == ["defocus-wrong"]
    assert _codes(replace(_evidence(), left=_left(0.0, 0.1))) == ["neighbours"]
    few = replace(_evidence(), left=_left(600.0, 0.1), particles=50)
    assert _codes(few) == ["few-particles"]
    found = replace(_evidence(), left=_left(600.0, 0.1), shared_images=1.0)
    assert _codes(found) == ["half-sets-share-images"]


def test_gaussians_may_fall_behind_voxels_by_chance() -> None:
    """Few independent coefficients: a difference that many would not excuse."""
    behind = _evidence(**{CROSS_MASKED: 0.7 * FALLING})
    many, few = (torch.full_like(FALLING, count) for count in (1e4, 5.0))
    assert _codes(replace(behind, independent=many)) == ["fit-stuck"]
    assert _codes(replace(behind, independent=few)) == []


@pytest.mark.parametrize(
    ("agreement", "code"),
    [
        (_agreement(0.02), "no-signal"),
        (_agreement(-0.9), "no-signal"),
        (_agreement(0.95, dealt=0.94), "poses-say-nothing"),
        (_agreement(0.95, against=20), "particles-contradict"),
    ],
)
def test_particles_that_disagree(agreement: Agreement, code: str) -> None:
    assert _codes(replace(_evidence(), agreement=agreement)) == [code]


def test_few_particles_that_agree_a_little_are_no_alarm() -> None:
    for gain, particles, severity in (
        (0.02, 10, "warning"),
        (0.02, 500, "alarm"),
        (0.0, 10, "alarm"),
    ):
        found = diagnose(replace(_evidence(), agreement=_agreement(gain), particles=particles))
        assert (found[0].code, found[0].severity) == ("no-signal", severity)


def test_a_round_molecule_looks_much_the_same_from_everywhere() -> None:
    assert _codes(replace(_evidence(), agreement=_agreement(1.0, dealt=0.9))) == []


def test_single_particles_are_not_judged_where_one_shows_too_little() -> None:
    weak = _agreement(0.95, against=20, strength=findings.TELLING - 1)
    assert _codes(replace(_evidence(), agreement=weak)) == []


def test_a_fit_that_still_rises_was_stopped_early() -> None:
    rising = (0, 1.0, 1.0), (3, 2.0, 2.0)
    assert _codes(replace(_evidence(), history=rising)) == ["fit-stopped-early"]
    unknown = (0, 1.0, float("nan")), (3, 2.0, float("nan"))
    assert _codes(replace(_evidence(), history=unknown)) == []


def test_gaussians_behind_voxels_are_few_or_stuck() -> None:
    behind = replace(_evidence(**{CROSS_MASKED: 0.7 * FALLING}), gaussians=100, suggested=1000)
    assert _codes(behind) == ["too-few-gaussians"]
    assert _codes(replace(behind, gaussians=900)) == ["fit-stuck"]
    assert _codes(replace(behind, suggested=None)) == ["fit-stuck"]


def test_gaussians_whose_map_voxels_complete_may_fall_further_behind() -> None:
    def alone(share: float) -> Evidence:
        return replace(_evidence(), gaussians_cross=share * FALLING)

    assert _codes(alone(0.7)) == []
    assert _codes(alone(0.6)) == ["fit-stuck"]
    assert _codes(_evidence(**{CROSS_MASKED: 0.7 * FALLING})) == ["fit-stuck"]


def test_a_short_fit_to_images_is_told_by_its_name_and_its_images() -> None:
    behind = _evidence(**{CROSS_MASKED: 0.7 * FALLING})
    (found,) = diagnose(replace(behind, images_shown=15_000))
    assert found.code == "fit-not-converged"
    assert "15,000 images" in found.text and "500,000" in found.text
    assert _codes(replace(_evidence(), images_shown=15_000)) == []


def test_where_voxels_are_noise_gaussians_may_be_behind() -> None:
    cross = torch.where(FALLING * 0.8 > findings.WHERE_CLEAR, 0.9 * FALLING, 0.0)
    assert _codes(_evidence(**{CROSS_MASKED: cross})) == []


def test_gaussians_are_compared_from_the_first_shell_where_they_can_be() -> None:
    cross = FALLING.clone()
    cross[:4] = 0.0
    behind = _evidence(**{CROSS_MASKED: cross})
    assert _codes(behind) == ["fit-stuck"]
    assert _codes(replace(behind, first_shell=4)) == []
    lagging = _evidence(**{CROSS_MASKED: 0.7 * FALLING})
    assert _codes(replace(lagging, first_shell=4)) == ["fit-stuck"]


def test_notes_on_the_mask_are_passed_on() -> None:
    cut = Note("mask-cuts-molecule", "alarm", "The mask cuts the molecule.")
    assert list(diagnose(replace(_evidence(), on_mask=[cut]))) == [cut]


def test_inflation_is_a_note_and_comes_after_alarms() -> None:
    evidence = _evidence(
        **{FULL_FROM_CROSS: FALLING - 0.3, INVENTED: torch.full_like(FALLING, 0.3)}
    )
    assert _codes(evidence) == ["pipeline-invents", "half-maps-inflated"]
    with_alarm = diagnose(replace(evidence, shared_images=1.0))
    assert [f.severity for f in with_alarm] == ["alarm", "note", "note"]
    assert "The two half-sets hold the same images" in with_alarm[0].text

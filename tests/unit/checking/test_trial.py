"""Signs, units and conventions that only the images know: each planted alone, each found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from noting import states
from planted import PIXEL_SIZE, PlantedSet, planted

from cryosplat import fourier
from cryosplat.checking import hypotheses, trial
from cryosplat.checking.checks import resolve_overfocus
from cryosplat.checking.hypotheses import UNCHANGED, Hypothesis, draw_sample, evaluate, ratio
from cryosplat.checking.readings import readings
from cryosplat.checking.transforms import negate_shifts, shuffle_rotations, transpose_rotations
from cryosplat.formation import form_images
from cryosplat.optics import Optics
from cryosplat.particles import read_particles
from cryosplat.poses import Poses, euler_from_rotations, rotations_from_euler
from cryosplat.statistics import accumulate
from cryosplat.validation.likelihood import log_likelihoods

ORIGINS = ["rlnOriginXAngst", "rlnOriginYAngst"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
ASTIGMATIC = {"astigmatism": 6000.0}
TREFOIL = {"odd": (0.0, 0.0, 1500.0, 0.0, 0.0, -1500.0)}


def negated(s: PlantedSet) -> None:
    s.rows[ORIGINS] *= -1.0


def negated_in_y(s: PlantedSet) -> None:
    s.rows[ORIGINS[1]] *= -1.0


def swapped(s: PlantedSet) -> None:
    s.rows[ORIGINS] = s.rows[ORIGINS[::-1]].to_numpy()


def in_pixels(s: PlantedSet) -> None:
    s.rows[ORIGINS] /= PIXEL_SIZE


def in_angstrom(s: PlantedSet) -> None:
    s.rows[ORIGINS] *= PIXEL_SIZE


def centred_already(s: PlantedSet) -> None:
    given = s.rows[ORIGINS].to_numpy() / PIXEL_SIZE
    images = np.stack([_moved(image, *by) for image, by in zip(s.images(), given, strict=True)])
    s.restack(images)


def _moved(image: np.ndarray, x: float, y: float) -> np.ndarray:
    k = np.fft.fftfreq(len(image))
    ramp = np.exp(-2j * np.pi * (k[:, None] * y + k[None, :] * x))
    return np.fft.ifft2(np.fft.fft2(image) * ramp).real.astype(np.float32)


def transposed(s: PlantedSet) -> None:
    rotations = rotations_from_euler(np.deg2rad(s.rows[ANGLES].to_numpy()))
    s.rows[ANGLES] = np.rad2deg(euler_from_rotations(rotations.transpose(0, 2, 1)))


def upside_down(s: PlantedSet) -> None:
    images = s.images()
    # row 0 of an even box has no partner about its centre
    images[:, 1:] = images[:, :0:-1].copy()
    s.restack(images)


def transposed_images(s: PlantedSet) -> None:
    s.restack(s.images().transpose(0, 2, 1).copy())


def negate_psi(s: PlantedSet) -> None:
    s.rows["rlnAnglePsi"] *= -1.0


def angles_exchanged(s: PlantedSet) -> None:
    s.rows[ANGLES] = s.rows[ANGLES[::-1]].to_numpy()


def other_defocus(s: PlantedSet) -> None:
    columns = ["rlnDefocusU", "rlnDefocusV"]
    s.rows[columns] = s.rows[columns[::-1]].to_numpy()


def other_angle(s: PlantedSet) -> None:
    s.rows["rlnDefocusAngle"] *= -1.0


def flipped_untold(s: PlantedSet) -> None:
    s.optics = s.optics.drop(columns="rlnCtfDataArePhaseFlipped")


def flipped_by_mistake(s: PlantedSet) -> None:
    s.optics["rlnCtfDataArePhaseFlipped"] = 1


def other_trefoil(s: PlantedSet) -> None:
    s.optics["rlnOddZernike"] = "[0,0,-1500,0,0,1500]"


def one_group_dark(s: PlantedSet) -> None:
    s.optics = s.optics.loc[[0, 0]].reset_index(drop=True)
    s.optics["rlnOpticsGroup"], s.optics["rlnOpticsGroupName"] = [1, 2], ["a", "b"]
    s.rows["rlnOpticsGroup"] = (np.arange(s.n) >= 2 * s.n // 3) + 1
    images = s.images()
    images[2 * s.n // 3 :] *= -1.0
    s.restack(images)


FAULTS: dict[str, tuple[Callable[[PlantedSet], None], dict[str, object]]] = {
    "shifts-negated": (negated, {}),
    "shifts-negated-y": (negated_in_y, {}),
    "shifts-swapped": (swapped, {}),
    "shifts-pixels": (in_pixels, {}),
    "shifts-angstrom": (in_angstrom, {}),
    "shifts-ignored": (centred_already, {}),
    "poses-transposed": (transposed, {}),
    "images-flipped": (upside_down, {}),
    "images-transposed": (transposed_images, {}),
    "psi-negated": (negate_psi, {}),
    "rot-psi-exchanged": (angles_exchanged, {}),
    "defocus-exchanged": (other_defocus, ASTIGMATIC),
    "defocus-angle-negated": (other_angle, ASTIGMATIC),
    "ctf-phase-flipped": (flipped_untold, {"processing": "phase-flipped"}),
    "ctf-not-processed": (flipped_by_mistake, {}),
    "odd-aberrations-negated": (other_trefoil, TREFOIL),
    "group-polarity": (one_group_dark, {}),
}


def test_images_of_one_defocus_do_not_tell_whether_they_were_corrected(
    simulated: Callable[..., Path], tmp_path: Path
) -> None:
    """Their map takes the CTF in; it fits no worse than one that is told of it."""
    planted_set = planted(simulated(defocus=(15000.0, 15500.0)), tmp_path)
    particles, checked = planted_set.check(trial=True)
    assert not checked.report.codes("alarm")
    assert not [r for r in readings(particles) if r.code.startswith("ctf-")]


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_convention_is_found_and_nothing_else(
    simulated: Callable[..., Path], tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MOST_ROUNDS", 1)  # for time; two rounds have their own test
    plant, settings = FAULTS[code]
    planted_set = planted(simulated(**settings), tmp_path)
    plant(planted_set)
    _, checked = planted_set.check(trial=True)
    assert checked.report.codes("alarm") == {code}
    (finding,) = (f for f in checked.report.findings() if f.code == code)
    assert "--fix OUT.star" in finding.remedy
    assert [reading.code for reading in checked.readings] == [code]


@pytest.mark.parametrize("settings", [{}, ASTIGMATIC, TREFOIL, {"processing": "phase-flipped"}])
def test_a_clean_set_raises_no_alarm(
    simulated: Callable[..., Path], tmp_path: Path, settings: dict[str, object]
) -> None:
    _, checked = planted(simulated(**settings), tmp_path).check(trial=True)
    assert checked.report.codes("alarm") == set()
    (item,) = (item for item in checked.report.items if item.title == "trial")
    assert [f.code for f in item.findings] == ["conventions-confirmed", "handedness-undetermined"]


def test_a_negative_defocus_that_the_images_deny_is_turned_once(clean: PlantedSet) -> None:
    clean.rows[["rlnDefocusU", "rlnDefocusV"]] *= -1.0
    _, checked = clean.check(trial=True)
    assert checked.report.codes("alarm") == {"defocus-negative", "defocus-negated"}
    assert [reading.code for reading in checked.readings] == ["defocus-negated"]


def test_a_negative_defocus_that_the_images_confirm_is_no_fault(clean: PlantedSet) -> None:
    clean.rows[["rlnDefocusU", "rlnDefocusV"]] *= -1.0
    _, checked = clean.check()
    result = {"reading": "defocus-negated", "nats": -900.0, "standard_errors": -12.0}
    items = resolve_overfocus(list(checked.report.items), [result])
    findings = [finding for item in items for finding in item.findings]
    assert "defocus-negative" not in {finding.code for finding in findings}
    (told,) = (finding for finding in findings if finding.code == "defocus-overfocus")
    assert told.severity == "note"
    undecided = {**result, "standard_errors": -2.0}
    assert resolve_overfocus(list(checked.report.items), [undecided]) == list(checked.report.items)


def test_images_without_a_ctf_are_recognised(
    simulated: Callable[..., Path], tmp_path: Path
) -> None:
    # a CTF of 1 is what full amplitude contrast without defocus is
    star = simulated(amplitude_contrast=1.0, defocus=(0.0, 0.0), astigmatism=0.0,
                     spherical_aberration=0.0)  # fmt: skip
    told = planted(star, tmp_path)
    defocus = np.random.default_rng(0).uniform(14e3, 30e3, told.n)
    told.rows["rlnDefocusU"] = told.rows["rlnDefocusV"] = defocus
    told.optics[["rlnAmplitudeContrast", "rlnSphericalAberration"]] = 0.1, 2.7
    _, checked = told.check(trial=True)
    assert checked.report.codes("alarm") == {"ctf-none"}
    (finding,) = (f for f in checked.report.findings() if f.code == "ctf-none")
    assert finding.remedy == "--ctf none"


def test_two_faults_are_both_found(clean: PlantedSet) -> None:
    negated(clean)
    transposed(clean)
    _, checked = clean.check(trial=True)
    assert checked.report.codes("alarm") == {"shifts-negated", "poses-transposed"}


def test_a_fault_of_the_table_is_mended_before_the_trial(clean: PlantedSet) -> None:
    clean.rows[["rlnDefocusU", "rlnDefocusV"]] *= 1e-4
    negated(clean)
    _, checked = clean.check(trial=True)
    assert checked.report.codes("alarm") == {"defocus-micrometre", "shifts-negated"}


def test_dark_protein_is_a_note(simulated: Callable[..., Path], tmp_path: Path) -> None:
    dark = planted(simulated(contrast="dark"), tmp_path)
    _, checked = dark.check(trial=True)
    assert checked.report.codes("alarm") == set()
    assert "polarity-dark" in checked.report.codes("note")


def test_few_particles_are_not_judged(clean: PlantedSet) -> None:
    negated(clean)
    clean.rows = clean.rows[:60]
    _, checked = clean.check(trial=True)
    assert "too-few" in checked.report.codes("note")
    assert checked.report.codes("alarm") == set()


def test_tilt_images_of_one_particle_count_once(clean: PlantedSet) -> None:
    negated(clean)
    clean.rows["rlnTomoParticleName"] = [f"tomo/{i // 4}" for i in range(clean.n)]
    _, checked = clean.check(trial=True)
    (finding,) = (f for f in checked.report.findings() if f.code == "too-few")
    assert states(finding, 60)
    sample = draw_sample(read_particles(clean.write()), torch.arange(clean.n))
    assert torch.equal(sample.folds[::4].repeat_interleave(4), sample.folds)
    given, turned = evaluate(sample, UNCHANGED), evaluate(sample, Hypothesis("x", (negate_shifts,)))
    sums = (turned.gains - given.gains).reshape(-1, 4).sum(1)
    over = ratio(turned, given, sample)
    np.testing.assert_allclose(over.nats, float(sums.sum()), **tolerances.ROUND_OFF)
    np.testing.assert_allclose(over.error, float(sums.std()) * 60**0.5, **tolerances.ROUND_OFF)


def test_images_with_others_orientations_say_nothing_else(
    clean: PlantedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "CONCLUSIVE", 200)
    order = np.random.default_rng(1).permutation(clean.n)
    columns = [*ANGLES, *ORIGINS]
    clean.rows[columns] = clean.rows[columns].to_numpy()[order]
    _, checked = clean.check(trial=True)
    assert checked.report.codes("alarm") == set()
    assert "poses-uninformative" in checked.report.codes("warning")


def test_noise_is_not_judged(clean: PlantedSet) -> None:
    clean.restack(np.random.default_rng(0).normal(size=(clean.n, 24, 24)).astype(np.float32))
    _, checked = clean.check(trial=True)
    assert checked.report.codes("alarm") == set()
    assert "too-few" in checked.report.codes("note")


def test_ratios_of_the_same_reading_are_zero(clean: PlantedSet) -> None:
    sample = draw_sample(read_particles(clean.write()), torch.arange(clean.n))
    given = evaluate(sample, UNCHANGED)
    again = ratio(given, given, sample)
    assert (again.nats, again.deviations) == (0.0, 0.0)
    assert ratio(evaluate(sample, shuffle_rotations(0)), given, sample).deviations < -10


def test_predictions_are_those_of_direct_residuals(clean: PlantedSet) -> None:
    """The gain of an image is the fall of half its squared residual, weighed by the noise."""
    sample = draw_sample(read_particles(clean.write()), torch.arange(clean.n))
    (batch,) = sample.batches
    parts = accumulate([batch], sample.folds, 2, sample.grid, sample.noise)
    projector = hypotheses._maps(parts)[0]
    part = batch.select(torch.arange(5))
    predicted = form_images(projector, part.poses, part.optics, part.box_size)
    shells = fourier.shells((sample.grid.box_size,) * 2).clamp(max=12)
    precision = sample.noise.precision(24)[0][shells]
    pairs = torch.full(shells.shape, 2.0)
    pairs[:, 0] = 1.0

    def energy(images: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft2(images.double()).abs().square()
        power[:, 12] = power[:, :, 12] = power[:, 0, 0] = 0.0  # Nyquist, and the image's mean
        return 0.5 * (power * precision * pairs).sum((1, 2))

    images = sample.noise.normalised(part)
    expected = energy(images) - energy(images - predicted)
    torch.testing.assert_close(
        log_likelihoods(projector, part, sample.noise), expected, **tolerances.HELD_OUT_GAIN
    )


def test_several_views_of_an_image_are_one_hypothesis(clean: PlantedSet) -> None:
    """Twice the same view is that view; views of a symmetry that is not there are worse."""
    sample = draw_sample(read_particles(clean.write()), torch.arange(clean.n))
    given = evaluate(sample, UNCHANGED)

    def half_turned(poses: Poses, optics: Optics) -> tuple[Poses, Optics]:
        turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
        return Poses(poses.rotations @ turn, poses.shifts), optics

    identity = UNCHANGED.transforms[0]
    twice = evaluate(sample, Hypothesis("twice", (identity, identity)))
    c2 = evaluate(sample, Hypothesis("C2", (identity, half_turned)))
    assert abs(ratio(twice, given, sample).nats) < 0.01 * float(given.gains.sum())
    assert ratio(c2, given, sample).deviations < -10


@pytest.mark.parametrize("transform", [negate_shifts, transpose_rotations])
def test_a_reading_twice_is_the_table(clean: PlantedSet, transform: Callable) -> None:
    particles = read_particles(clean.write())
    poses, optics = transform(*transform(particles.poses, particles.optics))
    assert torch.equal(poses.rotations, particles.poses.rotations)
    assert torch.equal(poses.shifts, particles.poses.shifts)
    assert optics is particles.optics

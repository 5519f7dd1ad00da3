"""The trial: a sample of images tests every other reading of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..notes import Note
from ..particles import Particles
from ..statistics import QuadraticForm
from ..validation.polarity import polarity_score
from .hypotheses import UNCHANGED, Outcome, Ratio, Sample, draw_sample, evaluate, ratio, reinterpret
from .readings import Reading, readings
from .transforms import shuffle_rotations
from .values import Item

FEWEST = 100  # particles; tilt images of one count once
ERRORS = 5.0  # standard errors by which a reading must win
FOLD_ERRORS = 2.0  # and in each fold by itself
NATS = 10.0
MOST_ROUNDS = 3
SHUFFLES = 3  # of the orientations, and by how often their spread they must be beaten
SCREENED, SCREENING_BOX = 500, 32  # images and pixels that dismiss what is plainly worse
POLARITY_BOX = 40
POLARITY_DOUBT = 4.0
CONCLUSIVE = 1000  # particles from which uninformative poses are a fault and not a lack of data


@dataclass(frozen=True, slots=True)
class Preference:
    """A reading that won, its ratio ``over`` the table as it was before, and the texts of ``rivals``
    that won too and cannot be distinguished from it."""

    reading: Reading
    over: Ratio
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """What the images prefer: ``preferences`` in the order they were found; all ``ratios`` of the
    first round; ``over_shuffled``: the final reading over shuffled orientations, and whether the
    poses are ``informative`` by it; ``polarity`` score; ``n`` images; ``box`` they were cropped to."""

    preferences: tuple[Preference, ...]
    ratios: tuple[tuple[Reading, Ratio], ...]
    over_shuffled: Ratio
    informative: bool
    polarity: float
    n: int
    box: int


def run_trial(
    particles: Particles, positions: torch.Tensor,
    on_reading: Callable[[int], None] = lambda n: None,
) -> Trial:  # fmt: skip
    """Test all readings of ``particles`` on the images ``positions``; keep those that win.

    A few images dismiss most readings; all of them decide on the others. When one wins, the others
    are tested again on top of it, so that two faults are both found. Where orientations carry no
    information, the images cannot decide anything else.
    """
    sample = draw_sample(particles, positions)
    few = None
    if len(positions) > 2 * SCREENED:
        every = len(positions) // SCREENED
        few = draw_sample(particles, positions[::every], SCREENING_BOX)
    choices = readings(particles)
    preferences: list[Preference] = []
    first: list[tuple[Reading, Ratio]] = []
    unchanged = best = evaluate(sample, UNCHANGED)
    current = sample
    for _ in range(MOST_ROUNDS):
        dismissed, remaining = _screen(few, choices, on_reading)
        results = []
        for reading in remaining:
            outcome = evaluate(current, reading.hypothesis())
            results.append((reading, ratio(outcome, best, sample), outcome))
            on_reading(1)
        if not preferences:
            first = [*((r, over) for r, over, _ in results), *dismissed]
        winners = [result for result in results if _wins(result[1])]
        if not winners:
            break
        reading, over, best = max(winners, key=lambda result: result[1].nats)
        rivals = tuple(
            rival.text for rival, _, outcome in winners
            if rival is not reading and ratio(outcome, best, sample).deviations > -ERRORS
        )  # fmt: skip
        preferences.append(Preference(reading, over, rivals))
        current, few = _adopt(current, reading), few and _adopt(few, reading)
        choices = [r for r in choices if r is not reading]
    control = _shuffled_control(current)
    if preferences and not control.beaten_by(best, sample):
        # with uninformative orientations one blur may fit better than another
        preferences, best, control = [], unchanged, _shuffled_control(sample)
    return Trial(
        tuple(preferences), tuple(first), ratio(best, control.best, sample),
        control.beaten_by(best, sample), _polarity(best), len(sample), sample.grid.box_size,
    )  # fmt: skip


def _screen(
    few: Sample | None, choices: list[Reading], on_reading: Callable[[int], None]
) -> tuple[list[tuple[Reading, Ratio]], list[Reading]]:
    """Readings that a few images dismiss, with their ratios, and those that remain."""
    if few is None:
        return [], choices
    unchanged = evaluate(few, UNCHANGED)
    dismissed, remaining = [], []
    for reading in choices:
        over = ratio(evaluate(few, reading.hypothesis()), unchanged, few)
        if over.deviations < -ERRORS and over.nats < -NATS:
            dismissed.append((reading, over))
            on_reading(1)
        else:
            remaining.append(reading)
    return dismissed, remaining


@dataclass(frozen=True, slots=True)
class ShuffledControl:
    """The best outcome of several shuffles of the orientations, and their ``spread`` in nats."""

    best: Outcome
    spread: float

    def beaten_by(self, outcome: Outcome, sample: Sample) -> bool:
        """Whether an outcome is better, beyond the errors and the chance of maps made of noise."""
        over = ratio(outcome, self.best, sample)
        return _wins(over) and over.nats > SHUFFLES * self.spread


def _shuffled_control(sample: Sample) -> ShuffledControl:
    outcomes = [evaluate(sample, shuffle_rotations(seed)) for seed in range(SHUFFLES)]
    totals = [float(outcome.gains.sum()) for outcome in outcomes]
    return ShuffledControl(outcomes[int(np.argmax(totals))], float(np.std(totals, ddof=1)))


def _wins(over: Ratio) -> bool:
    return over.deviations > ERRORS and over.nats > NATS and over.worse_fold > FOLD_ERRORS


def _adopt(sample: Sample, reading: Reading) -> Sample:
    """The sample with the poses and optics of a reading."""
    batches = tuple(reinterpret(batch, reading.transform) for batch in sample.batches)
    return replace(sample, batches=batches)


def _polarity(outcome: Outcome) -> float:
    statistics = outcome.statistics
    if statistics.grid.box_size > POLARITY_BOX:
        statistics = statistics.downsampled(POLARITY_BOX)
    return polarity_score(QuadraticForm(statistics, statistics.grid.box_size))


def skipped_item(codes: Iterable[str]) -> Item:
    """The item of a set whose other faults make a trial useless."""
    return Item("trial", "not run", (Note(
        "trial-skipped", "note",
        f"Signs, units and conventions were not tested, because of {', '.join(sorted(codes))}.",
        "Correct these first, then check again.",
    ),))  # fmt: skip


def too_few_item(n: int) -> Item:
    """The item of a set that is too small for a trial."""
    return Item("trial", "not run", (Note(
        "too-few", "note",
        f"{n:,} particles are too few to test signs, units and conventions; {FEWEST} are needed.",
        "Check the whole set from which these particles were taken.",
    ),))  # fmt: skip


def trial_items(particles: Particles, trial: Trial) -> list[Item]:
    """Items on the conventions and on the polarity."""
    text = f"{trial.n:,} particles at {trial.box} px, {len(trial.ratios)} other readings"
    if not trial.informative:
        return [Item("trial", text, (_uninformative(trial),))]
    findings = [_preference_note(particles, preference) for preference in trial.preferences]
    if not findings:
        findings.append(_confirmation(trial))
    findings.append(Note(
        "handedness-undetermined", "note",
        "Handedness cannot be determined from the images: a mirrored map would fit equally well.",
        "Check the handedness of alpha helices in the map.",
    ))  # fmt: skip
    return [Item("trial", text, tuple(findings)), _polarity_item(trial.polarity)]


def _confirmation(trial: Trial) -> Note:
    undecided = [r.text for r, over in trial.ratios if over.deviations > -ERRORS]
    more = f" Undecided: {'; '.join(undecided)}." if undecided else ""
    text = f"The table's own conventions fit the images best.{more}"
    return Note("conventions-confirmed", "note", text)


def _preference_note(particles: Particles, preference: Preference) -> Note:
    reading, over = preference.reading, preference.over
    rivals = f"; nearly as likely: {'; '.join(preference.rivals)}" if preference.rivals else ""
    return Note(
        reading.code, "alarm",
        f"The images prefer {reading.text}, by {over.nats:,.0f} nats ({over.deviations:.0f} standard "
        f"errors){rivals}.",
        reading.option or f"cryosplat check {particles.source} --fix OUT.star",
    )  # fmt: skip


def _uninformative(trial: Trial) -> Note:
    evidence = (
        f"the {trial.n:,} images prefer their own orientations to shuffled ones by only "
        f"{trial.over_shuffled.deviations:.1f} standard errors, expected above {ERRORS:g}"
    )
    if trial.n < CONCLUSIVE:
        return Note(
            "too-few", "note", f"Too few particles, or too much noise, to decide: {evidence}.",
            "Check a larger set.",
        )  # fmt: skip
    return Note(
        "poses-uninformative", "warning",
        f"The orientations carry no information: {evidence}.",
        "Check that the rows of poses and images match, and the convention of the angles.",
    )  # fmt: skip


def _polarity_item(score: float) -> Item:
    text = f"protein {'dark' if score < 0.0 else 'bright'} (detected, {abs(score):.0f} σ)"
    if abs(score) < POLARITY_DOUBT:
        return Item("contrast", text, (Note(
            "polarity-doubtful", "note", "Whether protein is bright or dark is uncertain.",
            "Look at the map; set it with --invert or --no-invert.",
        ),))  # fmt: skip
    if score < 0.0:
        return Item("contrast", text, (Note(
            "polarity-dark", "note",
            "Protein is dark in the images; reconstruct detects this and inverts them.",
        ),))  # fmt: skip
    return Item("contrast", text)


def to_plain(trial: Trial) -> tuple[dict[str, Any], ...]:
    """The numbers of the first round, for a JSON file."""
    return tuple(
        {
            "reading": reading.code, "text": reading.text, "nats": round(over.nats, 2),
            "standard_errors": round(over.deviations, 2),
        }
        for reading, over in trial.ratios
    )  # fmt: skip

"""The trial: the images of a sample judge every other reading of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..notes import Note
from ..particles import Particles
from ..statistics import QuadraticForm
from ..validation.polarity import contrast_score
from .hypotheses import GIVEN, Outcome, Ratio, Sample, draw_sample, evaluate, ratio, seen
from .readings import Reading, readings
from .transforms import dealt_out
from .values import Item

FEWEST = 100  # particles; tilt images of one count once
ERRORS = 5.0  # standard errors by which a reading must win
FOLD_ERRORS = 2.0  # and in each fold by itself
NATS = 10.0
MOST_ROUNDS = 3
DEALS = 3  # times that orientations are dealt out, and by how often their spread they are beaten
SCREENED, SCREENING_BOX = 500, 32  # images and pixels that dismiss what is plainly worse
CONTRAST_BOX = 40
CONTRAST_DOUBT = 4.0
JUDGED = 1000  # particles from which silent poses are a fault and not want of data


@dataclass(frozen=True, slots=True)
class Accepted:
    """A reading that won, its ratio ``over`` the table as it was before, and the words of ``rivals``
    that won too and are not told apart from it."""

    reading: Reading
    over: Ratio
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """What the images say: ``accepted`` readings in the order they were found; all ``ratios`` of the
    first round; ``over_dealt``: the final reading over orientations dealt out, and whether the poses
    so ``speak``; ``contrast`` score; ``n`` images; ``box`` they were cropped to."""

    accepted: tuple[Accepted, ...]
    ratios: tuple[tuple[Reading, Ratio], ...]
    over_dealt: Ratio
    speak: bool
    contrast: float
    n: int
    box: int


def run_trial(
    particles: Particles, positions: torch.Tensor, on_one: Callable[[int], None] = lambda n: None
) -> Trial:
    """Judge all readings of ``particles`` by the images ``positions``; accept those that win.

    A few images dismiss most readings; what they leave open, all of them judge. Where one wins, the
    others are judged again on top of it, so that two faults are both found. Where orientations say
    nothing, neither do the images about anything else.
    """
    sample = draw_sample(particles, positions)
    few = None
    if len(positions) > 2 * SCREENED:
        every = len(positions) // SCREENED
        few = draw_sample(particles, positions[::every], SCREENING_BOX)
    choices = readings(particles)
    accepted: list[Accepted] = []
    first: list[tuple[Reading, Ratio]] = []
    given = best = evaluate(sample, GIVEN)
    read = sample
    for _ in range(MOST_ROUNDS):
        dismissed, open_ = _screened(few, choices, on_one)
        judged = []
        for reading in open_:
            outcome = evaluate(read, reading.hypothesis())
            judged.append((reading, ratio(outcome, best, sample), outcome))
            on_one(1)
        if not accepted:
            first = [*((r, over) for r, over, _ in judged), *dismissed]
        winners = [f for f in judged if _wins(f[1])]
        if not winners:
            break
        reading, over, best = max(winners, key=lambda f: f[1].nats)
        rivals = tuple(
            rival.words for rival, _, outcome in winners
            if rival is not reading and ratio(outcome, best, sample).deviations > -ERRORS
        )  # fmt: skip
        accepted.append(Accepted(reading, over, rivals))
        read, few = _read(read, reading), few and _read(few, reading)
        choices = [r for r in choices if r.code != reading.code]
    dealt = _dealt(read)
    if accepted and not dealt.beaten_by(best, sample):
        # of orientations that say nothing one blur may fit better than another
        accepted, best, dealt = [], given, _dealt(sample)
    return Trial(
        tuple(accepted), tuple(first), ratio(best, dealt.best, sample),
        dealt.beaten_by(best, sample), _contrast(best), len(sample), sample.grid.box_size,
    )  # fmt: skip


def _screened(
    few: Sample | None, choices: list[Reading], on_one: Callable[[int], None]
) -> tuple[list[tuple[Reading, Ratio]], list[Reading]]:
    """Readings that a few images dismiss, with their ratios, and those that they leave open."""
    if few is None:
        return [], choices
    given = evaluate(few, GIVEN)
    dismissed, open_ = [], []
    for reading in choices:
        over = ratio(evaluate(few, reading.hypothesis()), given, few)
        if over.deviations < -ERRORS and over.nats < -NATS:
            dismissed.append((reading, over))
            on_one(1)
        else:
            open_.append(reading)
    return dismissed, open_


@dataclass(frozen=True, slots=True)
class Dealt:
    """The best outcome of orientations dealt out several times, and the ``spread`` of all in nats."""

    best: Outcome
    spread: float

    def beaten_by(self, outcome: Outcome, sample: Sample) -> bool:
        """Whether an outcome is better, beyond the errors and the luck of maps made of noise."""
        over = ratio(outcome, self.best, sample)
        return _wins(over) and over.nats > DEALS * self.spread


def _dealt(sample: Sample) -> Dealt:
    outcomes = [evaluate(sample, dealt_out(seed)) for seed in range(DEALS)]
    totals = [float(outcome.gains.sum()) for outcome in outcomes]
    return Dealt(outcomes[int(np.argmax(totals))], float(np.std(totals, ddof=1)))


def _wins(over: Ratio) -> bool:
    return over.deviations > ERRORS and over.nats > NATS and over.worse_fold > FOLD_ERRORS


def _read(sample: Sample, reading: Reading) -> Sample:
    """The sample with poses and optics as a reading has them."""
    batches = tuple(seen(batch, reading.transform) for batch in sample.batches)
    return replace(sample, batches=batches)


def _contrast(outcome: Outcome) -> float:
    statistics = outcome.statistics
    if statistics.grid.box_size > CONTRAST_BOX:
        statistics = statistics.downsampled(CONTRAST_BOX)
    return contrast_score(QuadraticForm(statistics, statistics.grid.box_size))


def too_few(n: int) -> Item:
    """The item of a set that is too small for a trial."""
    return Item("trial", "not made", (Note(
        "too-few", "note",
        f"Too few particles to tell: a trial of signs, units and conventions takes {FEWEST} at "
        f"least, here are {n:,}.",
        "Check the whole set from which these particles were taken.",
    ),))  # fmt: skip


def trial_items(particles: Particles, trial: Trial) -> list[Item]:
    """What the trial says, in words: on the conventions, and on the contrast."""
    findings = [_accepted(particles, accepted) for accepted in trial.accepted]
    if not trial.speak:
        findings.append(_silent(trial))
    else:
        findings.append(Note(
            "hand", "note",
            "A mirrored map would fit as well: images cannot show the hand.",
            "Look at the map's helices.",
        ))  # fmt: skip
    text = f"{trial.n:,} particles at {trial.box} px, {len(trial.ratios)} other readings"
    if trial.speak and not trial.accepted:
        open_ = [r.words for r, over in trial.ratios if over.deviations > -ERRORS]
        text += f": as given is best{', undecided: ' + '; '.join(open_) if open_ else ''}"
    items = [Item("trial", text, tuple(findings))]
    if trial.speak:
        items.append(_contrast_item(trial.contrast))
    return items


def _accepted(particles: Particles, accepted: Accepted) -> Note:
    reading, over = accepted.reading, accepted.over
    rivals = f"; nearly as likely: {'; '.join(accepted.rivals)}" if accepted.rivals else ""
    return Note(
        reading.code, "alarm",
        f"The data prefer {reading.words}, by {over.nats:,.0f} nats ({over.deviations:.0f} standard "
        f"errors){rivals}.",
        reading.option or f"cryosplat check {particles.source} --fix OUT.star",
    )  # fmt: skip


def _silent(trial: Trial) -> Note:
    speak = (
        f"the {trial.n:,} images prefer the given orientations to others dealt out at random by "
        f"{trial.over_dealt.deviations:.1f} standard errors, expected above {ERRORS:g}"
    )
    if trial.n < JUDGED:
        return Note(
            "too-few", "note", f"Too few particles to tell, or too much noise: {speak}.",
            "Check a larger set.",
        )  # fmt: skip
    return Note(
        "poses-say-nothing", "warning", f"The orientations say nothing: {speak}.",
        "Check that the rows of poses and images belong together, and the angles' convention.",
    )  # fmt: skip


def _contrast_item(score: float) -> Item:
    text = f"protein {'dark' if score < 0.0 else 'bright'}, {abs(score):.0f} standard deviations"
    if abs(score) < CONTRAST_DOUBT:
        return Item("contrast", text, (Note(
            "contrast-doubtful", "note", "Whether the protein is bright or dark is in doubt.",
            "Look at the map; --invert or --no-invert decides.",
        ),))  # fmt: skip
    if score < 0.0:
        return Item("contrast", text, (Note(
            "contrast-dark", "note",
            "Protein is dark in the images; reconstruct sees that and inverts them.",
            "None needed; --invert says so yourself.",
        ),))  # fmt: skip
    return Item("contrast", text)


def to_plain(trial: Trial) -> tuple[dict[str, Any], ...]:
    """The numbers of the first round, for a JSON file."""
    return tuple(
        {
            "reading": reading.code, "words": reading.words, "nats": round(over.nats, 2),
            "standard_errors": round(over.deviations, 2),
        }
        for reading, over in trial.ratios
    )  # fmt: skip

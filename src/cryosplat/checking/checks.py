"""The check, in order: the table, the stacks, the images, the trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..estimate import expected_cost
from ..notes import Note
from ..particles import Particles, StackFaults
from ..progress import Progress, duration
from ._half_sets import half_set_item
from ._images import SAMPLE, Pixels, image_items, measure, spread_evenly
from ._optics import optics_items
from ._poses import pose_items
from ._processing import processing_items
from ._stacks import stack_items
from .hypotheses import independent_units
from .readings import BY_IMAGES, BY_TABLE, OVERFOCUS, Reading
from .trial import (
    ERRORS,
    FEWEST,
    run_trial,
    skipped_item,
    to_plain,
    too_few_item,
    trial_items,
)
from .values import Item, Report

_OWN_ITEMS = {"half-sets-one-value", "images-repeated", "stacks-respelled"}
"""Codes of readers' notes that other items cover in more detail."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """A report, and what a corrected file needs: the ``readings`` to apply and the rows (n,) that
    are ``useless``, as far as images were read."""

    report: Report
    readings: tuple[Reading, ...]
    useless: NDArray[np.bool_]


def check_particles(
    read: Callable[[StackFaults], Particles], progress: Progress, *, all_images: bool = False,
    trial: bool = True,
) -> tuple[Particles, CheckResult]:  # fmt: skip
    """Check the particles of ``read``, which collects faults of the stacks in its argument.

    ``all_images``: read every image and not a sample; ``trial``: test signs, units and conventions.
    Raises what ``read`` raises for a table that cannot be understood.
    """
    begin = time.perf_counter()
    faults = StackFaults()
    with progress.stage("table and headers", None, "rows"):
        particles = read(faults)
        items = table_items(particles, faults)
    codes = _codes(items)
    corrections = [BY_TABLE[code] for code in BY_TABLE if code in codes]
    useless = faults.without_image[particles.images.row - 1]  # a copy; some rows of the table
    present = np.flatnonzero(~useless)
    pixels = None
    if len(present):
        with progress.stage("images", None, "images"):
            pixels = _measure_sample(particles, present, all_images)
        useless[pixels.unusable] = True
        items.extend(image_items(particles, pixels))
        items.extend(processing_items(particles, pixels.usable))
    codes = _codes(items)
    corrections.extend(BY_IMAGES[code] for code in BY_IMAGES if code in codes)
    results = ()
    if trial and pixels is not None:
        corrected = particles
        for reading in corrections:
            if reading is not OVERFOCUS:
                corrected = reading.apply(corrected)
        more, preferred, results = _make_trial(corrected, pixels, codes, progress)
        items = [*resolve_overfocus(items, results), *more]
        reversed_ = any(reading.code == "defocus-negated" for reading in preferred)
        if reversed_ or OVERFOCUS.code not in _codes(items):
            corrections = [reading for reading in corrections if reading is not OVERFOCUS]
        corrections.extend(preferred)
    items.append(_cost(particles))
    report = Report(
        str(particles.source), len(particles), tuple(items), results, time.perf_counter() - begin
    )
    return particles, CheckResult(report, tuple(corrections), useless)


def table_items(particles: Particles, faults: StackFaults) -> list[Item]:
    """All items on the table and the headers of the stacks, without a pixel."""
    items = [
        *stack_items(particles, faults), half_set_item(particles), *optics_items(particles),
        *pose_items(particles),
    ]  # fmt: skip
    notes = tuple(note for note in particles.notes if note.code not in _OWN_ITEMS)
    if notes:
        items.append(Item("table notes", f"{len(notes)}", notes))
    return items


def _codes(items: Iterable[Item]) -> set[str]:
    return {finding.code for item in items for finding in item.findings}


def resolve_overfocus(items: list[Item], results: Sequence[dict[str, Any]]) -> list[Item]:
    """The items, without the alarm on a negative defocus where the images confirm it."""
    against = next((r for r in results if r["reading"] == "defocus-negated"), None)
    if against is None or against["standard_errors"] > -ERRORS:
        return items
    note = Note(
        "defocus-overfocus", "note",
        f"The defocus is negative in every row, which the images confirm by "
        f"{-against['nats']:,.0f} nats: they were taken overfocus.",
    )  # fmt: skip
    return [
        replace(
            item, findings=tuple(note if f.code == OVERFOCUS.code else f for f in item.findings)
        )
        for item in items
    ]


def unreadable_report(source: Path, error: InputError) -> Report:
    """The report on a table that the reader refuses: one alarm with its message."""
    finding = Note("unreadable", "alarm", str(error))
    return Report(str(source), 0, (Item("table", "cannot be used", (finding,)),))


def _measure_sample(particles: Particles, present: NDArray[np.int64], all_images: bool) -> Pixels:
    if all_images:
        return measure(particles, present, np.inf)
    return measure(particles, spread_evenly(present, SAMPLE))


def _make_trial(
    particles: Particles, pixels: Pixels, codes: set[str], progress: Progress
) -> tuple[list[Item], list[Reading], tuple]:
    hopeless = codes & {
        "angles-zero", "angles-equal", "defocus-zero", "pixel-size-impossible", "box-size-table",
        *BY_IMAGES,
    }  # fmt: skip
    usable = spread_evenly(pixels.usable, SAMPLE)
    if hopeless:
        return [skipped_item(hopeless)], [], ()
    units = np.unique(independent_units(particles[usable]))
    if len(units) < FEWEST:
        return [too_few_item(len(units))], [], ()
    with progress.stage("trial of signs, units and conventions", None, "readings") as stage:
        trial = run_trial(particles, torch.from_numpy(usable), stage.advance)
    preferred = [preference.reading for preference in trial.preferences]
    return trial_items(particles, trial), preferred, to_plain(trial)


def _cost(particles: Particles) -> Item:
    cost = expected_cost(len(particles), particles.box_size, torch.get_num_threads())
    return Item(
        "cost", f"about {cost.memory / 1e9:.1f} GB of memory and {duration(cost.seconds)} for "
        f"cryosplat reconstruct, threads: {torch.get_num_threads()}",
    )  # fmt: skip

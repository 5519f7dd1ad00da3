"""Everything that is looked at, in order: the table, the stacks, the images, the trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
from ..progress import Progress
from ._half_sets import half_set_item
from ._images import SAMPLE, Pixels, image_items, measure, spread_evenly
from ._optics import optics_items
from ._poses import pose_items
from ._processing import processing_items
from ._stacks import stack_items
from .hypotheses import independent_units
from .readings import BY_IMAGES, BY_TABLE, OVERFOCUS, Reading
from .trial import ERRORS, FEWEST, run_trial, to_plain, too_few, trial_items
from .values import Item, Report

_OWN_ITEMS = {"half-sets-one-value", "images-repeated", "stacks-respelled"}
"""Codes of reader's notes on what items of their own look at more closely."""


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A report, and what a corrected file needs: the ``readings`` to apply and the rows (n,) that
    are ``useless``, as far as images were looked at."""

    report: Report
    readings: tuple[Reading, ...]
    useless: NDArray[np.bool_]


def check_particles(
    read: Callable[[StackFaults], Particles], progress: Progress, *, all_images: bool = False,
    trial: bool = True,
) -> tuple[Particles, Checked]:  # fmt: skip
    """Check what ``read`` gives, which is told to collect the faults of stacks.

    ``all_images``: look at every image and not at a sample; ``trial``: make the trial of signs, units
    and conventions. Raises what ``read`` raises: a table that cannot be understood.
    """
    begin = time.perf_counter()
    faults = StackFaults()
    with progress.stage("table and headers", None, "rows"):
        particles = read(faults)
        items = table_items(particles, faults)
    codes = {finding.code for item in items for finding in item.findings}
    corrections = [BY_TABLE[code] for code in BY_TABLE if code in codes]
    useless = _without_image(particles, faults)
    present = np.flatnonzero(~useless)
    pixels = None
    if len(present):
        with progress.stage("images", None, "images"):
            pixels = _looked_at(particles, present, all_images)
        useless[pixels.unusable] = True
        items.extend(image_items(particles, pixels))
        items.extend(processing_items(particles, pixels.usable))
    codes = {finding.code for item in items for finding in item.findings}
    corrections.extend(BY_IMAGES[code] for code in BY_IMAGES if code in codes)
    results = ()
    if trial and pixels is not None:
        corrected = particles
        for reading in corrections:
            if reading is not OVERFOCUS:
                corrected = reading.applied(corrected)
        found, accepted, results = _tried(corrected, pixels, codes, progress)
        items = [*overfocus_judged(items, results), *found]
        if any(reading.code == "defocus-negated" for reading in accepted) or (
            OVERFOCUS.code not in {f.code for item in items for f in item.findings}
        ):
            corrections = [reading for reading in corrections if reading is not OVERFOCUS]
        corrections.extend(accepted)
    items.append(_cost(particles))
    report = Report(
        str(particles.source), len(particles), tuple(items), results, time.perf_counter() - begin
    )
    return particles, Checked(report, tuple(corrections), useless)


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


def overfocus_judged(items: list[Item], results: Sequence[dict[str, Any]]) -> list[Item]:
    """The items, without the alarm on a negative defocus where the images say that it is right."""
    against = next((r for r in results if r["reading"] == "defocus-negated"), None)
    if against is None or against["standard_errors"] > -ERRORS:
        return items
    told = Note(
        "defocus-overfocus", "note",
        f"The defocus is negative in every row, and the images agree, by "
        f"{-against['nats']:,.0f} nats: they were taken overfocus.",
    )  # fmt: skip
    return [
        replace(
            item, findings=tuple(told if f.code == OVERFOCUS.code else f for f in item.findings)
        )
        for item in items
    ]


def unreadable(source: Path, error: InputError) -> Report:
    """The report on a table that the reader refuses: one alarm with its message."""
    finding = Note("unreadable", "alarm", str(error))
    return Report(str(source), 0, (Item("table", "cannot be used", (finding,)),))


def _without_image(particles: Particles, faults: StackFaults) -> NDArray[np.bool_]:
    """Rows of ``particles``, which may be some of the table's, whose image is missing."""
    return faults.without_image[particles.images.row - 1].copy()


def _looked_at(particles: Particles, present: NDArray[np.int64], all_images: bool) -> Pixels:
    if all_images:
        return measure(particles, present, np.inf)
    return measure(particles, spread_evenly(present, SAMPLE))


def _tried(
    particles: Particles, pixels: Pixels, codes: set[str], progress: Progress
) -> tuple[list[Item], list[Reading], tuple]:
    hopeless = codes & {
        "angles-zero", "angles-equal", "defocus-zero", "pixel-size", "box-size-table", *BY_IMAGES,
    }  # fmt: skip
    usable = spread_evenly(pixels.usable, SAMPLE)
    if hopeless:
        remark = f"not made: {', '.join(sorted(hopeless))} first"
        return [Item("trial", remark)], [], ()
    units = np.unique(independent_units(particles[usable]))
    if len(units) < FEWEST:
        return [too_few(len(units))], [], ()
    with progress.stage("trial of signs, units and conventions", None, "readings") as stage:
        trial = run_trial(particles, torch.from_numpy(usable), stage.advance)
    accepted = [a.reading for a in trial.accepted]
    return trial_items(particles, trial), accepted, to_plain(trial)


def _cost(particles: Particles) -> Item:
    cost = expected_cost(len(particles), particles.box_size, torch.get_num_threads())
    return Item(
        "cost", f"about {cost.memory / 1e9:.1f} GB of memory and {cost.seconds / 60:.0f} min for "
        f"cryosplat reconstruct, {torch.get_num_threads()} threads",
    )  # fmt: skip

"""Faults that only the pixels show: each planted alone in a clean set, each found and listed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from noting import states
from planted import PlantedSet

from cryosplat.checking import _images
from cryosplat.particles import read_particles

Damage = Callable[[np.ndarray], np.ndarray | None]


def not_numbers(images: np.ndarray) -> None:
    images[[3, 17], 5, 5] = np.nan, np.inf


def constant(images: np.ndarray) -> None:
    images[9] = 1.0


def hot_pixel(images: np.ndarray) -> None:
    images[11, 4, 4] = 300.0


def bright_image(images: np.ndarray) -> None:
    images[12] *= 30.0


def crystal(images: np.ndarray) -> None:
    images[5, 6:18, 6:18] += 5.0


def raw_levels(images: np.ndarray) -> None:
    images *= 12.0
    images += 100.0


FAULTS: dict[str, tuple[str, tuple[object, ...], Damage]] = {
    "images-nan": ("alarm", ("2 of 240", "1e+09", "row 4"), not_numbers),
    "images-constant": ("alarm", ("1 of 240", "row 10 "), constant),
    "pixels-outlying": ("note", ("1 of 240", "row 12 (image 12 of particles.mrcs)"), hot_pixel),
    "backgrounds-uneven": (
        "note",
        ("1 of 240", "row 13 (image 13 of particles.mrcs)"),
        bright_image,
    ),
    "images-left-out": ("warning", ("1 of 240", "row 6 (image 6 of particles.mrcs)"), crystal),
    "background-not-normalised": ("note", ("mean 100", "deviation 12"), raw_levels),
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_is_found(clean: PlantedSet, code: str) -> None:
    severity, values, damage = FAULTS[code]
    images = clean.images()
    damage(images)
    clean.restack(images)
    _, checked = clean.check()
    found = {finding.code: finding for finding in checked.report.findings()}
    assert found[code].severity == severity
    assert states(found[code], *values)
    assert checked.report.codes("alarm") <= {code}


def test_images_cut_to_a_circle_are_no_fault_and_said(clean: PlantedSet) -> None:
    images = clean.images()
    axis = np.arange(images.shape[-1]) - images.shape[-1] // 2
    images[:, np.hypot(axis[:, None], axis[None]) > images.shape[-1] // 2 - 1] = 0.0
    clean.restack(images)
    _, checked = clean.check(trial=True)
    (item,) = (item for item in checked.report.items if item.title == "background")
    assert "ring inside the circle" in item.text and not item.findings
    assert checked.report.codes("alarm") == checked.report.codes("warning") == set()


def test_unusable_images_are_useless_and_do_not_stop_the_check(clean: PlantedSet) -> None:
    images = clean.images()
    not_numbers(images)
    constant(images)
    clean.restack(images)
    _, checked = clean.check(trial=True)
    np.testing.assert_array_equal(np.flatnonzero(checked.useless), [3, 9, 17])
    (trial,) = (item for item in checked.report.items if item.title == "trial")
    assert trial.text.startswith("237 particles at 24 px")
    assert trial.status != "alarm"


def test_a_stack_cut_after_it_was_opened_is_listed(clean: PlantedSet) -> None:
    path = clean.restack(clean.images())
    particles = read_particles(clean.write())
    path.write_bytes(path.read_bytes()[:-1000])
    pixels = _images.measure(particles, np.arange(clean.n))
    assert len(pixels.unread) > 0
    assert clean.n - 1 in pixels.unusable
    (item, *_) = _images.image_items(particles, pixels)
    assert "images-unreadable" in {finding.code for finding in item.findings}

"""Faults that table and headers give away: each planted alone in a clean set, each found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from noting import states
from planted import BOX, PIXEL_SIZE, PlantedSet, planted

from cryosplat.checking import check_particles
from cryosplat.io.mrc import write_stack
from cryosplat.particles import Selection, read_particles
from cryosplat.progress import SilentProgress

Plant = Callable[[PlantedSet], object]


def missing_stacks(s: PlantedSet) -> None:
    s.name("Extract/job007/gone_a.mrcs", slice(0, 20))
    s.name("Extract/job007/gone_b.mrcs", slice(20, 50))


def cut_stack(s: PlantedSet) -> None:
    path = s.folder / "cut.mrcs"
    path.write_bytes(s.stack.read_bytes()[:-1000])
    s.name(str(path), slice(0, 10))


def respelled_stack(s: PlantedSet) -> None:
    (s.folder / "particles.mrcs").symlink_to(s.stack)
    s.name("particles.mrc")


def relocated_stack(s: PlantedSet) -> None:
    elsewhere = s.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "particles.mrcs").symlink_to(s.stack)
    s.options["datadir"] = elsewhere
    s.name("/scratch/of/another/machine/particles.mrcs")


def ambiguous_stacks(s: PlantedSet) -> None:
    relocated_stack(s)
    s.name("/scratch/day_1/particles.mrcs", slice(0, 20))


def past_the_end(s: PlantedSet) -> None:
    s.rows.loc[3, "rlnImageName"] = f"{s.n + 5:06d}@{s.stack}"


def header_pixel_size(s: PlantedSet) -> None:
    s.restack(s.images(), 1.2 * PIXEL_SIZE)


def other_box(s: PlantedSet) -> None:
    write_stack(s.folder / "small.mrcs", s.images()[:, 2:-2, 2:-2], PIXEL_SIZE)
    s.name(str(s.folder / "small.mrcs"), slice(0, 30))


def duplicate_rows(s: PlantedSet) -> None:
    s.rows.loc[[10, 12], "rlnImageName"] = s.rows.loc[[0, 2], "rlnImageName"].to_numpy()


def duplicates_across(s: PlantedSet) -> None:
    s.rows.loc[[11, 13], "rlnImageName"] = s.rows.loc[[0, 2], "rlnImageName"].to_numpy()


def same_places(s: PlantedSet) -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(100, 4000, (s.n, 2)).round(2)
    places[6] = places[4]
    s.rows[["rlnCoordinateX", "rlnCoordinateY"]] = places
    s.rows["rlnMicrographName"] = "m1.mrc"


def filaments(s: PlantedSet) -> None:
    s.rows["rlnHelicalTubeID"] = np.arange(s.n) // 10 + 1


def set_all(**values: object) -> Plant:
    def plant(s: PlantedSet) -> None:
        for label, value in values.items():
            table = s.optics if label in s.optics else s.rows
            table[label] = value

    return plant


def scale(labels: str, factor: float) -> Plant:
    def plant(s: PlantedSet) -> None:
        for label in labels.split():
            s.rows[label] = s.rows[label] * factor

    return plant


def astigmatism(s: PlantedSet) -> None:
    s.rows.loc[5, "rlnDefocusU"] = s.rows.loc[5, "rlnDefocusV"] + 7000.0


def cone(s: PlantedSet) -> None:
    s.rows["rlnAngleTilt"] = s.rows["rlnAngleTilt"] * 0.05


def radian(labels: str) -> Plant:
    return scale(labels, np.pi / 180.0)


def phase_plate(s: PlantedSet) -> None:
    s.rows["rlnPhaseShift"] = np.random.default_rng(0).uniform(0.5, 2.0, s.n)


def two_pixel_sizes(s: PlantedSet) -> None:
    s.optics = s.optics.loc[[0, 0]].reset_index(drop=True)
    s.optics["rlnOpticsGroup"] = [1, 2]
    s.optics["rlnOpticsGroupName"] = ["a", "b"]
    s.optics["rlnImagePixelSize"] = [PIXEL_SIZE, 1.01 * PIXEL_SIZE]
    s.rows["rlnOpticsGroup"] = np.arange(s.n) % 2 + 1


def awkward_box(s: PlantedSet) -> None:
    images = np.random.default_rng(0).normal(size=(s.n, 22, 22)).astype(np.float32)
    s.restack(images)
    s.optics["rlnImageSize"] = 22


def one_defocus_zero(s: PlantedSet) -> None:
    s.rows.loc[7, ["rlnDefocusU", "rlnDefocusV"]] = 0.0


def one_overfocus(s: PlantedSet) -> None:
    s.rows.loc[7, ["rlnDefocusU", "rlnDefocusV"]] = -9000.0


FAULTS: dict[str, tuple[str, Plant]] = {
    "stacks-missing": ("alarm", missing_stacks),
    "stacks-unreadable": ("alarm", cut_stack),
    "stacks-ambiguous": ("alarm", ambiguous_stacks),
    "stacks-respelled": ("note", respelled_stack),
    "stacks-relocated": ("note", relocated_stack),
    "sections-missing": ("alarm", past_the_end),
    "pixel-size-header": ("warning", header_pixel_size),
    "box-size-table": ("alarm", other_box),
    "duplicates": ("warning", duplicate_rows),
    "duplicates-across-half-sets": ("alarm", duplicates_across),
    "half-sets-missing": ("note", lambda s: s.rows.pop("rlnRandomSubset")),
    "half-sets-one-value": ("warning", set_all(rlnRandomSubset=2)),
    "half-sets-unequal": (
        "warning", lambda s: s.rows.update({"rlnRandomSubset": (np.arange(s.n) % 4 > 0) + 1}),
    ),
    "filaments-split": ("alarm", filaments),
    "micrographs-split": ("note", set_all(rlnMicrographName="m1.mrc")),
    "voltage-unusual": ("warning", set_all(rlnVoltage=30.0)),
    "spherical-aberration-unusual": ("warning", set_all(rlnSphericalAberration=0.0)),
    "amplitude-contrast-unusual": ("warning", set_all(rlnAmplitudeContrast=0.7)),
    "defocus-micrometre": ("alarm", scale("rlnDefocusU rlnDefocusV", 1e-4)),
    "defocus-negative": ("alarm", scale("rlnDefocusU rlnDefocusV", -1.0)),
    "defocus-overfocus": ("warning", one_overfocus),
    "defocus-zero": ("alarm", set_all(rlnDefocusU=0.0, rlnDefocusV=0.0)),
    "defocus-zero-rows": ("warning", one_defocus_zero),
    "defocus-range": ("warning", scale("rlnDefocusU rlnDefocusV", 10.0)),
    "astigmatism-large": ("warning", astigmatism),
    "defocus-angle-radian": ("alarm", radian("rlnDefocusAngle")),
    "phase-shift-radian": ("alarm", phase_plate),
    "angles-zero": ("alarm", set_all(rlnAngleRot=0.0, rlnAngleTilt=0.0, rlnAnglePsi=0.0)),
    "angles-equal": ("alarm", set_all(rlnAngleRot=10.0, rlnAngleTilt=20.0, rlnAnglePsi=30.0)),
    "angles-radian": ("alarm", radian("rlnAngleRot rlnAngleTilt rlnAnglePsi")),
    "tilt-range": ("warning", lambda s: s.rows.update({"rlnAngleTilt": s.rows["rlnAngleRot"]})),
    "views-missing": ("warning", cone),
    "origins-large": ("warning", scale("rlnOriginXAngst rlnOriginYAngst", PIXEL_SIZE)),
    "pixel-size-impossible": ("alarm", set_all(rlnImagePixelSize=120.0)),
    "pixel-sizes-differ": ("note", two_pixel_sizes),
    "box-size-fft": ("note", awkward_box),
    "delocalisation": ("warning", scale("rlnDefocusU rlnDefocusV", 1.9)),
    "classes-mixed": ("warning", lambda s: s.rows.insert(0, "rlnClassNumber", np.arange(s.n) % 3)),
}  # fmt: skip
HARMLESS = {"delocalisation", "micrographs-split"}  # of the clean set


def test_the_clean_set_has_nothing_to_complain_of(clean: PlantedSet) -> None:
    _, checked = clean.check()
    assert checked.report.codes("alarm") == set()
    assert checked.report.codes("warning") == set()
    assert checked.report.codes() <= HARMLESS
    assert not checked.readings
    assert not checked.useless.any()


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_is_found(clean: PlantedSet, code: str) -> None:
    severity, plant = FAULTS[code]
    plant(clean)
    _, checked = clean.check()
    found = {finding.code: finding for finding in checked.report.findings()}
    assert code in found
    assert found[code].severity == severity
    assert found[code].remedy or severity == "note"
    # one fault, one complaint: what else is said is said of the clean set too, or follows from it
    others = {f.code for f in found.values() if f.severity == "alarm"} - {code}
    assert not others
    assert checked.report.has_alarm == (severity == "alarm")


def test_all_missing_stacks_are_counted(clean: PlantedSet) -> None:
    missing_stacks(clean)
    _, checked = clean.check()
    (finding,) = (f for f in checked.report.findings() if f.code == "stacks-missing")
    assert states(finding, "2 of 3", "50 of 240", "gone_a.mrcs, Extract/job007/gone_b.mrcs")
    assert checked.useless.sum() == 50


def test_stacks_that_may_be_others_are_not_used(clean: PlantedSet) -> None:
    ambiguous_stacks(clean)
    _, checked = clean.check()
    (finding,) = (f for f in checked.report.findings() if f.code == "stacks-ambiguous")
    assert states(finding, 2, "240 of 240")
    assert checked.useless.all()


def test_a_table_without_any_stack_is_checked_all_the_same(clean: PlantedSet) -> None:
    clean.name("Extract/job007/gone.mrcs")
    clean.rows[["rlnDefocusU", "rlnDefocusV"]] *= 1e-4
    _, checked = clean.check(trial=True)
    assert {"stacks-missing", "defocus-micrometre"} <= checked.report.codes("alarm")
    assert checked.useless.all()


def test_places_count_as_duplicates_across_stacks(clean: PlantedSet) -> None:
    same_places(clean)
    _, checked = clean.check()
    (finding,) = (f for f in checked.report.findings() if f.code == "duplicates")
    assert states(finding, "1 of 240", "micrograph", "(row 7)")


def test_one_image_with_several_poses_hints_at_symmetry_expansion(clean: PlantedSet) -> None:
    duplicate_rows(clean)
    _, checked = clean.check()
    (finding,) = (f for f in checked.report.findings() if f.code == "duplicates")
    assert states(finding, "symmetry-expanded")


def test_a_selection_keeps_the_rows_of_its_faults(clean: PlantedSet) -> None:
    missing_stacks(clean)
    path = clean.write()
    chosen = Selection(expression="rlnRandomSubset = 1")
    particles, checked = check_particles(
        lambda faults: chosen.apply(read_particles(path, faults=faults)),
        SilentProgress(), trial=False,
    )  # fmt: skip
    assert len(particles) == clean.n // 2
    np.testing.assert_array_equal(np.flatnonzero(checked.useless), np.arange(25))


def test_boxes_and_aberrations_are_described(
    simulated: Callable[..., Path], tmp_path: Path
) -> None:
    tilted = planted(simulated(beam_tilt=(1e-3, 0.0)), tmp_path)
    _, checked = tilted.check()
    texts = {item.title: item.text for item in checked.report.items}
    assert texts["optics"].endswith("; odd aberrations")
    assert texts["box"] == f"{BOX} px, {BOX * PIXEL_SIZE:.0f} Å"

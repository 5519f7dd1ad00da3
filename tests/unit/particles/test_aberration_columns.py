"""Aberrations, magnification and doses of star files: what becomes of each column."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from data_sets import DataSet, star_block
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from noting import only, states, warnings

from cryosplat.errors import CryosplatError, StarError
from cryosplat.io.star import read_star
from cryosplat.notes import codes
from cryosplat.optics import OpticsGroup, beam_tilt, even_phase, odd_phase
from cryosplat.particles import Particles, read_particles, write_cryodrgn, write_particles

Star = Callable[..., Path]
ODD = (0.5, -0.25, 3.0, 0.0, 0.0, -4.0)
EVEN = (1.0, 2.0, -3.0, 0.5, 8.0, 1.0, 2.0, 0.0, -6.0)
MATRIX = (1.01, 0.002, -0.003, 0.99)


def _list(values: tuple[float, ...]) -> str:
    return f"[{','.join(map(str, values))}]"


def _all(prefix: str = "optics_", n: int = 1) -> dict[str, list[object]]:
    columns: dict[str, object] = {
        "rlnBeamTiltX": 0.31, "rlnBeamTiltY": -0.12, "rlnOddZernike": _list(ODD),
        "rlnEvenZernike": _list(EVEN),
        **{f"rlnMagMat{i}": v for i, v in zip(("00", "01", "10", "11"), MATRIX, strict=True)},
    }  # fmt: skip
    return {f"{prefix}{label}": [value] * n for label, value in columns.items()}


def _group(particles: Particles) -> OpticsGroup:
    (group,) = particles.optics.groups
    return group


@pytest.mark.parametrize("where", ["optics table", "rows"])
def test_every_column_is_applied(data_set: DataSet, star: Star, where: str) -> None:
    path = star(**(_all() if where == "optics table" else _all("", data_set.n)))
    particles = read_particles(path)
    group = _group(particles)
    tilt = beam_tilt(group, 0.31e-3, -0.12e-3)
    np.testing.assert_allclose(group.odd, np.add(ODD, tilt), rtol=1e-12)
    assert group.even == EVEN and group.magnification == MATRIX
    # -2 pi Cs lambda^2 (t.s) |s|^2, and the list's trefoil, at one frequency
    s = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    straight = OpticsGroup("", 1.5, 8, 3e5, 2.7e7, 0.1, odd=tilt)
    expected = -2 * math.pi * 2.7e7 * group.wavelength**2 * (0.031 - 0.024) * 1e-3 * 0.05
    assert float(odd_phase(straight, s)) == pytest.approx(expected, rel=1e-9)
    assert len(particles.notes) == 4


def test_notes_tell_the_size_of_each_effect(star: Star) -> None:
    particles = read_particles(star(**_all()))
    group = _group(particles)
    nyquist = 1 / 3.0
    turn = 2 * math.pi * 2.7e7 * group.wavelength**2 * math.hypot(0.31e-3, 0.12e-3) * nyquist**3
    tilt, odd, even, magnification = particles.notes
    assert {note.code for note in (tilt, odd, even)} == {"aberration-applied"}
    degrees = f"{math.degrees(turn):.0f} degrees"
    assert states(tilt, "'optics1'", "rlnBeamTilt", "(0.31, -0.12) mrad", degrees, "(3 A)")
    assert states(odd, "rlnOddZernike", "(3 A)")
    angles = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)
    circle = torch.stack([torch.cos(angles), torch.sin(angles)], -1) * nyquist
    straight = OpticsGroup("", 1.5, 8, 3e5, 2.7e7, 0.1, even=EVEN)
    most = math.degrees(float(even_phase(straight, circle).abs().max()))
    assert states(even, f"{most:.0f} degrees")
    assert magnification.code == "magnification-applied"
    assert states(magnification, "rlnMagMat", "-1.00 % to +1.00 %", "0.06 A")


def test_the_largest_of_many_groups_is_told_in_one_line(data_set: DataSet, star: Star) -> None:
    tilt = np.linspace(-0.6, 0.5, data_set.n)
    (note,) = read_particles(star(rlnBeamTiltX=tilt)).notes
    assert note.code == "aberration-applied" and states(note, "(-0.6, 0) mrad", 12)


def test_the_optics_table_comes_before_the_rows_and_that_is_said(
    data_set: DataSet, star: Star
) -> None:
    """As in RELION, whose aberrations are those of the optics table where there is one."""
    path = star(optics_rlnEvenZernike=["[1,2]"], rlnEvenZernike=["[3,4]"] * data_set.n)
    particles = read_particles(path)
    assert _group(particles).even == (1.0, 2.0)
    assert states(only(particles.notes, "row-columns-unused"), "rlnEvenZernike")


def test_rows_that_repeat_the_optics_table_are_not_mentioned(data_set: DataSet, star: Star) -> None:
    path = star(optics_rlnBeamTiltX=["0.50"], rlnBeamTiltX=["0.5"] * data_set.n)
    assert "row-columns-unused" not in codes(read_particles(path).notes)


def test_a_beam_tilt_takes_the_place_of_coma(star: Star) -> None:
    """As in RELION, for any table that has its columns; the coma that is left out is told."""
    path = star(optics_rlnBeamTiltX=[0.0], optics_rlnOddZernike=["[0,0,1,20,-30,2]"])
    particles = read_particles(path)
    assert _group(particles).odd == (0.0, 0.0, 1.0, 0.0, 0.0, 2.0)
    assert warnings(particles.notes) == ["aberration-not-applied"]
    assert states(only(particles.notes, "aberration-not-applied"), "coma", "rlnOddZernike")
    alone = read_particles(star(optics_rlnOddZernike=["[0,0,1,20,-30,2]"]))
    assert _group(alone).odd == (0.0, 0.0, 1.0, 20.0, -30.0, 2.0)


def test_neutral_values_leave_a_group_as_it_is(star: Star) -> None:
    path = star(optics_rlnBeamTiltX=[0.0], optics_rlnBeamTiltY=[0.0], optics_rlnMagMat00=[1.0],
                optics_rlnOddZernike=["[0,0,0,0,0,0]"], optics_rlnEvenZernike=["[]"],
                optics_rlnBeamTiltClass=[3])  # fmt: skip
    particles = read_particles(path)
    assert particles.notes == ()
    assert _group(particles) == _group(read_particles(star()))


def test_orders_beyond_the_sixth(star: Star) -> None:
    even = tuple([0.0] * 16 + [5.0])
    assert _group(read_particles(star(optics_rlnEvenZernike=[_list(even)]))).even == even


@pytest.mark.parametrize(
    ("column", "value", "fragment"),
    [
        ("rlnOddZernike", "0.1,0.2", "rlnOddZernike is '0.1,0.2', expected at most 110 numbers"),
        ("rlnOddZernike", "[0.1,,2]", "rlnOddZernike is '[0.1,,2]', expected"),
        ("rlnEvenZernike", "[1,nan]", "rlnEvenZernike is '[1,nan]', expected"),
        ("rlnEvenZernike", "[1_0]", "rlnEvenZernike is '[1_0]', expected"),
        ("rlnEvenZernike", "3.5", "rlnEvenZernike is '3.5', expected"),
        ("rlnEvenZernike", _list((0.1,) * 111), "expected at most 110 numbers in radian"),
        (
            "rlnEvenZernike",
            "[0,0,1e30]",
            "would change phases by 4.46e+31 degrees at Nyquist (3 A)",
        ),
        ("rlnBeamTiltX", "x", "rlnBeamTiltX is 'x', expected a number"),
        ("rlnMagMat01", 2.0, "magnification is (1.0, 2.0, 0.0, 1.0), expected a matrix near"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    star: Star, column: str, value: object, fragment: str
) -> None:
    with pytest.raises(StarError) as error:
        read_particles(star(**{f"optics_{column}": [value]}))
    assert fragment in str(error.value) and "Remedy: " in str(error.value)


_WORDS = st.text(alphabet="[]0123456789.,-+einfa_x\u00b2", min_size=1, max_size=12)
_COLUMNS = ("rlnBeamTiltX", "rlnOddZernike", "rlnEvenZernike", "rlnMagMat10", "rlnNormCorrection",
            "rlnCtfDataAreCtfPremultiplied", "rlnMicrographPreExposure", "rlnCtfBfactor",
            "rlnTomoName", "rlnGroupName", "cs/ctf/tilt_A/0")  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.dictionaries(st.sampled_from(_COLUMNS), _WORDS, min_size=1, max_size=4), st.booleans())
def test_any_words_end_in_our_errors(star: Star, words: dict[str, str], rows: bool) -> None:
    n = 12 if rows else 1
    path = star(**{("" if rows else "optics_") + c: [w] * n for c, w in words.items()})
    try:
        particles = read_particles(path)
        next(particles.batches())
        write_particles(particles, path.with_name("again.star"))
    except CryosplatError as error:
        assert str(error)


def test_star_to_star_keeps_all(data_set: DataSet, star: Star) -> None:
    path = star(
        **_all(), optics_rlnCtfDataArePhaseFlipped=[1], optics_myOptics=["a"],
        rlnTomoParticleName=[f"TS/{i // 4}" for i in range(12)], myLabel=np.arange(12),
        rlnMicrographPreExposure=np.tile([0.0, 3.5, 7.0, 10.5], 3),
    )  # fmt: skip
    first = read_particles(path)
    second = read_particles(write_particles(first, data_set.folder / "b.star"))
    assert second.optics.groups == first.optics.groups
    assert _group(second).processing == "phase-flipped"
    for name in ("dose", "b_factor"):
        assert torch.equal(getattr(second.optics, name), getattr(first.optics, name))
    assert torch.equal(second.half_sets, first.half_sets)
    optics = read_star(data_set.folder / "b.star")["optics"]
    assert optics["rlnBeamTiltX"].tolist() == [0.31]
    assert optics["rlnOddZernike"].tolist() == [_list(ODD)]
    assert second.optics_table["myOptics"].tolist() == ["a"]
    assert second.table["myLabel"].tolist() == first.table["myLabel"].tolist()
    assert second.tilt_particles is not None and second.tilt_particles.tolist() == [
        i // 4 for i in range(12)
    ]


def test_pickles_lose_what_they_have_no_columns_for(data_set: DataSet, star: Star) -> None:
    path = star(
        **_all(), optics_rlnCtfDataAreCtfPremultiplied=[1], rlnTomoName=["TS"] * 12,
        rlnMicrographPreExposure=np.arange(12.0),
    )  # fmt: skip
    first = read_particles(path)
    folder = data_set.folder / "drgn"
    losses = write_cryodrgn(first, folder)
    assert states(only(losses, "aberration-not-written"), "(3 A, optics group 'optics1')")
    assert states(only(losses, "magnification-not-written"), "1 %")
    assert only(losses, "processing-not-written")
    assert states(only(losses, "dose-not-written"), "11 e/A^2")
    again = read_particles(folder / "particles.star")
    assert again.optics.groups == first.optics.groups
    with_ctf = read_particles(folder / "particles.star", ctf=folder / "ctf.pkl")
    assert _group(with_ctf).odd == pytest.approx(_group(first).odd, rel=1e-6)
    assert states(only(with_ctf.notes, "columns-replaced"), "rlnMicrographPreExposure")


def test_doses_of_tilt_series_take_the_place_of_b_factors(data_set: DataSet, star: Star) -> None:
    dose = np.tile([0.0, 3.0, 6.0, 120.0], 3)
    path = star(rlnMicrographPreExposure=dose, rlnTomoName=["TS"] * 12, rlnCtfBfactor=[9.0] * 12)
    particles = read_particles(path)
    np.testing.assert_array_equal(particles.optics.dose, dose)
    assert not particles.optics.b_factor.any()
    (note,) = particles.notes
    left = math.exp(-0.5 * 120 / (0.245 * 3.0**1.665 + 2.81))
    assert note.code == "dose-applied" and states(note, f"{100 * left:.2g} %", "(3 A)")
    with pytest.raises(StarError, match="rlnMicrographPreExposure is -3 for 9 rows"):
        read_particles(star(rlnMicrographPreExposure=-dose.clip(0, 3), rlnTomoName=["TS"] * 12))


def test_b_factors_of_either_sign(data_set: DataSet, star: Star) -> None:
    tilts = {"rlnGroupName": [f"ts_{i // 4}" for i in range(12)]}
    ranks = np.tile([1.0, 2.0, 3.0, 4.0], 3)
    particles = read_particles(star(rlnCtfBfactor=-13 * ranks, **tilts))
    np.testing.assert_array_equal(particles.optics.b_factor, 13 * ranks)
    assert particles.tilt_particles is not None
    assert particles.tilt_particles.tolist() == [i // 4 for i in range(12)]
    # of single particles, whose group is a micrograph, they stay what RELION takes them for
    particles = read_particles(star(rlnCtfBfactor=[-36.0] * 12, **tilts))
    assert set(particles.optics.b_factor.tolist()) == {-36.0} and particles.tilt_particles is None
    gain = math.exp(36 / 4 / 9)
    assert states(only(particles.notes, "b-factor-amplifies"), f"{gain:.3g}-fold", "(3 A)")


def test_grey_levels_that_relion_would_change_are_said(star: Star) -> None:
    assert read_particles(star(rlnNormCorrection=[0.6] * 12)).notes == ()
    (note,) = read_particles(star(rlnNormCorrection=[0.6] * 11 + [0.9])).notes
    assert note.code == "norm-correction-not-applied" and states(note, "0.6 to 0.9", "50 %")


def test_version_3_0_keeps_aberrations_in_its_rows(data_set: DataSet) -> None:
    n = data_set.n
    rows = {
        "rlnImageName": [f"{i + 1}@particles.mrcs" for i in range(n)],
        **{f"rlnAngle{a}": np.full(n, 20.0) for a in ("Rot", "Tilt", "Psi")},
        "rlnOriginX": np.zeros(n), "rlnOriginY": np.zeros(n), "rlnDefocusU": np.full(n, 1e4),
        "rlnVoltage": [300] * n, "rlnSphericalAberration": np.where(np.arange(n) < 6, 2.7, 1.4),
        "rlnAmplitudeContrast": [0.1] * n, "rlnMagnification": [40000] * n,
        "rlnDetectorPixelSize": [6] * n, "rlnBeamTiltX": [0.2] * n, "rlnBeamTiltY": [0.1] * n,
    }  # fmt: skip
    path = data_set.folder / "old.star"
    path.write_text(star_block("", rows))
    particles = read_particles(path)
    low, high = sorted(particles.optics.groups, key=lambda g: g.spherical_aberration)
    np.testing.assert_allclose(np.array(high.odd) / 2.7, np.array(low.odd) / 1.4, rtol=1e-12)
    new = write_particles(particles, data_set.folder / "new.star")
    again = read_particles(new)
    np.testing.assert_allclose(
        [g.odd for g in again.optics.groups], [g.odd for g in particles.optics.groups],
        **tolerances.TEXT,
    )  # fmt: skip
    assert "rlnBeamTiltX" not in read_star(new)["particles"]

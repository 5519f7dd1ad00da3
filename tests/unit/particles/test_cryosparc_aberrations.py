"""cryoSPARC's aberrations and magnification, against the wave aberration they are lengths of."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import DataSet, write_cs
from noting import only, states, warnings

from cryosplat.errors import CsError
from cryosplat.io.star import read_star
from cryosplat.optics import OpticsGroup, beam_tilt, even_phase, odd_phase
from cryosplat.particles import Particles, read_particles, write_particles

FIELDS = {"ctf__tilt_A": (4000.0, -2500.0), "ctf__trefoil_A": (700.0, 300.0),
          "ctf__tetra_A": (9e3, -4e3, 6e4, 2e4), "ctf__anisomag": (0.01, 0.003, -0.002, -0.015),
          }  # fmt: skip


def _read(data_set: DataSet, **fields: tuple[float, ...] | np.ndarray | None) -> Particles:
    held = {
        name: np.tile(np.array(values, np.float32), (data_set.n, 1))
        if isinstance(values, tuple) else values
        for name, values in fields.items()
    }  # fmt: skip
    return read_particles(write_cs(data_set, data_set.folder / "particles.cs", **held))


def _circle(group: OpticsGroup) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Frequencies (x, y) of all directions and two sizes, their sizes times lambda, and angles."""
    angle = np.tile(np.linspace(0, 2 * np.pi, 40), 2)
    size = np.repeat([0.11, 0.3], 40)
    frequencies = np.stack([np.cos(angle), np.sin(angle)], -1) * size[:, None]
    return torch.from_numpy(frequencies), group.wavelength * size, angle


def test_third_order_is_a_wave_aberration(data_set: DataSet) -> None:
    particles = _read(data_set, ctf__tilt_A=FIELDS["ctf__tilt_A"],
                      ctf__trefoil_A=FIELDS["ctf__trefoil_A"])  # fmt: skip
    (group,) = particles.optics.groups
    frequencies, w, angle = _circle(group)
    tilt, trefoil = FIELDS["ctf__tilt_A"], FIELDS["ctf__trefoil_A"]
    length = (tilt[0] * np.cos(angle) + tilt[1] * np.sin(angle)) * w**3
    length += (trefoil[0] * np.cos(3 * angle) + trefoil[1] * np.sin(3 * angle)) * w**3 / 3
    expected = -2 * np.pi / group.wavelength * length
    np.testing.assert_allclose(odd_phase(group, frequencies), expected, rtol=1e-7, atol=1e-9)


def test_the_tilt_is_that_of_relion(data_set: DataSet) -> None:
    (group,) = _read(data_set, ctf__tilt_A=FIELDS["ctf__tilt_A"]).optics.groups
    x, y = (math.asin(t / 2.7e7) for t in FIELDS["ctf__tilt_A"])
    assert group.odd == pytest.approx(beam_tilt(group, x, y), rel=1e-7)


def test_fourth_order_acts_as_cs_does(data_set: DataSet) -> None:
    tetra = FIELDS["ctf__tetra_A"]
    (group,) = _read(data_set, ctf__tetra_A=tetra).optics.groups
    frequencies, w, angle = _circle(group)
    length = (tetra[0] * np.cos(2 * angle) + tetra[1] * np.sin(2 * angle)) * w**4
    length += (tetra[2] * np.cos(4 * angle) + tetra[3] * np.sin(4 * angle)) * w**4 / 4
    expected = 2 * np.pi / group.wavelength * length  # gamma has + pi/2 Cs lambda^3 s^4
    np.testing.assert_allclose(even_phase(group, frequencies), expected, rtol=1e-7, atol=1e-9)


def test_anisomag_lacks_the_identity(data_set: DataSet) -> None:
    particles = _read(data_set, ctf__anisomag=FIELDS["ctf__anisomag"])
    (group,) = particles.optics.groups
    assert group.magnification == pytest.approx((1.01, 0.003, -0.002, 0.985), rel=1e-6)
    assert states(only(particles.notes, "magnification-applied"), "ctf/anisomag")


def test_notes_tell_the_size_of_each_effect(data_set: DataSet) -> None:
    notes = _read(data_set, **FIELDS).notes
    assert len(notes) == 5 and not warnings(notes)
    wavelength = OpticsGroup("", 1.5, 8, 3e5, 2.7e7, 0.1).wavelength
    turn = math.degrees(2 * math.pi * wavelength**2 * math.hypot(4000, 2500) / 27)
    tilt, trefoil, tetrafoil = (note for note in notes if note.code == "aberration-applied")
    assert states(tilt, "'exposureGroup3'", "ctf/tilt_A", "(4e+03, -2.5e+03) A")
    assert states(tilt, "(0.148, -0.0926 mrad)", "(3 A)", f"{turn:.0f} degrees")
    assert states(trefoil, "ctf/trefoil_A", "(700, 300) A")
    assert states(tetrafoil, "ctf/tetra_A", "(9e+03, -4e+03, 6e+04, 2e+04) A")
    assert states(only(notes, "aberration-undocumented"), "ctf/trefoil_A", "ctf/tetra_A")


def test_zeros_say_nothing(data_set: DataSet) -> None:
    zeros = {name: tuple(0.0 for _ in values) for name, values in FIELDS.items()}
    particles = _read(data_set, **zeros, ctf__shift_A=(0.0, 0.0))
    assert particles.notes == () and particles.optics.groups == _read(data_set).optics.groups


def test_what_no_model_here_has_is_told_with_its_size(data_set: DataSet) -> None:
    constant = np.full(data_set.n, -0.25, np.float32)
    shift, added = _read(data_set, ctf__shift_A=(0.3, -0.4), ctf__scale_const=constant).notes
    assert shift.code == "ctf-shift-not-applied"
    assert states(shift, "ctf/shift_A", "0.5 A", "(3 A)", "60 degrees")
    assert added.code == "ctf-constant-not-applied" and states(added, "ctf/scale_const", 0.25)


def test_rows_that_differ_are_different_groups(data_set: DataSet, monkeypatch) -> None:
    tilt = np.zeros((data_set.n, 2), np.float32)
    tilt[:5, 0], tilt[5:, 1] = 1000.0, 500.0
    particles = _read(data_set, ctf__tilt_A=tilt)
    assert [g.name for g in particles.optics.groups] == ["exposureGroup3_1", "exposureGroup3_2"]
    assert particles.optics.group.tolist() == [0] * 5 + [1] * 7
    assert states(only(particles.notes, "aberration-applied"), 2)
    monkeypatch.setattr("cryosplat.particles.cryosparc._aberrations.MOST_GROUPS", 1)
    particles = _read(data_set, ctf__tilt_A=tilt)
    assert not particles.optics.groups[0].odd
    (note,) = particles.notes
    assert (note.code, note.severity) == ("aberration-not-applied", "warning")
    assert states(note, "ctf/tilt_A", "(1e+03, 0) A", "more than 1 ", "(3 A)")
    assert particles.table["cs/ctf/tilt_A/0"].tolist() == tilt[:, 0].tolist()


@pytest.mark.parametrize(
    ("field", "values", "fragment"),
    [
        ("ctf__tetra_A", (1.0, 2.0), "ctf/tetra_A has 2 numbers per particle, expected 4"),
        ("ctf__tilt_A", (1.0, float("nan")), "row 1: ctf/tilt_A is 'nan', expected a number"),
        ("ctf__trefoil_A", (1e30, 0.0), "would change phases by"),
        ("ctf__anisomag", (1.0, 0.0, 0.0, 0.0), "magnification is (2.0, 0.0, 0.0, 1.0)"),
    ],
)
def test_impossible_values_are_refused(
    data_set: DataSet, field: str, values: tuple[float, ...], fragment: str
) -> None:
    with pytest.raises(CsError) as error:
        _read(data_set, **{field: values})
    assert fragment in str(error.value) and "Remedy: " in str(error.value)


def test_to_star_in_the_columns_of_relion(data_set: DataSet, tmp_path: Path) -> None:
    first = _read(data_set, **FIELDS)
    path = write_particles(first, tmp_path / "b.star")
    optics = read_star(path)["optics"]
    assert not {"rlnBeamTiltX", "rlnBeamTiltY"} & set(optics)
    assert {"rlnOddZernike", "rlnEvenZernike", "rlnMagMat00", "rlnMagMat11"} <= set(optics)
    second = read_particles(path)
    assert second.optics.groups == first.optics.groups
    assert not warnings(second.notes)
    third = write_particles(second, tmp_path / "c.star")
    assert third.read_bytes() == path.read_bytes()


def test_a_group_without_aberrations_stays_without(data_set: DataSet, tmp_path: Path) -> None:
    tetra = np.zeros((data_set.n, 4), np.float32)
    tetra[3:, 2] = 5e4
    first = _read(data_set, ctf__tetra_A=tetra)
    assert first.optics.groups[0].even == () != first.optics.groups[1].even
    second = read_particles(write_particles(first, tmp_path / "b.star"))
    assert second.optics.groups == first.optics.groups

"""Point groups: names that are taken and refused, group laws, and RELION's own matrices."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances

from cryosplat import ReconstructionSettings
from cryosplat.errors import SettingsError
from cryosplat.symmetry import order_of, rotations_of, stored, subgroups, symmetry_name

ORDERS = {
    "C1": 1, "C2": 2, "C3": 3, "C7": 7, "C14": 14, "D1": 2, "D2": 4, "D3": 6, "D7": 14, "T": 12,
    "O": 24, "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60,
}  # fmt: skip

RELION = {
    "C3": [[[-0.5, 0.86602539, 0], [-0.86602539, -0.5, 0], [0, 0, 1]]],
    "D3": [
        [[-0.5, 0.86602539, 0], [-0.86602539, -0.5, 0], [0, 0, 1]],
        [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    ],
    "T": [
        [[-0.5, 0.86602539, 0], [-0.86602539, -0.5, 0], [0, 0, 1]],
        [[-1, 0, 0], [0, 0.33333, 0.94281], [0, 0.94281, -0.33333]],
    ],
    "O": [[[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]],
    "I1": [
        [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
        [[0.80902, -0.5, -0.30902], [0.5, 0.30902, 0.80902], [-0.30902, -0.80902, 0.5]],
    ],
    "I2": [
        [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
        [[0.5, 0.80902, 0.30902], [-0.80902, 0.30902, 0.5], [0.30902, -0.5, 0.80902]],
    ],
    "I3": [
        [[-0.44721, 0, -0.89443], [0, -1, 0], [-0.89443, 0, 0.44721]],
        [[0.309017, 0.95105654, 0], [-0.95105654, 0.309017, 0], [0, 0, 1]],
    ],
    "I4": [
        [[-0.44721, 0, 0.89443], [0, -1, 0], [0.89443, 0, 0.44721]],
        [[0.8618, 0.42533, 0.27639], [-0.42533, 0.30902, 0.85065], [0.27639, -0.85065, 0.44721]],
    ],
}
"""Generators of each group as ``relion_refine --sym NAME --print_symmetry_ops`` (3.1) prints them."""


def _distance(matrix: np.ndarray, group: np.ndarray) -> float:
    """How far ``matrix`` is from the nearest of ``group``."""
    return float(np.abs(group - matrix).max((1, 2)).min())


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_a_group_is_a_group(name: str, order: int) -> None:
    """Of the right order, identity first, rotations all different, closed, with inverses."""
    group = rotations_of(name)
    assert group.shape == (order, 3, 3) and group.dtype == np.float64
    np.testing.assert_array_equal(group[0], np.eye(3))
    np.testing.assert_allclose(
        group @ group.transpose(0, 2, 1), np.tile(np.eye(3), (order, 1, 1)),
        **tolerances.ROTATION_FLOAT64,
    )  # fmt: skip
    np.testing.assert_allclose(np.linalg.det(group), 1.0, **tolerances.ROTATION_FLOAT64)
    apart = np.abs(group[:, None] - group).max((2, 3)) + np.eye(order)
    assert apart.min() > 0.05
    limit = tolerances.ROTATION_FLOAT64["atol"]
    assert max(_distance(a @ b, group) for a in group for b in group) < limit
    assert max(_distance(a.T, group) for a in group) < limit


@pytest.mark.parametrize("name", RELION)
def test_axes_are_relions(name: str) -> None:
    group = rotations_of(name)
    for printed in RELION[name]:
        assert _distance(np.array(printed), group) < tolerances.FIVE_DIGITS


def test_settings_of_one_group_differ() -> None:
    """I1 to I4 are four, and T is no part of O: its 3-fold axis is on z, where O has a 4-fold one."""
    for name in ("I2", "I3", "I4"):
        assert max(_distance(m, rotations_of("I1")) for m in rotations_of(name)) > 0.1
    assert max(_distance(m, rotations_of("O")) for m in rotations_of("T")) > 0.1
    np.testing.assert_array_equal(rotations_of("I"), rotations_of("I2"))


@pytest.mark.parametrize(
    ("given", "name"), [("c3", "C3"), (" D7 ", "D7"), ("i", "I2"), ("o", "O"), ("C99", "C99")]
)
def test_names_are_taken_in_any_case(given: str, name: str) -> None:
    assert symmetry_name(given) == name
    assert ReconstructionSettings(symmetry=given).symmetry == name


@pytest.mark.parametrize(
    "given",
    ["", "C0", "C", "D", "C100", "C03", "C-1", "C3v", "I5", "Oh", "TH", "S4", "C²", 3, None],
)
def test_other_names_are_refused_with_those_allowed(given: object) -> None:
    with pytest.raises(
        SettingsError, match=r"expected C1 to C99, D1 to D99, T, O, I \(that is I2\)"
    ):
        symmetry_name(given)  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match="settings: symmetry is"):
        ReconstructionSettings.from_dict({"symmetry": given})


def test_at_least_one_gaussian_is_stored() -> None:
    assert [stored(k, "D7") for k in (1, 20, 1400, 1405)] == [1, 1, 100, 100]
    assert order_of("D7") == 14


def test_rotations_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        rotations_of("C3")[0] = 0.0


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("C1", ()), ("C3", ("C1",)), ("C6", ("C1", "C2", "C3")), ("D7", ("C1", "C7", "D1")),
        ("D4", ("C1", "C4", "D2")), ("T", ("C1", "C3")), ("O", ("C1", "D4")),
        ("I2", ("C1", "D2")), ("I3", ("C1", "C5")),
    ],
)  # fmt: skip
def test_largest_parts_of_a_group_have_names(name: str, parts: tuple[str, ...]) -> None:
    assert subgroups(name) == parts

"""Settings: what is accepted, what is refused and how, and the way through TOML."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryosplat import ReconstructionSettings, SettingsError
from cryosplat.settings import ImageSchedule


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gaussians": 7}, "gaussians is 7, expected a whole number from 8 to 2,000,000"),
        ({"gaussians": 100.0}, "gaussians is 100.0, expected a whole number"),
        ({"steps": 0}, "steps is 0, expected a whole number from 1"),
        ({"steps": True}, "steps is True, expected a whole number"),
        (
            {"start": "file"},
            "start is 'file', expected 'statistics', 'random' or the folder of a run",
        ),
        ({"contrast": "white"}, "contrast is 'white', expected one of 'auto', 'bright', 'dark'"),
        ({"seed": -1}, "seed is -1, expected a whole number, 0 or more"),
        ({"gausians": 100}, "'gausians' is no setting"),
        ({"gausians": 100}, "Did you mean 'gaussians'?"),
        ({"solver": "voxels"}, "solver is 'voxels', expected one of 'statistics', 'images'"),
        ({"images": 5}, "images is 5, expected a table of settings"),
        ({"images": {"seed": 5}}, "settings, images: 'seed' is no setting"),
        ({"images": {"rate": "slow"}}, "images.rate is 'slow', expected a number between 0 and 1"),
        ({"images": {"factors": [1, 2]}}, "expected a list of 4 positive numbers"),
        ({"images": {"split_after": [1.5]}}, "expected a list of whole numbers, each 1 or more"),
        ({"quick": 1}, "quick is 1, expected true or false"),
        ({"start": 5}, "start is 5, expected 'statistics', 'random' or the folder of a run"),
        ({"mask": ["mask.mrc"]}, "expected the name of an existing file"),
        ({"mask": "x" * 5000}, "expected the name of an existing file"),
        ({"symmetry": 7}, "symmetry is 7, expected a point group"),
        ({"images": {"epoch": 5}}, "settings, images: 'epoch' is no setting"),
        (
            {"images": {"batch_size": 0}},
            "images.batch_size is 0, expected a whole number from 1 to 4,096",
        ),
        (
            {"images": {"weights": "none"}},
            "images.weights is 'none', expected one of 'noise', 'equal'",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(values: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("?", r"\?").replace("(", r"\(")):
        ReconstructionSettings.from_dict(values)


@given(
    st.builds(
        ReconstructionSettings,
        gaussians=st.none() | st.integers(8, 2_000_000),
        start=st.sampled_from(["statistics", "random"]),
        contrast=st.sampled_from(["auto", "bright", "dark"]),
        seed=st.integers(0, 2**63 - 1),
        steps=st.none() | st.integers(1, 100_000),
        solver=st.sampled_from(["statistics", "images"]),
        quick=st.booleans(),
        images=st.builds(
            ImageSchedule,
            epochs=st.integers(1, 100),
            rate=st.floats(1e-6, 0.5),
            split_after=st.lists(st.integers(1, 9), max_size=3).map(tuple),
            weights=st.sampled_from(["noise", "equal"]),
        ),
    )
)
def test_toml_and_dict_give_the_same_settings_back(settings: ReconstructionSettings) -> None:
    import tomllib

    assert ReconstructionSettings.from_dict(settings.to_dict()) == settings
    assert ReconstructionSettings.from_dict(tomllib.loads(settings.to_toml())) == settings


VALUES = (
    None, True, False, 0, -3, 5, 1 << 70, 0.05, -1.0, math.nan, math.inf, "", "x", "D7", "a\0b",
    "é" * 3000, [], [1, 2], ["a"], [[1.0]] * 4, {}, {"a": 1}, dt.datetime(2026, 1, 2), dt.time(3),
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_value_of_any_type_is_taken_or_refused_by_name(value: object) -> None:
    """Every setting with values of every type that TOML knows: one of our errors, or none."""
    names = [f.name for f in fields(ReconstructionSettings)]
    inner = [f.name for f in fields(ImageSchedule)]
    cases = [(name, {name: value}) for name in names]
    cases += [(f"images.{name}", {"images": {name: value}}) for name in inner]
    for name, values in cases:
        try:
            settings = ReconstructionSettings.from_dict(values)
        except SettingsError as error:
            assert str(error).startswith((f"settings: {name} is ", "settings, images: 'a' is no"))
            assert "expected" in str(error)
        else:
            assert ReconstructionSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    "text",
    [
        "seed = " + "9" * 5000,
        "seed = 0x" + "f" * 5000,
        "seed = " + "[" * 5000,
        "seed = 1\nseed = 2",
    ],
)
def test_toml_beyond_reason_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"settings\.toml: ") as refused:
        ReconstructionSettings.from_toml(path)
    assert len(str(refused.value)) < 600


def test_numbers_of_numpy_are_numbers() -> None:
    settings = ReconstructionSettings(gaussians=np.int64(500), seed=np.int32(3))  # pyright: ignore
    assert settings == ReconstructionSettings(gaussians=500, seed=3)
    assert type(settings.gaussians) is int and type(settings.seed) is int


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("gaussians = 500\nstart = 'random'\n")
    assert ReconstructionSettings.from_toml(path) == ReconstructionSettings(500, "random")


def test_errors_of_a_toml_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    with pytest.raises(SettingsError, match=r"settings\.toml: cannot be read \(No such file"):
        ReconstructionSettings.from_toml(path)
    path.write_text("gaussians: 500")
    with pytest.raises(SettingsError, match=r"settings\.toml: not a TOML file"):
        ReconstructionSettings.from_toml(path)
    path.write_text("seed = -4")
    with pytest.raises(SettingsError, match=r"settings\.toml: settings: seed is -4"):
        ReconstructionSettings.from_toml(path)

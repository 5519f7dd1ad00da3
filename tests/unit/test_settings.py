"""Settings: what is accepted, what is refused and how, and the way through TOML."""

from __future__ import annotations

from pathlib import Path

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
        ({"held_out": 0.0}, "held_out is 0.0, expected a share above 0 and at most 0.5"),
        ({"held_out": 0.6}, "held_out is 0.6"),
        ({"held_out": "a tenth"}, "held_out is 'a tenth'"),
        ({"gausians": 100}, "'gausians' is no setting"),
        ({"gausians": 100}, "Did you mean 'gaussians'?"),
        ({"solver": "voxels"}, "solver is 'voxels', expected one of 'statistics', 'images'"),
        ({"images": 5}, "images is 5, expected a table of settings"),
        ({"images": {"epoch": 5}}, "settings, images: 'epoch' is no setting"),
        ({"images": {"batch_size": 0}}, "batch_size is 0, expected 1 to 4,096 images"),
        ({"images": {"weights": "none"}}, "weights is 'none', expected 'noise' or 'equal'"),
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
        held_out=st.floats(1e-6, 0.5),
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

"""Settings from a file, a preset and options: which one counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryosplat.cli._settings import settings_from
from cryosplat.errors import SettingsError
from cryosplat.settings import ImageSchedule, ReconstructionSettings


def test_nothing_given_is_the_default() -> None:
    assert settings_from(None, None, {"seed": None}, {"epochs": None}) == ReconstructionSettings()


def test_the_paper_s_preset_is_the_paper_s_setting() -> None:
    settings = settings_from(None, "paper", {}, {})
    images = settings.images
    assert (settings.solver, settings.start, settings.gaussians) == ("images", "random", 30_000)
    assert (images.epochs, images.batch_size, images.rate, images.gamma) == (5, 1, 1e-3, 0.1)
    assert images.factors == (1.0,) * 4 and images.weights == "equal"


def test_options_override_the_preset_and_the_preset_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("gaussians = 900\nseed = 4\n[images]\nepochs = 2\n")
    settings = settings_from(path, "paper", {"start": "statistics"}, {"batch_size": 8})
    assert (settings.gaussians, settings.seed, settings.start) == (900, 4, "statistics")
    assert settings.images.epochs == 5 and settings.images.batch_size == 8
    assert settings_from(path, None, {}, {}).images == ImageSchedule(epochs=2)


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("epochs", 3, "--epochs"),
        ("batch_size", 8, "--batch"),
        ("shape", "isotropic", "--isotropic"),
        ("split_after", (2,), "--split-after"),
    ],
)
def test_an_option_of_the_image_solver_needs_that_solver(
    name: str, value: object, option: str
) -> None:
    for options in ({}, {"solver": "statistics"}):
        with pytest.raises(SettingsError, match=rf"^{option}: .*\n  Remedy: add --solver images"):
            settings_from(None, None, options, {name: value})
    settings = settings_from(None, None, {"solver": "images"}, {name: value})
    assert getattr(settings.images, name) == value


def test_a_wrong_option_is_an_error() -> None:
    with pytest.raises(
        SettingsError, match="batch_size is 0, expected a whole number from 1 to 4,096"
    ):
        settings_from(None, None, {"solver": "images"}, {"batch_size": 0})

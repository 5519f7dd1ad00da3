"""Settings from a file, a preset and single options, each overriding those before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..settings import ReconstructionSettings


def settings_from(
    file: Path | None,
    preset: str | None,
    options: Mapping[str, Any],
    image_options: Mapping[str, Any],
) -> ReconstructionSettings:
    """The settings; an option that is None was not given.

    Options of the image-space solver choose that solver. Raises `SettingsError`.
    """
    settings = ReconstructionSettings() if file is None else ReconstructionSettings.from_toml(file)
    if preset == "paper":
        paper = ReconstructionSettings.paper(settings.gaussians)
        settings = replace(
            settings, gaussians=paper.gaussians, start=paper.start, solver=paper.solver,
            images=paper.images,
        )  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    of_images = {name: value for name, value in image_options.items() if value is not None}
    if of_images:
        given = {"solver": "images"} | given | {"images": replace(settings.images, **of_images)}
    return replace(settings, **given)

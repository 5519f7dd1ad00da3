"""All that a finished run says about itself, read from its folder; most of it may be absent."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.mrc import read_map
from ..io.ply import PlyMixture, read_ply
from ..run_folder import RunFolder
from ..run_folder.headline import Headline, headline_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of the page, in files ``path``.svg and .png; ``wide``: as wide as the page."""

    path: Path
    title: str
    caption: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run's ``summary`` (run.json), ``headline``, FSC ``curves`` at ``frequencies`` (1/Å), maps."""

    folder: RunFolder
    summary: dict[str, Any]
    frequencies: Floats
    curves: dict[str, Floats]
    headline: Headline
    _maps: dict[Path, NDArray[np.float32]] = field(default_factory=dict)

    @staticmethod
    def read(folder: RunFolder) -> Evidence:
        """Raises `InputError` where there is no run, or its files cannot be read."""
        summary = folder.read_summary()
        frequencies, curves = folder.read_fsc_csv() if folder.fsc_csv.exists() else ([], {})
        return Evidence(
            folder, summary.model_dump(exclude_none=True), np.array(frequencies),
            {k: np.array(v) for k, v in curves.items()}, headline_of(summary),
        )  # fmt: skip

    @property
    def box_size(self) -> int:
        return int(self.summary["box_size"])

    @property
    def pixel_size(self) -> float:
        return float(self.summary["pixel_size"])

    def figure(self, name: str) -> Path:
        """Where the figure ``name`` is written, without its suffix."""
        return self.folder.figures / name

    def map(self, path: Path) -> NDArray[np.float32] | None:
        """The map in ``path`` [z, y, x]; None where there is no such file."""
        if path not in self._maps:
            if not path.exists():
                return None
            self._maps[path] = read_map(path).data
        return self._maps[path]

    def mixture(self) -> PlyMixture | None:
        """All Gaussians of the map; None where there is no such file."""
        path = self.folder.gaussians
        return read_ply(path).whole() if path.exists() else None

    def section(self, name: str) -> dict[str, Any]:
        """A part of the summary; empty where the run has none."""
        return self.summary.get(name) or {}

    def number(self, *keys: str) -> float:
        """A number of the summary; NaN where the run has none."""
        value: Any = self.summary
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return math.nan if value is None else float(value)

"""What a user may choose about a reconstruction, as one value; in and out of TOML."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from .errors import SettingsError

FEWEST_GAUSSIANS, MOST_GAUSSIANS = 8, 2_000_000
MOST_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class ReconstructionSettings:
    """How to reconstruct.

    ``gaussians``: their number, None to let held-out particles choose; ``start``: first positions
    from the statistics of the data, or at random; ``contrast``: how the molecule looks in the
    images, "auto" to let the data decide; ``seed`` of every random choice; ``steps`` of each fit,
    None to let held-out particles choose; ``held_out``: the share of each half-set that chooses.

    Raises
    ------
    SettingsError
        A value is outside its range or of another type.
    """

    gaussians: int | None = None
    start: Literal["statistics", "random"] = "statistics"
    contrast: Literal["auto", "bright", "dark"] = "auto"
    seed: int = 0
    steps: int | None = None
    held_out: float = 0.1

    def __post_init__(self) -> None:
        counts = (
            ("gaussians", self.gaussians, FEWEST_GAUSSIANS, MOST_GAUSSIANS),
            ("steps", self.steps, 1, MOST_STEPS),
        )
        for name, given, low, high in counts:
            if given is not None and not (_is_whole(given) and low <= given <= high):
                raise _wrong(name, given, f"a whole number from {low:,} to {high:,}")
        choices = (
            ("start", self.start, ("statistics", "random")),
            ("contrast", self.contrast, ("auto", "bright", "dark")),
        )
        for name, given, allowed in choices:
            if given not in allowed:
                raise _wrong(name, given, "one of " + ", ".join(map(repr, allowed)))
        if not (_is_whole(self.seed) and 0 <= self.seed < 2**63):
            raise _wrong("seed", self.seed, "a whole number, 0 or more")
        number = isinstance(self.held_out, (int, float)) and not isinstance(self.held_out, bool)
        if not (number and 0.0 < self.held_out <= 0.5):
            raise _wrong("held_out", self.held_out, "a share above 0 and at most 0.5")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values; those left to the data are None."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> ReconstructionSettings:
        """The settings with these values, the others at their defaults.

        Raises `SettingsError` for a name that is no setting.
        """
        names = [field.name for field in fields(ReconstructionSettings)]
        for name in values:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                raise SettingsError(
                    f"settings: {name!r} is no setting, expected some of {', '.join(names)}.{meant}"
                )
        return ReconstructionSettings(**values)

    def to_toml(self) -> str:
        """The settings as a TOML document; those left to the data are left out."""
        given = {name: value for name, value in self.to_dict().items() if value is not None}
        lines = (
            f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
            for name, value in given.items()
        )
        return "\n".join(lines) + "\n"

    @staticmethod
    def from_toml(path: str | os.PathLike[str]) -> ReconstructionSettings:
        """The settings in a TOML file, as `to_toml` writes them.

        Raises `SettingsError` when the file cannot be read or is no TOML.
        """
        try:
            values = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read ({error.strerror}).") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path}: not a TOML file ({error}).\n"
                f"  Remedy: one setting a line, such as seed = 0"
            ) from error
        try:
            return ReconstructionSettings.from_dict(values)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(name: str, given: object, expected: str) -> SettingsError:
    return SettingsError(f"settings: {name} is {given!r}, expected {expected}.")

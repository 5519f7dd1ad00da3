"""Settings as TOML."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import SettingsError


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values in a TOML file; raises `SettingsError` when it cannot be read or is no TOML."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise SettingsError(
            f"{path}: not a TOML file ({error}).\n"
            f"  Remedy: write one setting per line, such as seed = 0"
        ) from error


def check_names(kind: type, values: Mapping[str, Any], where: str) -> None:
    """Raise `SettingsError` for a name that is none of the fields of ``kind``."""
    names = [field.name for field in fields(kind)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"{where}: {name!r} is no setting, expected one of {', '.join(names)}.{meant}"
            )


def toml_lines(values: Mapping[str, Any]) -> list[str]:
    """One line for each value that is not None."""
    return [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]


def _toml(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, (str, bool)):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)

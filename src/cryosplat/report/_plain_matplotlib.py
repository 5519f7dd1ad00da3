"""Matplotlib as it was shipped: figures do not depend on the user's matplotlibrc or backend.

Imported before anything else of this package. A notebook's ``MPLBACKEND`` or a value in a
matplotlibrc that this version does not know would otherwise end a run at ``import matplotlib``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = "MPLBACKEND", "MATPLOTLIBRC"


def _shipped_settings() -> str | None:
    """The matplotlibrc inside the matplotlib package."""
    package = importlib.util.find_spec("matplotlib")
    folders = package.submodule_search_locations if package else None
    return str(Path(next(iter(folders)), "mpl-data", "matplotlibrc")) if folders else None


@contextmanager
def _without_user_settings() -> Iterator[None]:
    kept = {name: os.environ.pop(name, None) for name in SETTINGS}
    shipped = _shipped_settings()
    if shipped is not None:
        os.environ["MATPLOTLIBRC"] = shipped
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


if "matplotlib" not in sys.modules:
    with _without_user_settings():
        import matplotlib  # noqa: F401

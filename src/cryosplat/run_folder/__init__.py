"""The folder of a run: its files, their names, and what they hold.

A finished run is read without loading what makes one: `write_run`, `write_found_poses`, `read_start`
and `read_places` are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .folder import RunFolder
from .schema import RunSummary

if TYPE_CHECKING:
    from .found_poses import write_found_poses
    from .places import read_places
    from .reading import read_start
    from .writing import write_run

__all__ = [
    "RunFolder", "RunSummary", "read_places", "read_start", "write_found_poses", "write_run",
]  # fmt: skip

_MODULES = {
    "read_places": "places", "read_start": "reading", "write_found_poses": "found_poses",
    "write_run": "writing",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)

"""Where and with what a run was made: what someone needs who wants to repeat it."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "scipy", "numba")


def provenance() -> dict[str, Any]:
    """Date, command, versions and machine as plain values."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command_line(),
        "working_directory": os.getcwd(),
        "versions": {"cryosplat": _version("cryosplat"), "python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "machine": {"system": platform.platform(), "cores": available_cores()},
    }


def command_line() -> str:
    """The command that runs this process, as it can be pasted; anew, where it resumes a run."""
    import shlex

    program = Path(sys.argv[0] if sys.argv else "python")
    # `python -m PACKAGE` names a file of the package's folder
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *(each for each in sys.argv[1:] if each != "--resume")])


def available_cores() -> int:
    """Cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

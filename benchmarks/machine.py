"""What a result was measured on: machine, versions, commit."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cryosplat", "torch", "numba", "numpy", "scipy", "finufft", "triton")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    name = found.group(1) if found else platform.processor() or platform.machine()
    return name + (" (AVX-512)" if "avx512f" in text else " (AVX2)" if "avx2" in text else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe() -> dict[str, object]:
    """The machine, the versions, the commit (with ``+changes`` if the tree differs), the date."""
    available = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    changed = "+changes" if _git("status", "--porcelain", "--", "src", "benchmarks/*.py") else ""
    return {
        "processor": _processor(),
        "cores": len(available),
        "load": round(os.getloadavg()[0], 2),
        "memory_gb": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _installed(name) for name in PACKAGES},
        "commit": (_git("rev-parse", "--short=12", "HEAD") or "not committed") + changed,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }

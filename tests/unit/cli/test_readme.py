"""The commands of the README, pasted into a fresh shell, one after the other."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from cryosplat import write_map

ROOT = Path(__file__).resolve().parents[3]


def _commands() -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```(?:sh|bash)?\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.startswith("cryosplat ")]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """A new shell's environment that knows ``cryosplat``, as after ``source``."""
    program = tmp_path / "bin" / "cryosplat"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cryosplat "$@"\n')
    program.chmod(0o755)
    kept = {name: os.environ[name] for name in ("HOME", "PYTHONPATH") if name in os.environ}
    return {**kept, "PATH": f"{program.parent}:/usr/bin:/bin", "LANG": "C.UTF-8"}


def _simulate(folder: Path, shell: dict[str, str]) -> None:
    """``particles.star`` and, without poses that are read, ``extracted.star``: 400 of 24 pixels."""
    rng = np.random.default_rng(7)
    z, y, x = np.mgrid[:24, :24, :24] - 12
    blobs = (
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 3.4)
        for a, b, c in rng.uniform(-5, 5, (12, 3))
    )
    write_map(folder / "map.mrc", sum(blobs), 4.0)
    command = "cryosplat simulate map.mrc -o set --n 400 --snr 1 && mv set/particles.mrcs . && "
    command += "cp set/particles.star . && mv set/particles.star extracted.star"
    subprocess.run(command, shell=True, cwd=folder, env=shell, check=True)


def _seen(command: str, folder: Path, shell: dict[str, str]) -> None:
    """The page of ``cryosplat view``, which Ctrl-C ends."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=folder, env=shell, text=True, stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().split()[0]
    assert b"<html" in urllib.request.urlopen(url, timeout=60).read().lower()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0 and "Stopped" in process.stdout.read()


@pytest.mark.slow
def test_every_command_of_the_readme_ends_well(tmp_path: Path, shell: dict[str, str]) -> None:
    """``--abinit`` may find nothing in so few images: an alarm, and no more."""
    work = tmp_path / "work"
    work.mkdir()
    _simulate(work, shell)
    commands = _commands()
    assert {line.split()[1] for line in commands} >= {"check", "reconstruct", "view"}
    for line in commands:
        if line.split()[1] == "view":
            _seen(line, work, shell)
            continue
        run = work / "run1"
        if "-o run1" in line and run.exists():  # another way to the same run
            run.rename(work / f"run-{time.monotonic_ns()}")
        done = subprocess.run(
            ["bash", "-c", line], cwd=work, env=shell, capture_output=True, text=True
        )
        assert done.returncode in (0, 1), (line, done.stderr)
        assert "Traceback" not in done.stderr and "bug in cryosplat" not in done.stderr
        found_nothing = "--abinit" in line and done.returncode == 1
        assert "-o run1" not in line or run.exists() or found_nothing, line

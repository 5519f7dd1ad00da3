"""Kills commands at random moments: ``python fuzz/kills.py [-n 60] [--seconds 600] [COMMAND ...]``.

Each of ``simulate``, ``convert``, ``check`` (with ``--fix``) and ``reconstruct`` is run on 60 small
particles and gets SIGINT, SIGTERM, SIGHUP or SIGUSR1 after a time drawn over all that it takes,
the import of its libraries included. It has to end with the documented exit code (or as it would have
ended, where the signal came too late), say nothing of tracebacks or bugs, and leave only what the
next run clears away. In the first hundredth of a second no line of cryosplat has been executed:
such a signal has the effect it has on any Python, and is counted as "too early".
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from cryosplat import write_map
from cryosplat.signals import INTERRUPTED, NAMES, TERMINATED

PROGRAM = [sys.executable, "-c", "from cryosplat.cli import main; main()"]
SET = "set/particles.star"
COMMANDS = {
    "simulate": ("simulate map.mrc -o made --n 60", (0,)),
    "convert": (f"convert {SET} -o out.star --overwrite", (0,)),
    "check": (f"check {SET} --fix out.star --overwrite", (0, 1)),
    "reconstruct": (
        f"reconstruct {SET} -o out --overwrite --quick --gaussians 20 --steps 3",
        (0, 1),
    ),
}
"""Each command, and how it may end where nobody interrupts it."""
UNWANTED = "Traceback", "bug in cryosplat", "Exception ignored", "Error"


@dataclass(frozen=True)
class Ended:
    """How a killed command ended: its exit code and what it said."""

    code: int
    said: str


def killed(words: list[str], folder: Path, number: int, after: float) -> Ended:
    """Run a command in ``folder`` and send the signal ``after`` seconds."""
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        said = process.communicate(timeout=after)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        said = process.communicate(timeout=300)[0]
    return Ended(process.returncode, said)


def prepared(folder: Path) -> None:
    """A made-up map of 16 voxels, and particles of it."""
    rng = np.random.default_rng(7)
    z, y, x = np.mgrid[:16, :16, :16] - 8
    blobs = (
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 3.4)
        for a, b, c in rng.uniform(-3, 3, (12, 3))
    )
    write_map(folder / "map.mrc", sum(blobs), 4.0)
    words = ["simulate", "map.mrc", "-o", "set", "--n", "60", "--snr", "0.3"]
    subprocess.run([*PROGRAM, *words], cwd=folder, check=True, capture_output=True)


def lasting(text: str, usual: tuple[int, ...], folder: Path) -> float:
    """The seconds of a command that nobody interrupts."""
    begin = time.monotonic()
    whole = killed(text.split(), folder, signal.SIGTERM, 600.0)
    assert whole.code in usual, whole.said
    return time.monotonic() - begin


def judged(ended: Ended, expected: int, usual: tuple[int, ...]) -> str:
    """What became of a killed command, in two words; "WRONG ..." where it should not."""
    if ended.code < 0:
        return "too early"
    if wrong := [word for word in UNWANTED if word in ended.said]:
        return f"WRONG: {wrong[0]}"
    if ended.code == expected:
        return f"exit {expected}"
    return "too late" if ended.code in usual else f"WRONG: exit {ended.code}"


def leftovers(folder: Path) -> set[str]:
    """What lies beside the inputs and the output, hidden files included."""
    return set(os.listdir(folder)) - {"map.mrc", "set", "made", "out", "out.star"}


def main() -> int:
    """Kill, count, and say what was wrong; the exit code is 1 where anything was."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=60, help="kills of each command by each signal")
    options.add_argument("--seconds", type=float, default=1e6, help="stop after so many")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("command", nargs="*", choices=[*COMMANDS, []], default=[])
    given = options.parse_args()
    rng, bad = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        commands = {name: COMMANDS[name] for name in given.command or COMMANDS}
        durations = {name: lasting(*command, folder) for name, command in commands.items()}
        counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        deadline = time.monotonic() + given.seconds
        for (command, (text, usual)), sign in (
            pair for _ in range(given.n) for pair in product(commands.items(), NAMES)
        ):
            if time.monotonic() > deadline:
                break
            if command == "simulate":  # which replaces nothing
                shutil.rmtree(folder / "made", ignore_errors=True)
            number, after = getattr(signal, sign), rng.uniform(0.0, 1.05 * durations[command])
            ended = killed(text.split(), folder, number, after)
            expected = INTERRUPTED if number == signal.SIGINT else TERMINATED
            verdict = judged(ended, expected, usual)
            counts[command, sign][verdict] += 1
            if verdict.startswith("WRONG"):
                bad += 1
                print(
                    f"{command}, {sign} after {after:.3f} s: {ended.code}\n{ended.said}", flush=True
                )
        for (command, sign), found in sorted(counts.items()):
            told = ", ".join(f"{n} x {what}" for what, n in sorted(found.items()))
            print(f"{command}, {sign}: {told}")
        print(f"left: {sorted(leftovers(folder)) or 'nothing'}")
        for text, usual in commands.values():
            shutil.rmtree(folder / "made", ignore_errors=True)
            lasting(text, usual, folder)
        if left := leftovers(folder):
            print(f"the next runs left {sorted(left)}")
            bad += 1
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

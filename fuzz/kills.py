"""Kills commands at random moments: ``python fuzz/kills.py [-n 60] [--seed 1] [COMMAND ...]``.

Each of ``simulate``, ``convert``, ``check`` (with ``--fix``) and ``reconstruct`` is run on 150 small
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
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryosplat import write_map
from cryosplat.signals import INTERRUPTED, NAMES, TERMINATED

PROGRAM = [sys.executable, "-c", "from cryosplat.cli import main; main()"]
SET = "set/particles.star"
COMMANDS = {
    "simulate": ("simulate map.mrc -o out --n 150", (0,)),
    "convert": (f"convert {SET} -o out.star --overwrite", (0,)),
    "check": (f"check {SET} --fix out.star --overwrite", (0, 1)),
    "reconstruct": (f"reconstruct {SET} -o out --overwrite --quick --gaussians 50", (0, 1)),
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
    """A made-up map of 24 voxels, and particles of it."""
    rng = np.random.default_rng(7)
    z, y, x = np.mgrid[:24, :24, :24] - 12
    blobs = (
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 3.4)
        for a, b, c in rng.uniform(-5, 5, (12, 3))
    )
    write_map(folder / "map.mrc", sum(blobs), 4.0)
    words = ["simulate", "map.mrc", "-o", "set", "--n", "150", "--snr", "0.3"]
    subprocess.run([*PROGRAM, *words], cwd=folder, check=True, capture_output=True)


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
    return set(os.listdir(folder)) - {"map.mrc", "set", "out", "out.star"}


def main() -> int:
    """Kill, count, and say what was wrong; the exit code is 1 where anything was."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=60, help="kills of each command by each signal")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("command", nargs="*", choices=[*COMMANDS, []], default=[])
    given = options.parse_args()
    rng, bad = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        for command in given.command or COMMANDS:
            text, usual = COMMANDS[command]
            begin = time.monotonic()
            whole = killed(text.split(), folder, signal.SIGTERM, 600.0)
            duration = time.monotonic() - begin
            assert whole.code in usual, whole.said
            for sign in NAMES:
                number = getattr(signal, sign)
                expected = INTERRUPTED if number == signal.SIGINT else TERMINATED
                counts: Counter[str] = Counter()
                for _ in range(given.n):
                    if command == "simulate":
                        shutil.rmtree(folder / "out", ignore_errors=True)
                    after = rng.uniform(0.0, 1.05 * duration)
                    ended = killed(text.split(), folder, number, after)
                    verdict = judged(ended, expected, usual)
                    counts[verdict] += 1
                    if verdict.startswith("WRONG"):
                        print(f"{command}, {sign} after {after:.3f} s: {ended.code}\n{ended.said}")
                left = leftovers(folder)
                told = ", ".join(f"{n} x {what}" for what, n in sorted(counts.items()))
                print(f"{command}, {sign}: {told}; left {sorted(left) or 'nothing'}", flush=True)
                bad += sum(n for what, n in counts.items() if what.startswith("WRONG"))
            shutil.rmtree(folder / "out", ignore_errors=True)
            again = killed(text.split(), folder, signal.SIGTERM, 600.0)
            left = leftovers(folder)
            if again.code not in usual or left:
                print(f"{command}: the next run ended with {again.code} and left {sorted(left)}")
                bad += 1
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

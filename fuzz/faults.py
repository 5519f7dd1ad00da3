"""Runs faults that were handed in, and says which are mended.

``python fuzz/faults.py FOLDER [NAME ...]``

FOLDER holds one folder for each, with a ``run.sh`` that makes its own small input and calls the program
``$CRYOSPLAT``. What its output has to say, and must not, stands below; those without an entry must not
end in a bug or a traceback. Quick tests of the same kinds: ``tests/unit/cli/test_faults.py``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NEVER = r"Traceback", r"This is a bug", r"RuntimeWarning", r"exit code (70|139)"
EXPECTED: dict[str, tuple[str, ...]] = {
    "damaged-pixel": (r"ImageError: .*row 101: image 101 of .*1e\+25", r"Remedy: "),
    "jupyter-backend": (r"(?s)exit code 0.*exit code 0.*exit code 0",),
    "latin1-locale": (r"300 of 300 read", r"exit code 0"),
    "latin1-names": (r"exit code 0\nrun\n", r"300 particles in x\.star"),
    "matplotlib-user-settings": (r"Report  ", r"exit code 0\nrun"),
    "messages": (
        r"300000 kV, expected 10 to 3000 kV", r"pixel size is 0 Å, expected more than 0",
        r"headers\s+not read: no stack", r"300 particles in x\.star", r"from s\[red\]t/",
        r"Report +.*run\[a\]/report\.html", r"'my set/particles\.star' -o 'my set-run'",
        r"exit code 0\npiped",
    ),
    "minority-not-normalised": (r"(?s)as-is.*one-x100.*hot-pixel.*tenth",),
    "no-kernel-cache": (r"(?s)exit code 0.*exit code 0.*exit code 0",),
    "output-cannot-be-written": (r"exit code [02]", r"OutputError: ro/x\.star: .*Read-only"),
    "star-3.0-other-block": (
        r"table data_Particles", r"table data_my_set", r"(?s)exit code 0.*exit code 0.*exit code 0"
    ),
    "twice-at-once": (
        r"(?s)second: exit code 2.*first: exit code [01]|second: exit code [01].*first: exit code 2",
        r"the one run there is has",
    ),
    "views-from-the-top": (r"directions|views",),
}  # fmt: skip
"""Of each, what has to be found in its output."""


def ended(script: Path, program: Path, scratch: str) -> str:
    """The output of a fault's script, standard error included."""
    environment = {
        **os.environ, "CRYOSPLAT": str(program), "PYTHON": sys.executable, "TMPDIR": scratch,
    }  # fmt: skip
    done = subprocess.run(
        ["bash", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout.decode("utf-8", "replace")


def wrong(name: str, said: str) -> list[str]:
    """What is missing in the output, and what should not be in it."""
    missing = [f"lacks {rule}" for rule in EXPECTED.get(name, ()) if not re.search(rule, said)]
    return missing + [f"has {rule}" for rule in NEVER if re.search(rule, said)]


def main() -> int:
    """Run them; the exit code is 1 where one is not mended."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("name", nargs="*")
    options.add_argument("--show", action="store_true", help="also what each says")
    given = options.parse_args()
    scripts = sorted(given.folder.absolute().glob("*/run.sh"))
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)  # as /tmp is: others may look into it
        program = Path(scratch) / "cryosplat"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cryosplat "$@"\n')
        program.chmod(0o755)
        for script in scripts:
            name = script.parent.name
            if given.name and name not in given.name:
                continue
            begin = time.monotonic()
            said = ended(script, program, scratch)
            found = wrong(name, said)
            bad += bool(found)
            seconds = time.monotonic() - begin
            print(f"{name:28} {'; '.join(found) or 'mended'}  ({seconds:.0f} s)", flush=True)
            if found or given.show:
                print(said)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

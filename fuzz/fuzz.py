"""Coverage-guided fuzzing of one reader: ``python fuzz/fuzz.py READER [libFuzzer options]``.

With a file among the options it runs that input again.

New inputs of interest go to ``build/fuzz/READER``, findings to ``build/fuzz/READER-findings``.
Needs ``pip install atheris`` (Linux); see README.md.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
MEMORY_BYTES = 6 * 2**30  # of address space: an allocation beyond it is a MemoryError, a finding
INSTRUMENTED = [
    f"cryosplat.{name}" for name in ("io", "particles", "run_folder", "settings", "statistics")
]
SECONDS = 10  # for one input: a longer one is a finding

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy  # noqa: E402, F401
import pandas  # noqa: E402, F401
import torch  # noqa: E402, F401

with atheris.instrument_imports(include=INSTRUMENTED):
    import targets


def main() -> None:
    """Fuzz until libFuzzer's options or a finding end it."""
    reader, *options = sys.argv[1:]
    found = HERE.parent / "build" / "fuzz" / reader
    findings = found.with_name(f"{reader}-findings")
    for path in (found, findings):
        path.mkdir(parents=True, exist_ok=True)
    words = HERE / "words" / f"{reader}.txt"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    again = any(Path(option).is_file() for option in options)
    folders = [] if again else [str(found), str(HERE / "corpus" / reader)]
    arguments = [
        sys.argv[0], *options, f"-timeout={SECONDS}", "-rss_limit_mb=3000", "-max_len=8192",
        f"-artifact_prefix={findings}/", *([f"-dict={words}"] if words.exists() else []), *folders,
    ]  # fmt: skip
    atheris.Setup(arguments, lambda content: targets.survives(reader, content) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

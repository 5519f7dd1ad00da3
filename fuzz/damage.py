"""Damages files and reads them again, without a look at the code that reads them.

``python fuzz/damage.py READER [-n 200000]``: the files of `targets`' reader in the corpus.
``python fuzz/damage.py commands [-n 300]``: those of a finished run.

A small run is made first. Each trial damages one of its files, by bytes or, in run.json, by values,
and then does what ``report``, ``view``, ``postprocess`` and ``--start`` do with it; figures are laid
out, but not written. Only errors of cryosplat's own may come out, within ``SECONDS``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import targets
from matplotlib.figure import Figure
from mutations import damaged

from cryosplat import ReconstructionSettings, RunFolder, read_start, write_map
from cryosplat.cli import _postprocess, _report
from cryosplat.cli._outcome import trusting
from cryosplat.errors import CryosplatError
from cryosplat.report import pictures
from cryosplat.viewer.scene import read_scene

PROGRAM = [sys.executable, "-c", "from cryosplat.cli import main; main()"]
FILES = "run.json", "run.json", "run.json", "fsc.csv", "gaussians.ply", "map.mrc", "examples.mrcs"
SECONDS = 60


def made(folder: Path) -> Path:
    """A run of 150 particles of a made-up map of 24 voxels."""
    rng = np.random.default_rng(7)
    z, y, x = np.mgrid[:24, :24, :24] - 12
    write_map(
        folder / "map.mrc",
        sum(
            np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 3.4)
            for a, b, c in rng.uniform(-5, 5, (12, 3))
        ),
        4.0,
    )
    for words in (
        "simulate map.mrc -o set --n 250 --snr 0.3", "reconstruct set/particles.star -o run"
    ):  # fmt: skip
        subprocess.run([*PROGRAM, *words.split()], cwd=folder, capture_output=True)
    return folder / "run"


def used(run: Path) -> list[str]:
    """Do with a run what the commands do; what each said, where it refused."""
    refused = []
    start = ReconstructionSettings(start=str(run))
    for name, use in {
        "report": lambda: _report.run_report(run),
        "view": lambda: _scene(run),
        "postprocess": lambda: _postprocess.run_postprocess(run, _postprocess.Wanted()),
        "start": lambda: read_start(start),
    }.items():
        try:
            use()
        except CryosplatError as error:
            said = str(error)
            refused.append(f"{name}: {said.splitlines()[0][:150].replace(str(run), 'RUN')}")
            assert "Remedy" in said, said
    return refused


def _scene(run: Path) -> None:
    with trusting(run):
        scene = read_scene(RunFolder(run))
        assert scene.reach > 0 and scene.local_range and scene.suggested_sigmas is not None


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"took longer than {SECONDS} s")


def read(given: argparse.Namespace) -> int:
    """Damage files of the corpus; returns the number of findings."""
    rng, findings, accepted = random.Random(given.seed), 0, 0
    corpus = Path(targets.__file__).with_name("corpus") / given.what
    seeds = [path.read_bytes() for path in sorted(corpus.iterdir())]
    for trial in range(given.n):
        content = damaged(rng, rng.choice(seeds))
        signal.alarm(SECONDS)
        try:
            accepted += targets.survives(given.what, content)
        except Exception:
            findings += 1
            print(f"trial {trial}:\n{content[:3000]!r}\n{traceback.format_exc()}")
    print(f"{given.n} damaged files, {accepted} accepted, {findings} findings")
    return findings


def commands(given: argparse.Namespace) -> int:
    """Damage the files of a run; returns the number of findings."""
    rng, findings, said = random.Random(given.seed), 0, Counter[str]()
    Figure.savefig = lambda self, buffer, **how: buffer.write(b"<svg ></svg>")
    for size in ("LARGE", "SMALL", "TILE"):
        setattr(pictures, size, 40)
    with tempfile.TemporaryDirectory() as name:
        tempfile.tempdir = name  # reports of bugs
        whole, run = given.run or made(Path(name)), Path(name) / "damaged"
        for trial in range(given.n):
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(whole, run)
            file = run / rng.choice(FILES)
            if file.exists():
                file.write_bytes(damaged(rng, file.read_bytes()))
            signal.alarm(SECONDS)
            try:
                refused = used(run)
            except Exception:
                findings += 1
                kept = Path(f"build/fuzz/damage-{given.seed}-{trial}")
                shutil.copytree(run, kept, dirs_exist_ok=True)
                print(f"trial {trial}, {file.name}, kept in {kept}:\n{traceback.format_exc()}")
                refused = ["a finding"]
            finally:
                signal.alarm(0)
            said.update(refused or ["nothing refused"])
    for text, n in said.most_common():
        print(f"{n:5d} {text}")
    print(f"{given.n} damaged runs, {findings} findings")
    return findings


def main() -> int:
    """Damage, use, count; the exit code is 1 where anything but our errors came out."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=["commands", *targets.READERS])
    options.add_argument("-n", type=int)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--run", type=Path, help="a finished run; default: a small one is made")
    given = options.parse_args()
    given.n = given.n or (300 if given.what == "commands" else 200_000)
    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("error")
    return int((commands if given.what == "commands" else read)(given) > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Whatever goes wrong ends in one clear message, the right exit code, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_sets import DataSet
from fake_runs import Outcome

from cryosplat.io.mrc import write_stack

Cli = Callable[..., Outcome]
Star = Callable[..., Path]


@pytest.fixture
def fails(cli: Cli, tmp_path: Path) -> Callable[..., str]:
    """Runs ``reconstruct`` on ``particles.star``; gives its message after checking its manners."""

    def run(*options: object) -> str:
        before = sorted(os.listdir(tmp_path))
        arguments = "reconstruct", tmp_path / "particles.star", "-o", tmp_path / "run", *options
        done = cli(*arguments)
        assert done.code == 2
        assert "Traceback" not in done.err
        assert re.match(r"\w+Error: ", done.err) and "Resolution" not in done.out
        assert sorted(os.listdir(tmp_path)) == before
        return done.err

    return run


def test_a_row_that_points_past_its_stack(fails, star: Star, data_set: DataSet) -> None:
    names = [f"{i + 1:06d}@particles.mrcs" for i in range(11)] + ["000099@particles.mrcs"]
    star(rlnImageName=names)
    message = fails()
    assert "data_particles row 12: image 99 of particles.mrcs was asked for" in message
    assert "that stack holds 12 images (1 rows of this file are affected)" in message


def test_a_missing_stack(fails, star: Star, data_set: DataSet) -> None:
    star()
    (data_set.folder / "particles.mrcs").unlink()
    message = fails()
    assert "the stack particles.mrcs was not found" in message
    assert "Remedy: --datadir FOLDER" in message


def test_a_truncated_stack(fails, star: Star, data_set: DataSet) -> None:
    star()
    stack = data_set.folder / "particles.mrcs"
    os.truncate(stack, stack.stat().st_size // 2)
    assert "the header claims 12 sections" in fails()


def test_a_header_that_claims_more_sections(fails, star: Star, data_set: DataSet) -> None:
    star()
    with open(data_set.folder / "particles.mrcs", "r+b") as stream:
        stream.seek(8)
        stream.write(np.int32(400).tobytes())
    message = fails()
    assert "the header claims 400 sections" in message and "holds 12 whole sections" in message


def test_images_with_nan(fails, star: Star, data_set: DataSet) -> None:
    star()
    images = data_set.images.copy()
    images[7, 3, 3] = np.nan
    write_stack(data_set.folder / "particles.mrcs", images, data_set.pixel_size)
    message = fails()
    assert "data_particles row 8: image 8 of" in message
    assert "has 1 pixels that are NaN or infinite" in message


def test_mixed_half_set_labels(fails, star: Star) -> None:
    star(rlnRandomSubset=[1] * 6 + [0] * 6)
    assert "row 7: rlnRandomSubset is 0, expected 1 or 2 in every row" in fails()


def test_a_box_that_differs_from_the_star_file(fails, star: Star) -> None:
    star(optics_rlnImageSize=[16])
    assert "measure 8 pixels, but rlnImageSize is 16" in fails()


@pytest.mark.parametrize("label", ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"])
def test_missing_optics(fails, star: Star, label: str) -> None:
    star(**{f"optics_{label}": None})
    assert f"missing {label}" in fails()


def test_an_output_folder_that_exists(fails, star: Star, tmp_path: Path) -> None:
    star()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("precious")
    assert "run: exists already and is not empty" in fails()
    assert "--overwrite leaves it alone" in fails("--overwrite")
    assert (tmp_path / "run" / "notes.txt").read_text() == "precious"


def test_a_read_only_output_folder(
    fails, star: Star, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    star()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **how: mode == os.R_OK and may(path, mode))
    assert f"you may not write to {tmp_path}" in fails()


def test_options_out_of_range(fails, star: Star) -> None:
    star()
    assert "gaussians is 3, expected a whole number from 8" in fails("--gaussians", 3)
    assert "--threads 9999: expected 1 to " in fails("--threads", 9999)


def _nothing(*values: object, **inputs: object) -> None:
    """A recipe that makes nothing, without a word."""


def test_a_full_disk_in_the_middle(fails, star: Star, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(folder, result, truth, refinement):
        folder.map.write_text("half a map")
        raise OSError(28, "No space left on device", str(folder.half1))

    star()
    monkeypatch.setattr("cryosplat.cli._reconstruct.reconstruct", _nothing)
    monkeypatch.setattr("cryosplat.cli._reconstruct.write_run", write)
    assert "half1.mrc: No space left on device.\n  Remedy: make room" in fails()


def test_a_bug_asks_to_be_reported(
    cli: Cli, star: Star, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recipe(particles, settings, progress, **inputs):
        raise ZeroDivisionError("a secret of the code")

    path = star()
    monkeypatch.setattr("cryosplat.cli._reconstruct.reconstruct", recipe)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = cli("reconstruct", path, "-o", tmp_path / "run")
    assert done.code == 70
    assert "This is a bug in cryosplat: ZeroDivisionError: a secret of the code" in done.err
    assert "Traceback" not in done.err
    (report,) = tmp_path.glob("cryosplat-bug-*.txt")
    assert str(report) in done.err and "Traceback" in report.read_text()
    assert not (tmp_path / "run").exists()


def test_breaking_off(
    cli: Cli, star: Star, fake_recipe: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder, result, truth, refinement):
        folder.map.write_text("half a map")
        raise KeyboardInterrupt

    path = star()
    monkeypatch.setattr("cryosplat.cli._reconstruct.write_run", write)
    done = cli("reconstruct", path, "-o", tmp_path / "run")
    assert done.code == 130
    assert "Interrupted; no partial output was kept." in done.err
    assert sorted(os.listdir(tmp_path)) == ["particles.mrcs", "particles.star"]


WAITING = """
import time
import cryosplat.cli._reconstruct as command
from cryosplat.cli import main

def write(folder, result, truth, refinement):
    folder.map.write_text("half a map")
    time.sleep(60)

command.reconstruct = lambda *values, **inputs: None
command.write_run = write
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle(star: Star, tmp_path: Path, number: int, code: int) -> None:
    arguments = "reconstruct", str(star()), "-o", str(tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *arguments], stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".run.partial/map.mrc")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    _, message = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in message
    assert sorted(os.listdir(tmp_path)) == ["particles.mrcs", "particles.star"]

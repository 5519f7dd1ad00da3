"""``cryosplat reconstruct``: what is said, what is written, with a recipe that needs no time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import Outcome, fake_reconstruct

from cryosplat import RunFolder, read_map
from cryosplat.notes import Note
from cryosplat.reconstruction import Reconstruction
from cryosplat.settings import ReconstructionSettings

pytestmark = pytest.mark.usefixtures("quick_report")
Cli = Callable[..., Outcome]
RUN_FILES = {
    "fsc.csv", "fsc.xml", "gaussians.ply", "half1.mrc", "half1.ply", "half2.mrc", "half2.ply",
    "local_resolution.mrc", "local_resolution_voxels.mrc", "log.txt", "map.mrc",
    "map_sharpened.mrc", "mask.mrc", "run.json", "voxel_half1.mrc", "voxel_half2.mrc",
    "voxel_map.mrc",
}  # fmt: skip
DRAWN = {
    "figures", "fsc.png", "fsc.svg", "gaussians.bild", "gaussians.cif", "open_in_chimerax.cxc",
    "report.html", "slices.png",
}  # fmt: skip


@pytest.fixture
def run(cli: Cli, star: Callable[..., Path], fake_recipe: None, tmp_path: Path) -> Outcome:
    return cli("reconstruct", star(), "-o", tmp_path / "run", "--gaussians", 100)


def test_a_run_is_complete(run: Outcome, tmp_path: Path) -> None:
    assert run.code == 0, run.err
    assert set(os.listdir(tmp_path / "run")) == RUN_FILES | DRAWN
    assert sorted(os.listdir(tmp_path)) == ["particles.mrcs", "particles.star", "run"]


@pytest.mark.parametrize(
    "error", [RuntimeError("latex could not be found"), MemoryError(), OSError(28, "No space left")]
)
def test_a_report_that_fails_costs_no_run(
    error: Exception,
    cli: Cli,
    star: Callable[..., Path],
    fake_recipe: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(run: RunFolder) -> None:
        assert set(os.listdir(run.path)) == RUN_FILES | {"particles.star"} and run.target is None
        raise error

    monkeypatch.setattr("cryosplat.report.run.write_report", fail)
    done = cli("reconstruct", star(rlnRandomSubset=None), "-o", tmp_path / "a run")
    assert done.code == 0
    assert f"its report could not be drawn ({type(error).__name__}: {error})" in done.out
    assert f"Remedy: cryosplat report '{tmp_path}/a run'" in done.out
    assert f"Map        {tmp_path}/a run/map.mrc" in done.out and "report.html" not in done.out
    assert os.listdir(tmp_path / "a run").count("particles.star") == 1
    assert read_map(tmp_path / "a run" / "map.mrc").data.shape == (18, 18, 18)


def test_an_alarm_changes_the_exit_code_of_a_complete_run(
    cli: Cli, star: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recipe(*values, **inputs) -> Reconstruction:
        alarm = Note("made-up", "alarm", "Do not [b]trust[/b] it.", "Look [/again].")
        return replace(fake_reconstruct(*values, **inputs), notes=(alarm,))

    monkeypatch.setattr("cryosplat.cli._reconstruct.reconstruct", recipe)
    done = cli("reconstruct", star(), "-o", tmp_path / "run")
    assert done.code == 1 and "! Do not [b]trust[/b] it. Remedy: Look [/again]." in done.out
    assert set(os.listdir(tmp_path / "run")) == RUN_FILES | DRAWN


def test_each_warning_is_shown_once(
    cli: Cli, star: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before a stage of work above it, the last ones with the result."""
    early, late = (Note(code, "warning", f"What is {code}.") for code in ("early", "late"))

    def recipe(particles, settings, progress, **inputs) -> Reconstruction:
        progress.warn(early)
        made = fake_reconstruct(particles, settings, progress, **inputs)
        progress.warn(late)
        return replace(made, notes=(early, late))

    monkeypatch.setattr("cryosplat.cli._reconstruct.reconstruct", recipe)
    done = cli("reconstruct", star(), "-o", tmp_path / "run")
    before, after = done.err.split("accumulating statistics")
    assert before.count("What is early.") == 1 and "What is early." not in after + done.out
    assert done.out.count("What is late.") == 1 and "What is late." not in done.err
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("What is early.") == log.count("What is late.") == 1


def test_the_preflight_says_what_will_be_done(run: Outcome) -> None:
    before = run.out.split("Resolution")[0]
    for fragment in (
        "particles      12  from ", "box            8 px of 1.5 Å (12 Å)",
        "optics groups  1  (300 kV, Cs 2.7 mm, amplitude contrast 0.1)",
        "half-sets      6 + 6, as given", "expected       about ", " of memory, with ",
    ):  # fmt: skip
        assert fragment in before


def test_the_result_is_told_with_units(run: Outcome, tmp_path: Path) -> None:
    for fragment in (
        "Resolution 4.50 Å  half-map FSC", "Report 4.50 Å.", "Made up.", "headline",
        "EMDB form    4.50 Å, method FSC 0.143 CUT-OFF", "4.50 / none",
        "12 (6 + 6 in the half-sets)", "100 (half-maps 90 and 95); 25 % of their scales at the minimum",
        "contrast     bright protein", "4.5 s (fit halves 2.5 s, accumulate 1.5 s)", "500 MB",
        "! This is no reconstruction.", f"chimerax {tmp_path}/run/open_in_chimerax.cxc",
    ):  # fmt: skip
        assert fragment in run.out


def test_the_log_holds_what_was_said(run: Outcome, tmp_path: Path) -> None:
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "accumulating statistics: 12 images" in log
    assert "Contrast: particles are bright." in log
    assert "WARNING: This is no reconstruction." in log


def test_the_summary_holds_settings_and_circumstances(run: Outcome, tmp_path: Path) -> None:
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    settings = ReconstructionSettings(gaussians=100).to_dict()
    assert summary["settings"] == json.loads(json.dumps(settings))
    note = {"code": "fake", "severity": "warning", "text": "This is no reconstruction."}
    assert summary["notes"] == [note | {"remedy": ""}]
    assert summary["schema_version"] == 1
    assert summary["particles"] == str(tmp_path / "particles.star")
    assert summary["resolutions"]["cross, masked"] == {"0.5": None, "0.143": 4.5}
    assert {"date", "command", "versions", "machine"} <= set(summary["provenance"])


def test_the_page_needs_no_other_file(run: Outcome, tmp_path: Path) -> None:
    page = (tmp_path / "run" / "report.html").read_text()
    assert re.search(r'class="number">4\.50<small> Å</small>', page)
    pictures = 4 + 2 * 6 + 3  # surfaces, slices of two maps and of the local resolution
    assert page.count('src="data:image/png;base64,') == pictures
    assert "http" not in page and "<script" not in page
    assert "This is no reconstruction." in page and "<h1>run</h1>" in page


def test_a_missing_split_is_announced(
    cli: Cli, star: Callable[..., Path], fake_recipe: None, tmp_path: Path
) -> None:
    done = cli("reconstruct", star(rlnRandomSubset=None), "-o", tmp_path / "run")
    assert "half-sets      none in the file; a random split will be written" in done.out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ReconstructionSettings()),
        (("--invert",), ReconstructionSettings(contrast="dark")),
        (("--no-invert",), ReconstructionSettings(contrast="bright")),
        (
            ("--start", "random", "--seed", 3, "--steps", 9),
            ReconstructionSettings(start="random", seed=3, steps=9),
        ),
    ],
)
def test_options_become_settings(
    options: tuple,
    expected: ReconstructionSettings,
    cli: Cli,
    star: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []

    def recipe(particles, settings, progress, **inputs) -> Reconstruction:
        given.append(settings)
        return fake_reconstruct(particles, settings, progress, **inputs)

    monkeypatch.setattr("cryosplat.cli._reconstruct.reconstruct", recipe)
    assert cli("reconstruct", star(), "-o", tmp_path / "run", *options).code == 0
    assert given == [expected]


def test_cryodrgn_pickles_are_passed_on(
    cli: Cli, data_set, pickles: tuple[Path, Path], fake_recipe: None, tmp_path: Path
) -> None:
    poses, ctf = (p.rename(p.with_name(f"my_{p.name}")) for p in pickles)
    stack = tmp_path / "particles.mrcs"
    arguments = "reconstruct", stack, "--poses", poses, "--ctf", ctf, "-o", tmp_path / "run"
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert "particles      12  from" in done.out

"""The run folder: it appears whole or not at all, and never costs a user a file."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest

from cryosplat import InputError, OutputError, RunFolder
from cryosplat.notes import Note
from cryosplat.run_folder import RunSummary
from cryosplat.run_folder.schema import SCHEMA, json_schema


def test_a_run_appears_under_its_name_only_when_committed(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        folder.map.write_text("map")
        assert not (tmp_path / "run").exists()
        assert folder.path.name == ".run.partial"
        run = folder.commit()
    assert run.map.read_text() == "map"
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_run_that_ends_early_leaves_nothing(tmp_path: Path, error: type) -> None:
    with pytest.raises(error), RunFolder.create(tmp_path / "run") as folder:
        folder.map.write_text("half a map")
        raise error
    assert os.listdir(tmp_path) == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with RunFolder.create(tmp_path / "run") as folder:
        folder.map.write_text("map")
        folder.commit()
    assert (tmp_path / "run" / "map.mrc").exists()


def test_a_relative_path_is_the_place_where_the_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with RunFolder.create("run") as folder:
        monkeypatch.chdir(tmp_path / "elsewhere")
        folder.commit()
    assert (tmp_path / "run").is_dir()


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(OutputError, match="exists already and is not empty"):
        RunFolder.create(tmp_path)
    with pytest.raises(OutputError, match=r"holds no earlier run .*--overwrite leaves it alone"):
        RunFolder.create(tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "precious"


def _earlier_run(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text("{}")
    (path / "map.mrc").write_text("old map")
    (path / "session.cxs").write_text("precious")


def test_an_earlier_run_is_replaced_only_on_request(tmp_path: Path) -> None:
    _earlier_run(tmp_path / "run")
    with pytest.raises(OutputError, match="Remedy: add --overwrite to replace that run"):
        RunFolder.create(tmp_path / "run")
    with RunFolder.create(tmp_path / "run", overwrite=True) as folder:
        folder.half1.write_text("new half-map")
        assert (tmp_path / "run" / "map.mrc").read_text() == "old map"
        folder.commit()
    assert sorted(os.listdir(tmp_path / "run")) == ["half1.mrc", "session.cxs"]
    assert os.listdir(tmp_path) == ["run"]


def test_an_earlier_run_survives_a_failed_one(tmp_path: Path) -> None:
    _earlier_run(tmp_path / "run")
    with (
        pytest.raises(KeyboardInterrupt),
        RunFolder.create(tmp_path / "run", overwrite=True) as folder,
    ):
        folder.map.write_text("half a map")
        raise KeyboardInterrupt
    assert (tmp_path / "run" / "map.mrc").read_text() == "old map"
    assert os.listdir(tmp_path) == ["run"]


def test_a_file_a_missing_parent_and_a_file_as_parent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="exists and is not a folder"):
        RunFolder.create(tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match=r"does not exist.\n  Remedy: mkdir -p "):
        RunFolder.create(tmp_path / "a" / "run")
    with pytest.raises(OutputError, match="file is not a folder"):
        RunFolder.create(tmp_path / "file" / "run")


def test_a_read_only_parent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **how: Path(path) != tmp_path)
    with pytest.raises(OutputError, match=r"you may not write to .*\n  Remedy: choose another"):
        RunFolder.create(tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_noticed_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with RunFolder.create(tmp_path / "run") as folder:
        folder.check_space(2_000_000)
        with pytest.raises(
            OutputError, match=r"will take about 8.07 MB, but the disk has 3 MB free"
        ):
            folder.check_space(8_070_000)


def test_fsc_curves_come_back_with_gaps_where_unknown(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_fsc_csv([0.0, 0.1, 0.2], {"one, two": [1.0, 0.5, math.nan], "b": [1, 0, -0.25]})
    assert folder.fsc_csv.read_text().splitlines()[1:3] == [
        "0,0.00000000,,1.000000,1.000000",
        "1,0.10000000,10.0000,0.500000,0.000000",
    ]
    frequencies, curves = folder.read_fsc_csv()
    assert frequencies == [0.0, 0.1, 0.2]
    assert curves["one, two"][:2] == [1.0, 0.5] and math.isnan(curves["one, two"][2])
    assert curves["b"] == [1.0, 0.0, -0.25]


def test_fsc_for_the_emdb_has_its_elements(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_fsc_xml([0.0, 0.1, 0.2], [1.0, 0.5, math.nan], 'half-maps, "corrected"')
    root = ElementTree.parse(folder.fsc_xml).getroot()
    assert root.tag == "fsc" and root.get("title") == 'half-maps, "corrected"'
    assert root.get("xaxis") == "Resolution (A-1)"
    assert root.get("yaxis") == "Correlation Coefficient"
    points = [(float(c.findtext("x", "")), float(c.findtext("y", ""))) for c in root]
    assert points == [(0.0, 1.0), (0.1, 0.5)]


def test_the_summary_is_json_that_any_reader_takes(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    summary = RunSummary(
        box_size=16, pixel_size=2.0, resolution=math.inf, trials=[[[1.0, 2.0, math.nan]]],
        notes=[Note("a-code", "alarm", "Text.", "Remedy.")],
    )  # fmt: skip
    folder.write_summary(summary)
    found = json.loads(folder.summary.read_text(), parse_constant=pytest.fail)
    assert found["resolution"] is None and found["trials"] == [[[1.0, 2.0, None]]]
    again = folder.read_summary()
    assert again.headline is not None and again.headline.number == "none"
    assert again.model_copy(update={"headline": None}) == summary
    jsonschema.validate(found, json.loads(SCHEMA.read_text("utf-8")))


def test_the_schema_in_the_repository_is_that_of_the_code() -> None:
    """If not: python -m cryosplat.run_folder.schema > src/cryosplat/run_folder/run.schema.json"""
    assert SCHEMA.read_text("utf-8") == json_schema()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the summary of a run"),
        ("[1]", "not the summary of a run"),
        ("[" * 100_000, "not the summary of a run"),
        ("\udcff", "it is no UTF-8 text"),
        ('{"box_size": 16}', "pixel_size: Field required"),
        ('{"box_size": 0, "pixel_size": 1.0}', "box_size: Input should be greater than or equal"),
        ('{"box_size": 8, "pixel_size": NaN}', "pixel_size: Input should be a finite number"),
        ('{"box_size": 8, "pixel_size": 1, "notes": [3]}', "notes.0: Input should be"),
        ('{"schema_version": 99}', "written by a newer cryosplat .schema 99, expected at most 1"),
    ],
)
def test_a_damaged_summary_is_named(text: str, message: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.summary.write_text(text, "utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=rf"run\.json: .*{message}"):
        folder.read_summary()


def test_keys_of_other_versions_are_passed_over(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.summary.write_text('{"box_size": 8, "pixel_size": 1.5, "later": {"a": 1}}')
    assert folder.read_summary() == RunSummary(box_size=8, pixel_size=1.5)


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run.json: cannot be read .*\n  Remedy: give the folder"):
        RunFolder(tmp_path).read_summary()


SECOND = """
import sys, time
from cryosplat import RunFolder
with RunFolder.create(sys.argv[1]) as folder:
    folder.map.write_text("map")
    print("begun", flush=True)
    time.sleep(60)
"""


def _begun(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SECOND, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def test_a_second_run_into_the_same_folder_is_refused_at_the_start(tmp_path: Path) -> None:
    with _begun(tmp_path / "run") as process:
        expected = rf"run: is being written by process {process.pid} on .*, since 20"
        with pytest.raises(OutputError, match=expected):
            RunFolder.create(tmp_path / "run")
        with pytest.raises(OutputError, match=expected):
            RunFolder.create(tmp_path / "run", overwrite=True)
        with RunFolder.create(tmp_path / "other") as folder:
            folder.commit()
        process.terminate()


def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    with _begun(tmp_path / "run") as process:
        process.kill()
    assert os.listdir(tmp_path) == [".run.partial"]
    with RunFolder.create(tmp_path / "run") as folder:
        assert not folder.map.exists()
        folder.commit()
    assert os.listdir(tmp_path) == ["run"] and os.listdir(tmp_path / "run") == []


def test_what_another_machine_left_is_told_and_kept(tmp_path: Path) -> None:
    staging = tmp_path / ".run.partial"
    staging.mkdir()
    owner = {"machine": "0" * 8, "host": "node17", "pid": 1, "begun": "2026-01-01 10:00:00"}
    (staging / ".owner").write_text(json.dumps(owner))
    with pytest.raises(OutputError, match=r"process 1 on node17(.|\n)*rm -r .*\.run\.partial"):
        RunFolder.create(tmp_path / "run")
    assert staging.exists()


def test_a_folder_made_meanwhile_is_left_alone_and_the_run_kept(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        folder.map.write_text("map")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes.txt").write_text("precious")
        run = folder.commit()
    assert run.path.name == "run-2" and run.map.read_text() == "map"
    assert (tmp_path / "run" / "notes.txt").read_text() == "precious"


def test_a_replaced_folder_keeps_its_mode(tmp_path: Path) -> None:
    _earlier_run(tmp_path / "run")
    (tmp_path / "run").chmod(0o2750)
    with RunFolder.create(tmp_path / "run", overwrite=True) as folder:
        folder.commit()
    assert (tmp_path / "run").stat().st_mode & 0o7777 == 0o2750


def test_a_name_near_the_limit_is_a_run_like_any_other(tmp_path: Path) -> None:
    name = "r" * 250
    with RunFolder.create(tmp_path / name) as folder:
        folder.map.write_text("map")
        folder.commit()
    assert os.listdir(tmp_path) == [name]

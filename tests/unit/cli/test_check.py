"""``cryosplat check`` at the command line: exit codes, table, JSON, corrected file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planted import PlantedSet, planted, simulate_clean

from cryosplat.cli import main
from cryosplat.particles import read_particles


@pytest.fixture(scope="module")
def clean_star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_clean(tmp_path_factory.mktemp("set") / "set")


@pytest.fixture
def particle_set(clean_star: Path, tmp_path: Path) -> PlantedSet:
    return planted(clean_star, tmp_path)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["check", *map(str, arguments)])
    return int(stopped.value.code or 0)


def test_a_clean_set_exits_with_0(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(particle_set.write(), "--threads", "1") == 0
    said = capsys.readouterr().out
    assert "240 particles" in said
    assert "conventions fit the images best" in said
    assert "alarm" not in said


def test_an_alarm_exits_with_1_and_is_written(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    particle_set.rows["rlnDefocusU"] *= 1e-4
    particle_set.rows["rlnDefocusV"] *= 1e-4
    path = particle_set.folder / "check.json"
    assert run(particle_set.write(), "--no-trial", "--json", path) == 1
    assert "the values are in micrometres" in " ".join(capsys.readouterr().out.split())
    told = json.loads(path.read_text())
    assert told["alarm"] is True
    (item,) = (i for i in told["items"] if i["title"] == "defocus")
    assert (item["status"], item["findings"][0]["code"]) == ("alarm", "defocus-micrometre")
    assert run(particle_set.write(), "--no-trial", "--json", path) == 2  # it exists


def test_unreadable_input_exits_with_2(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    particle_set.rows = particle_set.rows.drop(columns="rlnAngleRot")
    assert run(particle_set.write()) == 2
    assert "missing rlnAngleRot" in capsys.readouterr().out
    assert run(particle_set.folder / "none.star") == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_half_sets_of_some_rows_are_told_in_the_readers_words(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    particle_set.rows.loc[3, "rlnRandomSubset"] = 0
    assert run(particle_set.write()) == 2
    assert "expected 1 or 2 in every row" in " ".join(capsys.readouterr().out.split())


def test_a_fixed_file_is_written_and_told(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    particle_set.name("gone.mrcs", slice(5, 25))
    out = particle_set.folder / "fixed.star"
    path = particle_set.write()
    assert run(path, "--no-trial", "--fix", out, "--drop-missing") == 1
    said = capsys.readouterr().out
    assert f"220 of 240 particles in {out}" in said
    assert "20 rows without a usable image dropped" in said
    assert len(read_particles(out)) == 220
    assert run(path, "--no-trial", "--fix", out, "--drop-missing") == 2
    assert run(path, "--no-trial", "--fix", out, "--drop-missing", "--overwrite") == 1
    assert run(out, "--no-trial") == 0


def test_dropping_needs_a_file(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(particle_set.write(), "--drop-missing") == 2
    assert "--fix OUT.star" in capsys.readouterr().err


def test_selected_rows_are_checked(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    particle_set.rows["rlnVoltage"] = np.where(np.arange(particle_set.n) < 100, 300.0, 30.0)
    path = particle_set.write()
    run(path, "--no-trial", "--first", "50")
    assert "Unusual voltage" not in capsys.readouterr().out
    run(path, "--no-trial")
    assert "Unusual voltage" in capsys.readouterr().out


def test_what_was_found_replaces_nothing(
    particle_set: PlantedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = particle_set.write(), particle_set.folder
    (folder / "table.json").symlink_to(path)
    (folder / "images.json").symlink_to(read_particles(path).images.stacks[0].path)
    (folder / "fixed.json").symlink_to(folder / "fixed.star")
    before = path.read_bytes()
    for out, said in (
        (path, "expected a name that ends in .json"),
        (folder / "table.json", "would replace the file it is made from"),
        (folder / "images.json", "would replace the file it is made from"),
        (folder / "fixed.json", "is the file of --fix"),
        (folder / "none" / "a.json", "there is no folder"),
    ):
        assert run(path, "--json", out, "--fix", folder / "fixed.star", "--overwrite") == 2
        assert said in capsys.readouterr().err, out
    assert path.read_bytes() == before and not (folder / "fixed.star").exists()
    (folder / "images.star").symlink_to(folder / "images.json")
    assert run(path, "--fix", folder / "images.star", "--overwrite") == 2
    assert "would replace the file it is made from" in capsys.readouterr().err

"""The smaller commands, help, version; and once everything together on a small set."""

from __future__ import annotations

import inspect
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
import typer
from fake_runs import Outcome

from cryosplat import GaussianMixture, Grid, __version__, read_map, voxelize, write_map
from cryosplat.cli._app import app
from cryosplat.cli._grouped import grouped
from cryosplat.cli._particle_files import ParticleFiles
from cryosplat.io.ply import write_ply
from cryosplat.io.star import read_star

COMMANDS = [info.callback.__name__ for info in app.registered_commands if info.callback]

Cli = Callable[..., Outcome]
CENTRES = ([[0.0, 0.0, 0.0], [6.0, 3.0, -4.0], [-5.0, 2.0, 6.0]],)


@pytest.fixture
def ply(tmp_path: Path) -> Path:
    """Three Gaussians, 2 to 3 Angstrom wide."""
    path = tmp_path / "gaussians.ply"
    scales = [[2.0, 2.5, 3.0]] * 3
    write_ply(path, CENTRES[0], scales, [[1.0, 0.0, 0.0, 0.0]] * 3, [1.0, 2.0, 3.0])
    return path


def test_the_package_runs_as_a_module() -> None:
    for option in ("--version", "-V"):
        command = [sys.executable, "-m", "cryosplat", option]
        shown = subprocess.run(command, capture_output=True, text=True)
        assert (shown.returncode, shown.stdout) == (0, f"cryosplat {__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_in_words(cli: Cli, name: str) -> None:
    """No type after a flag, no braces around an argument, no sentence cut off at its start."""
    done = cli(name, "--help")
    assert done.code == 0
    usage = next(line for line in done.out.splitlines() if "Usage:" in line)
    assert "<bool>" not in done.out and "{" not in usage
    assert not re.search(r" (Of|By) ", done.out.replace("Set of", ""))


@pytest.mark.parametrize("name", ["reconstruct", "check", "convert"])
def test_commands_share_the_options_of_particles(cli: Cli, name: str) -> None:
    shown = cli(name, "--help").out
    for field in fields(ParticleFiles)[1:]:
        assert f"--{field.name.replace('_', '-')} " in shown


def test_grouped_options_are_those_of_the_dataclass() -> None:
    @dataclass(frozen=True)
    class Pair:
        first: Annotated[int, typer.Argument()]
        second: Annotated[str, typer.Option("--other")] = "b"

    called = []

    def command(plain: Annotated[float, typer.Option()], pair: Pair, last: bool = False) -> None:
        called.append((plain, pair, last))

    command.__annotations__["pair"] = Pair
    made = grouped(command)
    assert list(inspect.signature(made).parameters) == ["plain", "first", "second", "last"]
    made(plain=1.0, first=2, second="c", last=True)
    assert called == [(1.0, Pair(2, "c"), True)]


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_and_version_are_quick_and_light() -> None:
    command = [sys.executable, "-c", "from cryosplat.cli import main; main()"]
    fastest = np.inf  # seconds of processor time: other programs may be running
    for _ in range(3):
        begin = _seconds_of_children()
        shown = subprocess.run([*command, "--help"], capture_output=True, text=True)
        fastest = min(fastest, _seconds_of_children() - begin)
    assert shown.returncode == 0
    for name in ("reconstruct", "demo", "simulate", "voxelize", "fsc"):
        assert f" {name} " in shown.stdout
    assert fastest < 1.0
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout) == (0, f"cryosplat {__version__}\n")


def test_voxelize_writes_what_the_library_renders(cli: Cli, ply: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.mrc"
    assert cli("voxelize", ply, "-o", out, "--box", 24, "--pixel-size", 1.5).code == 0
    found = read_map(out)
    scales = torch.tensor([[2.0, 2.5, 3.0]] * 3)
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3)
    mixture = GaussianMixture(torch.tensor(CENTRES[0]), scales, turns, torch.tensor([1.0, 2, 3]))
    np.testing.assert_array_equal(found.data, voxelize(mixture, Grid(24, 1.5)).numpy())
    assert found.pixel_size == 1.5


def test_voxelize_keeps_the_mass_on_pixels_wider_than_the_gaussians(
    cli: Cli, ply: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.mrc"
    assert cli("voxelize", ply, "-o", out, "--box", 12, "--pixel-size", 6.0).code == 0
    assert read_map(out).data.sum() == pytest.approx(6.0, rel=1e-4)


def test_voxelize_of_a_missing_file(cli: Cli, tmp_path: Path) -> None:
    done = cli("voxelize", tmp_path / "no.ply", "-o", tmp_path / "a.mrc", "--box", 12,
               "--pixel-size", 6)  # fmt: skip
    assert done.code == 2 and "no.ply: No such file or directory." in done.err


def test_voxelize_writes_maps_only(cli: Cli, ply: Path, tmp_path: Path) -> None:
    before = ply.read_bytes()
    (tmp_path / "linked.mrc").symlink_to(ply)
    for out, said in (
        (ply, "maps are written as .mrc or .map, not as .ply"),
        (tmp_path / "map", "not as a file without suffix"),
        (tmp_path / "linked.mrc", "would replace the file it is made from"),
    ):
        done = cli("voxelize", ply, "-o", out, "--box", 12, "--pixel-size", 6.0)
        assert done.code == 2 and said in done.err
    assert ply.read_bytes() == before and not (tmp_path / "map").exists()


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path]:
    """A map, and the same with noise."""
    rng = np.random.default_rng(3)
    signal = rng.normal(size=(16, 16, 16))
    paths = tmp_path / "a.mrc", tmp_path / "b.mrc"
    write_map(paths[0], signal, 2.0)
    write_map(paths[1], signal + 0.1 * rng.normal(size=signal.shape), 2.0)
    return paths


def test_fsc_tells_the_resolution(cli: Cli, maps: tuple[Path, Path]) -> None:
    done = cli("fsc", *maps)
    assert done.code == 0
    nyquist = ["4.00", "Å", "(at", "Nyquist)"]
    assert done.out.splitlines()[1].split() == ["unmasked", *nyquist * 2, "4.00,", "4.00", "Å"]


def test_fsc_writes_curves(cli: Cli, maps: tuple[Path, Path], tmp_path: Path) -> None:
    write_map(tmp_path / "mask.mrc", np.ones((16, 16, 16)), 2.0)
    for name in ("fsc.csv", "fsc.png"):
        done = cli("fsc", *maps, "--mask", tmp_path / "mask.mrc", "-o", tmp_path / name)
        assert done.code == 0, done.err
        assert "corrected" in done.out and "random phases" not in done.out
    table = (tmp_path / "fsc.csv").read_text().splitlines()
    assert table[0] == (
        "shell,frequency (1/A),resolution (A),corrected,masked,unmasked,random phases"
    )
    assert len(table) == 1 + 9 and table[-1].startswith("8,0.25000000,4.0000,0.9")


def test_fsc_of_maps_that_do_not_fit(cli: Cli, maps: tuple[Path, Path], tmp_path: Path) -> None:
    write_map(tmp_path / "c.mrc", np.ones((16, 16, 16)), 2.5)
    done = cli("fsc", maps[0], tmp_path / "c.mrc")
    assert done.code == 2 and "a.mrc has pixels of 2.0000 Å" in done.err
    done = cli("fsc", *maps, "-o", tmp_path / "fsc.txt")
    assert done.code == 2
    assert "curves are written as .png, .svg, .pdf, .csv or .xml, not as .txt" in done.err
    assert not (tmp_path / "fsc.txt").exists()


def _blob(path: Path) -> Path:
    """A map of three unequal blobs on 32 pixels of 3 Angstrom."""
    places = torch.tensor([[0.0, 0.0, 0.0], [15.0, 6.0, -9.0], [-12.0, 9.0, 12.0]])
    scales = torch.full((3, 3), 5.0)
    turns = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3)
    mixture = GaussianMixture(places, scales, turns, torch.tensor([3.0, 2.0, 1.0]))
    write_map(path, voxelize(mixture, Grid(32, 3.0)).numpy(), 3.0)
    return path


def test_simulate_refuses_a_second_box(cli: Cli, tmp_path: Path) -> None:
    model = _blob(tmp_path / "blob.mrc")
    done = cli("simulate", model, "-o", tmp_path / "set", "--box", 64)
    assert done.code == 2 and "--box 64" in done.err and "has its own box" in done.err
    assert not (tmp_path / "set").exists()


def test_from_a_map_to_particles_and_back(cli: Cli, tmp_path: Path) -> None:
    model, data, run = _blob(tmp_path / "blob.mrc"), tmp_path / "set", tmp_path / "run"
    done = cli("simulate", model, "-o", data, "--n", 300, "--snr", 0.5, "--contrast", "dark",
               "--voltage-kv", 300, "--voltage-kv", 200)  # fmt: skip
    assert done.code == 0, done.err
    assert "300 particles of 32 px, 3 Å" in done.out
    assert list(read_star(data / "particles.star")["optics"]["rlnVoltage"].astype(float)) == [
        300,
        200,
    ]
    done = cli("reconstruct", data / "particles.star", "-o", run, "--gaussians", 40, "--steps", 30)
    assert done.code == 0, done.err
    assert "optics groups  2  (the first: 300 kV" in done.out
    assert "dark protein" in done.out
    truth, found = (read_map(p).data.ravel() for p in (model, run / "map.mrc"))
    assert np.corrcoef(truth, found)[0, 1] > 0.95
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]

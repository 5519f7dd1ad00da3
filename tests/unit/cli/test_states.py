"""``classify``, ``motion`` and ``voxelize --at``: what they write, in few iterations on few images."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fake_runs import Outcome

from cryosplat import GaussianMixture, Grid, read_map
from cryosplat.io.pickles import load_pickle
from cryosplat.io.star import read_star, write_star
from cryosplat.particles import read_particles
from cryosplat.run_folder import RunFolder
from cryosplat.simulation import SimulationSettings, simulate_particles
from cryosplat.states import (
    StateSettings,
    Verdict,
    _finer,
    _freeing,
    _learned,
    _merging,
    _preparation,
)
from cryosplat.viewer.scene import of_state, read_scene

# the package's `classify` is the function
classify, motion = (
    importlib.import_module(f"cryosplat.states.{n}") for n in ("classify", "motion")
)

Cli = Callable[..., Outcome]
GRID = Grid(20, 4.0)
EACH = 110


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of a molecule with its arm, then without."""
    folder = tmp_path_factory.mktemp("states")
    draw = torch.Generator().manual_seed(5)
    body = 6.0 * torch.randn(30, 3, generator=draw) - torch.tensor([5.0, 0.0, 0.0])
    arm = torch.stack([torch.linspace(8.0, 20.0, 10), torch.zeros(10), torch.zeros(10)], 1)
    means = torch.cat([body, arm])
    quaternions = torch.tensor([[1.0, 0, 0, 0]]).repeat(40, 1)
    whole = GaussianMixture(means, torch.full((40, 3), 3.5), quaternions, torch.ones(40))
    tables = []
    for name, mixture in (("a", whole), ("b", whole.select(torch.arange(30)))):
        settings = SimulationSettings(EACH, 0.4)
        star = simulate_particles(mixture, GRID, settings, folder / name, draw)
        blocks = read_star(star)
        rows = blocks["particles"]
        rows["rlnImageName"] = rows["rlnImageName"].str.replace("@", f"@{name}/")
        tables.append(rows)
    path = folder / "particles.star"
    write_star(path, blocks | {"particles": pd.concat(tables, ignore_index=True)})
    return path


@pytest.fixture
def few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, n in (
        (classify, "SEARCH", 8), (classify, "POLISH", 2), (motion, "SEARCH", 8),
        (motion, "POLISH", 2), (_merging, "RELEARN", 2), (_preparation, "SINGLE", 4),
        (_finer, "EVERYONE", 2), (_finer, "HALVES", 2),
        (_freeing, "ALONE", 2), (_freeing, "TOGETHER", 2),
    ):  # fmt: skip
        plan = dataclasses.replace(getattr(module, name), iterations=n)
        monkeypatch.setattr(module, name, plan)
    monkeypatch.setattr("cryosplat.report.states.PICTURE", 40)


def test_states_are_refined_in_a_larger_box(
    cli: Cli, particles: Path, tmp_path: Path, few_iterations: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_finer, "LEAST", 1.2)
    out = tmp_path / "run"
    small = "--box", 16, *OPTIONS[2:], "--refine-box", 20, "--classes", 2
    assert cli("classify", particles, "-o", out, *small).code == 0
    log = RunFolder(out).log.read_text("utf-8")
    assert "in a box of 20 pixels" in log


OPTIONS = "--box", 20, "--starts", 1, "--gaussians", 40, "--threads", 1


def test_classes_are_written_with_their_particles_and_maps(
    cli: Cli, particles: Path, tmp_path: Path, few_iterations: None
) -> None:
    out = tmp_path / "run"
    done = cli("classify", particles, "-o", out, "--classes", 2, *OPTIONS)
    assert done.code == 0, done.err
    run = RunFolder(out)
    table = read_star(run.particles)["particles"]
    assert set(table["rlnClassNumber"]) <= {1, 2} and len(table) == 2 * EACH
    assert table["rlnMaxValueProbDistribution"].between(0.5, 1.0).all()
    states = run.read_summary().states
    assert states is not None and states.n == 2 and sum(states.counts) == 2 * EACH
    for j in (1, 2):
        stem = run.classes / f"class_{j:02d}"
        rows = read_star(stem.with_suffix(".star"))["particles"]
        assert len(rows) == states.counts[j - 1] == (table["rlnClassNumber"] == j).sum()
        for suffix in ("", "_half1", "_half2", "_gaussians"):
            assert read_map(Path(f"{stem}{suffix}.mrc")).data.shape == (20, 20, 20)
    posterior = load_pickle(run.latent)
    assert np.allclose(posterior.sum(1), 1.0, atol=1e-5)
    assert (posterior.argmax(1) + 1 == table["rlnClassNumber"]).all()
    page = run.report.read_text("utf-8")
    assert "Class 1" in page and "How many classes" in page
    drawn = tmp_path / "class.mrc"
    assert cli("voxelize", out, "--at", 2, "-o", drawn).code == 0
    made = read_map(run.classes / "class_02_gaussians.mrc")
    assert np.allclose(read_map(drawn).data, made.data, atol=1e-5)
    scene = read_scene(run)
    assert scene.states is not None and list(scene.maps)[-2:] == ["Class 1", "Class 2"]
    path, n = scene.states.write_chosen([(2.0, 2.0)])
    assert n == states.counts[1] == len(read_star(path)["particles"])
    wrong = cli("voxelize", out, "--at", 3, "-o", drawn)
    assert wrong.code == 2 and "--at 3" in wrong.err and "1 to 2" in wrong.err
    assert "Remedy: --at 1" in wrong.err
    missing = cli("voxelize", out, "-o", drawn)
    assert missing.code == 2 and "--at is needed" in missing.err
    summary = run.read_summary()
    assert summary.settings and summary.settings["starts"] == 1
    assert summary.contrast and summary.contrast.used == "bright"
    assert cli("report", out).code == 0


def test_one_class_that_is_asked_for_is_no_failure(
    cli: Cli, particles: Path, tmp_path: Path, few_iterations: None
) -> None:
    out = tmp_path / "run"
    done = cli("classify", particles, "-o", out, "--classes", 1, *OPTIONS)
    assert done.code == 0 and "One class, as asked for" in done.out and "!" not in done.out
    states = RunFolder(out).read_summary().states
    assert states is not None and states.n == 1 and states.counts == [2 * EACH]
    assert "One class, as asked for" in RunFolder(out).report.read_text("utf-8")


def test_motion_is_written_with_coordinates_and_maps(
    cli: Cli, particles: Path, tmp_path: Path, few_iterations: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(motion, "judged", lambda *a: Verdict(True, a[0], a[2], a[1]))
    # after so few iterations neither a gain nor an agreement is sure
    for module in (motion, _freeing):
        monkeypatch.setattr(module, "clear", lambda gains: True)
    monkeypatch.setattr(motion, "AGREED", -1.0)
    monkeypatch.setattr(_finer, "LEAST", 1.2)
    out = tmp_path / "run"
    done = cli("motion", particles, "-o", out, "--box", 16, *OPTIONS[2:])
    assert done.code == 0 and "The part that moves" in done.out
    run = RunFolder(out)
    assert "half-set's motion refined at 20 pixels" in run.log.read_text("utf-8")
    table = read_star(run.particles)["particles"]
    assert table["cryosplatCoordinate1"].between(-1.0, 1.0).all()
    assert (table["cryosplatCoordinate1Width"] >= 0.0).all()
    states = run.read_summary().states
    assert states is not None and states.coordinates == 1 and len(states.gains) == 2
    frames = sorted(run.states.glob("frame_*.mrc"))
    assert len(frames) == len(states.frames) == 20
    assert f"open {frames[0].relative_to(out)}" in run.chimerax.read_text("utf-8")
    assert "Coloured by how far a part moves" in run.report.read_text("utf-8")
    drawn, first = tmp_path / "at.mrc", states.frames[0][0]
    assert cli("voxelize", out, f"--at={first}", "-o", drawn).code == 0
    assert np.allclose(read_map(drawn).data, read_map(frames[0]).data, atol=1e-5)
    assert load_pickle(run.latent).shape == (2 * EACH, 1)
    shown = read_scene(run).states
    assert shown is not None and shown.histogram()[1].sum() == 2 * EACH
    path, n = shown.write_chosen([(-1.0, shown.middle()[0])])
    chosen = read_star(path)["particles"]["cryosplatCoordinate1"].to_numpy(float)
    assert EACH <= n == len(chosen) <= 2 * EACH
    assert chosen.max() <= shown.middle()[0] + 1e-6
    moved = shown.at([0.5]).means - shown.at([-0.5]).means
    assert 0.0 < moved.abs().max() < 20.0
    # the arm, which half of the images lack
    assert states.further_found and states.further.startswith("Parts come and go: a tenth")
    places = np.array(states.frames, float)
    masses = [of_state(shown, at).amplitudes.sum() for at in places.tolist()]
    assert max(masses) > 1.1 * min(masses)
    old = {name: array for name, array in shown.stored.arrays.items() if name != "fades"}
    before = dataclasses.replace(shown.stored, arrays=old)  # as older files are
    assert np.ptp([float(before.at(at).amplitudes.sum()) for at in places.tolist()]) == 0.0
    assert set(states.moving) == {"all particles", "those in this state", "motion undone"}
    for name in ("canonical", "canonical_half1", "canonical_half2", "moving_part_mask"):
        assert np.isfinite(read_map(run.states / f"{name}.mrc").data).all()
    assert read_map(run.map).data.shape == (20, 20, 20)
    assert "moving part, motion undone" in run.read_fsc_csv()[1]
    page = run.report.read_text("utf-8")
    assert "Along the coordinate" in page and "the part that moves" in page
    assert "Parts come and go" in page


def test_a_search_goes_on_after_the_start_that_was_finished(
    cli: Cli, particles: Path, tmp_path: Path, few_iterations: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "run"
    command = "motion", particles, "-o", out, *OPTIONS
    with monkeypatch.context() as broken:
        broken.setattr("cryosplat.states.motion.rigid_share", _interrupted)
        assert cli(*command).code == 130
    assert not out.exists() and RunFolder(out).checkpoint.exists()
    assert cli(*command).code == 2  # neither --resume nor --overwrite
    learned = []
    before = _learned.learn
    monkeypatch.setattr(_learned, "learn", lambda *a: learned.append(1) or before(*a))
    assert cli(*command, "--resume").code == 0
    assert not learned and not RunFolder(out).checkpoint.exists()


def test_coordinates_are_added_while_they_explain_more(
    particles: Path, few_iterations: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("AGREED", -1.0), ("MOST_COORDINATES", 2)):
        monkeypatch.setattr(motion, name, value)
    plan = dataclasses.replace(motion.SEARCH, iterations=3)
    monkeypatch.setattr(motion, "SEARCH", plan)
    given = iter([True, True, False])  # two coordinates, and no part that comes and goes
    monkeypatch.setattr(motion, "clear", lambda gain: next(given))
    settings = StateSettings(box=16, starts=1, gaussians=30)
    found = motion.move(read_particles(particles), settings, coordinates=None)
    assert next(given, None) is None
    assert found.coordinate.shape == (2 * EACH, 2) and found.nodes.shape[1] == 2


def _interrupted(model: object) -> float:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("classify", "--classes", "9"), "1 to 8"),
        (("motion", "--coordinates", "4"), "1 to 3"),
        (("motion", "--box", "33"), "an even number"),
        (("motion", "--refine-box", "33"), "an even number"),
    ],
)
def test_options_out_of_range_are_refused(
    cli: Cli, particles: Path, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    done = cli(options[0], particles, "-o", tmp_path / "run", *options[1:])
    assert done.code == 2 and told in done.err

"""``cryosplat abinit``: what it writes, and what it says where nothing is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_runs import Outcome
from planted import simulate_clean

import cryosplat.abinitio
from cryosplat import GaussianMixture, RunFolder, read_map, read_particles
from cryosplat.abinitio import AbinitSettings, FoundPoses, Score, Snapshot
from cryosplat.cli import _reconstruct
from cryosplat.io.star import read_star, write_star
from cryosplat.notes import Note
from cryosplat.particles import Particles
from cryosplat.poses import Poses, random_poses
from cryosplat.settings import ReconstructionSettings, RefinementSettings

Cli = Callable[..., Outcome]


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_clean(tmp_path_factory.mktemp("cli") / "set", 20)


@pytest.fixture
def fake_search(monkeypatch: pytest.MonkeyPatch) -> list[FoundPoses]:
    """A search that finds random poses, or nothing where the seed is 13."""
    made: list[FoundPoses] = []

    def search(particles: Particles, settings: AbinitSettings, *others: object) -> FoundPoses:
        assert torch.equal(particles.poses.rotations[3], torch.eye(3).double())
        g = torch.Generator().manual_seed(settings.seed)
        n, nothing = len(particles), settings.seed == 13
        mixture = GaussianMixture(
            10.0 * torch.randn(9, 3, generator=g), torch.full((9, 3), 9.0),
            torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(9, 1), torch.ones(9),
            symmetry="C2" if settings.symmetry == "auto" else settings.symmetry,
        )  # fmt: skip
        halves = torch.arange(n).remainder(2).add(1).to(torch.int8)
        posed = replace(particles, poses=random_poses(n, g, 4.0), half_sets=halves)
        code, severity = ("no-structure", "alarm") if nothing else ("hand-unknown", "note")
        found = FoundPoses(
            particles if nothing else posed, not nothing, (mixture, mixture),
            torch.linspace(1.0, 0.0, 17, dtype=torch.float64), 32, 20.0, torch.full((n,), 0.5),
            (Score(5.0, 1.0, 0.1, 50),), 0, (Snapshot("step 50", torch.rand(16, 16, 16)),),
            settings, notes=(Note(code, severity, "Words."),), timings={"total": 1.0},
            others=() if nothing else (random_poses(n, g, 4.0), random_poses(n, g, 4.0)),
            refinement=RefinementSettings(angle=12.5, shift=7.0, prior="none"),
        )  # fmt: skip
        made.append(found)
        return found

    monkeypatch.setattr(cryosplat.abinitio, "find_poses", search)
    return made


def test_poses_maps_and_a_report_are_written(
    cli: Cli, star: Path, tmp_path: Path, fake_search: list[FoundPoses]
) -> None:
    done = cli("abinit", star, "-o", tmp_path / "run", "--starts", 1, "--seed", 3, "--invert")
    assert done.code == 0, done.err
    run = RunFolder(tmp_path / "run")
    back = read_particles(run.particles)
    wanted = fake_search[0].particles
    torch.testing.assert_close(back.poses.rotations, wanted.poses.rotations, atol=1e-6, rtol=0)
    assert torch.equal(back.half_sets, wanted.half_sets)
    assert (read_star(run.particles)["particles"]["rlnMaxValueProbDistribution"] == 0.5).all()
    assert read_map(run.map).data.shape == (24, 24, 24)
    summary = run.read_summary()
    assert summary.abinit is not None and summary.abinit.found
    assert summary.abinit.growth == ["step 50"]
    page = run.report.read_text("utf-8")
    assert "The growing map" in page and "--hand flip" in page
    assert "--angle 12.5 --shift 7 --invert --seed 3 --prior none" in done.out
    assert "expected" in done.out and "of memory" in done.out


def test_refine_tries_the_other_places_that_a_search_found(
    cli: Cli, star: Path, tmp_path: Path, fake_search: list[FoundPoses],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Some of the particles in any order have theirs; one that was moved since has none."""
    cli("abinit", star, "-o", tmp_path / "run")
    tried: list[tuple[Particles, Sequence[Poses]]] = []

    def refined(particles: Particles, *_: object, others: Sequence[Poses], **__: object) -> None:
        tried.append((particles, others))
        raise SystemExit(0)

    monkeypatch.setattr(_reconstruct, "refine", refined)
    found = RunFolder(tmp_path / "run").particles
    tables = read_star(found)
    rows = tables["particles"].iloc[[4, 2, 7]].reset_index(drop=True)
    rows.loc[2, "rlnAngleRot"] += 1.0
    write_star(found.with_name("some.star"), {**tables, "particles": rows})
    for name in (found.name, "some.star"):
        for prior in ("none", "given"):
            out = tmp_path / f"{name}-{prior}"
            cli("refine", found.with_name(name), "-o", out, "--prior", prior)
    (_, whole), (_, unused), (some, three), _ = tried
    wanted = fake_search[0].others
    assert len(whole) == len(wanted) == 2 and unused == ()
    for other, kept, picked in zip(wanted, whole, three, strict=True):
        torch.testing.assert_close(kept.rotations, other.rotations, atol=1e-6, rtol=0)
        torch.testing.assert_close(kept.shifts, other.shifts, atol=1e-5, rtol=0)
        torch.testing.assert_close(picked.rotations[:2], kept.rotations[[4, 2]])
        torch.testing.assert_close(picked.rotations[2], some.poses.rotations[2])


@pytest.mark.parametrize(("asked", "wanted"), [("auto", "C2"), ("D7", "D7"), (None, "C1")])
def test_a_reconstruction_goes_on_in_the_point_group_of_the_search(
    cli: Cli, star: Path, tmp_path: Path, fake_search: list[FoundPoses],
    monkeypatch: pytest.MonkeyPatch, asked: str | None, wanted: str,
) -> None:  # fmt: skip
    groups: list[str] = []

    def refined(_: Particles, settings: ReconstructionSettings, *__: object, **___: object) -> None:
        groups.append(settings.symmetry)
        raise SystemExit(0)

    monkeypatch.setattr(_reconstruct, "refine", refined)
    options = [] if asked is None else ["--symmetry", asked]
    cli("reconstruct", star, "--abinit", "-o", tmp_path / "run", *options)
    assert groups == [wanted]
    assert fake_search[0].settings.symmetry == (asked or "C1")


def test_a_point_group_is_found_with_poses_alone(cli: Cli, star: Path, tmp_path: Path) -> None:
    for command in ("reconstruct", "refine"):
        done = cli(command, star, "-o", tmp_path / "run", "--symmetry", "auto")
        assert done.code == 2 and "--abinit" in done.err and "symmetrize" in done.err


def test_nothing_found_is_an_alarm_without_poses(
    cli: Cli, star: Path, tmp_path: Path, fake_search: list[FoundPoses]
) -> None:
    done = cli("abinit", star, "-o", tmp_path / "run", "--seed", 13)
    assert done.code == 1, done.err
    run = RunFolder(tmp_path / "run")
    assert not run.particles.exists() and not run.map.exists()
    assert run.report.exists() and "no structure" in run.report.read_text("utf-8")


def test_options_are_checked(cli: Cli, star: Path, tmp_path: Path) -> None:
    done = cli("abinit", star, "-o", tmp_path / "run", "--hand", "left")
    assert done.code == 2 and "'flip'" in done.err
    done = cli("abinit", star, "-o", tmp_path / "run", "--symmetry", "Q9")
    assert done.code == 2 and "Q9" in done.err
    done = cli("abinit", star, "-o", tmp_path / "run", "--starts", 0)
    assert done.code == 2 and "starts" in done.err
    done = cli("abinit", star, "-o", tmp_path / "run", "--resume")
    assert done.code == 2 and "nothing to resume" in done.err


def test_symmetrize_turns_a_map_and_the_poses_of_its_run(
    cli: Cli, star: Path, tmp_path: Path, fake_search: list[FoundPoses]
) -> None:
    cli("abinit", star, "-o", tmp_path / "run", "--starts", 1)
    out, turned = tmp_path / "c3.mrc", tmp_path / "c3.star"
    done = cli(
        "symmetrize", tmp_path / "run", "-o", out, "--symmetry", "C3", "--particles", turned
    )  # fmt: skip
    assert done.code == 0 and "C3" in done.out, done.err
    volume = torch.from_numpy(read_map(out).data)
    assert float(volume.std()) > 0.0
    before, after = read_particles(tmp_path / "run" / "particles.star"), read_particles(turned)
    turn = before.poses.rotations.transpose(1, 2) @ after.poses.rotations
    torch.testing.assert_close(turn, turn[:1].expand_as(turn), atol=1e-5, rtol=0)
    again = cli("symmetrize", tmp_path / "run", "-o", out)
    assert again.code == 2 and "exists already" in again.err

"""``cryosplat refine`` and ``reconstruct --refine``: what is passed on, written and shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fake_runs import Outcome

from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.particles import Particles, read_particles
from cryosplat.poses import Poses
from cryosplat.reconstruction import Refinement
from cryosplat.reconstruction.refinement import OpticsChanges, Round
from cryosplat.run_folder import RunFolder
from cryosplat.settings import ReconstructionSettings, RefinementSettings

Cli = Callable[..., Outcome]
Star = Callable[..., Path]


def _fake(
    particles: Particles, settings: ReconstructionSettings, how: RefinementSettings,
    progress: object, *, others: object = (), checkpoint: CheckpointFile, show: object,
) -> Refinement:  # fmt: skip
    """Every shift is larger by 1 Angstrom along x, every defocus by 150 Angstrom."""
    first = Round(9.0, 3.0, 0.0, 0.0, float("inf"), float("inf"), 0.0, [0.5] * 10)
    second = Round(8.0, 4.0, 1.0, 0.1, 2.0, 1.0, 0.5, [0.7] * 10)
    poses = particles.poses
    moved = Poses(poses.rotations, poses.shifts + torch.tensor([1.0, 0.0]))
    ones = torch.ones(len(particles), dtype=torch.float64)
    groups = len(particles.optics.groups)
    numbers = torch.tensor([[3e-4, 0.0, 0.01]], dtype=torch.float64).expand(groups, 3)
    optics = OpticsChanges(150.0 * ones, 200.0, numbers, 0.1 * numbers, {"defocus": (0.5, 0.1)})
    seen = optics.applied(particles.optics)
    return Refinement(
        particles=replace(particles, poses=moved, optics=seen), given=poses, optics=optics,
        drew_half_sets=False, verdict="refined", rounds=(first, second), best=1,
        likelihood=ones, peak=ones, samples=ones, settings=how, seconds=1.0,
    )  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[RefinementSettings]:
    settings: list[RefinementSettings] = []

    def fake(*values, **inputs) -> Refinement:
        settings.append(values[2])
        return _fake(*values, **inputs)

    monkeypatch.setattr("cryosplat.cli._reconstruct.refine", fake)
    return settings


def test_new_poses_are_used_written_and_shown(
    cli: Cli, star: Star, fake_recipe: None, told: list[RefinementSettings], tmp_path: Path
) -> None:
    path = star()
    options = "--rounds", 2, "--angle", 5, "--shift", 3
    done = cli("refine", path, "-o", tmp_path / "run", *options)
    assert done.code == 0, done.err
    assert told == [RefinementSettings(2, 5.0, 3.0)]
    done = cli("refine", path, "-o", tmp_path / "run2", "--prior", "some")
    assert done.code == 2 and "prior" in done.err
    run = RunFolder(tmp_path / "run")
    given, written = read_particles(path), read_particles(run.particles)
    moved = written.poses.shifts - given.poses.shifts
    torch.testing.assert_close(
        moved, torch.tensor([[1.0, 0.0]]).expand(12, 2).to(moved), rtol=0.0, atol=1e-5
    )
    assert len(run.poses.read_text("utf-8").splitlines()) == 13
    found = run.read_summary().refinement
    assert found is not None and found.verdict == "refined" and found.rounds[0].angle is None
    page = run.report.read_text("utf-8")
    assert "How far poses moved" in page and "unseen images 1.00 ± 0.10 nats likelier" in page
    assert "voxels 0.500 → 0.700" in page and "How far the defocus moved" in page
    assert "beam tilt x +0.30 ± 0.03 mrad" in page and "magnification 1.0101 ± 0.0010" in page
    change = written.optics.defocus_u - given.optics.defocus_u
    assert float((change - 150.0).abs().max()) < 1e-3
    assert found.optics is not None and found.optics.median_defocus == 150.0
    options = "--no-defocus", "--no-beam-tilt", "--no-magnification"
    assert cli("refine", path, "-o", tmp_path / "run3", *options).code == 0
    how = told[-1]
    assert not (how.defocus or how.beam_tilt or how.magnification)


def test_reconstruct_refines_only_where_it_is_told_to(
    cli: Cli, star: Star, fake_recipe: None, told: list[RefinementSettings], tmp_path: Path
) -> None:
    path = star()
    assert cli("reconstruct", path, "-o", tmp_path / "a").code == 0 and not told
    assert "poses.csv" not in os.listdir(tmp_path / "a")
    assert cli("reconstruct", path, "-o", tmp_path / "b", "--refine").code == 0
    assert told == [RefinementSettings()]


def test_poses_from_nothing_are_refined_in_the_same_run(
    cli: Cli, star: Star, fake_recipe: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = star()
    given = read_particles(path)
    elsewhere = Poses(given.poses.rotations.flip(0), given.poses.shifts)
    how = RefinementSettings(angle=14.0, shift=9.0, prior="none")
    seen: list[object] = []

    def search(*values) -> SimpleNamespace:
        return SimpleNamespace(
            particles=given, found=True, notes=(), others=(elsewhere,), refinement=how
        )

    def fake(*values, **inputs) -> Refinement:
        seen.extend([values[2], inputs["others"]])
        return _fake(*values, **inputs)

    monkeypatch.setattr("cryosplat.abinitio.find_poses", search)
    monkeypatch.setattr("cryosplat.cli._reconstruct.refine", fake)
    done = cli("reconstruct", path, "-o", tmp_path / "run", "--abinit")
    assert done.code == 0, done.err
    assert seen == [how, (elsewhere,)]
    assert RunFolder(tmp_path / "run").poses.exists()


def test_a_refinement_that_was_broken_off_is_not_passed_over(
    cli: Cli, star: Star, fake_recipe: None, told: list[RefinementSettings], tmp_path: Path
) -> None:
    path = star()
    left = RunFolder(tmp_path / "run").refinement_checkpoint
    left.write_bytes(b"")
    done = cli("refine", path, "-o", tmp_path / "run")
    assert done.code == 2 and "add --resume to go on from it" in done.err
    assert cli("refine", path, "-o", tmp_path / "run", "--resume").code == 0
    assert not left.exists() and told == [RefinementSettings()]

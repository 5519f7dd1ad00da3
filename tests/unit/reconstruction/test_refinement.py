"""Refining poses: better ones are found and used, exact ones stay, and noise is not believed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import tolerances
import torch

from cryosplat.alignment import Frame, changes
from cryosplat.alignment._definition import turned
from cryosplat.fitting import Stopped
from cryosplat.grid import Grid
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.io.mrc import write_stack
from cryosplat.io.star import read_star, write_star
from cryosplat.notes import codes
from cryosplat.particles import Particles, read_particles, write_particles
from cryosplat.poses import Poses, random_poses
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction import Refinement, refine
from cryosplat.run_folder import RunFolder
from cryosplat.run_folder._poses import write_poses
from cryosplat.settings import RefinementSettings
from cryosplat.simulation import SimulationSettings, phantom, simulate_particles

GRID = Grid(32, 3.5)
N = 500
ERROR, SHIFT_ERROR = 4.0, 2.0  # degrees about, and Angstrom along, each axis


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    folder = tmp_path_factory.mktemp("refinement") / "particles"
    generator = torch.Generator().manual_seed(5)
    source = phantom("C1")
    settings = SimulationSettings(N, snr=0.25)
    return read_particles(simulate_particles(source, GRID, settings, folder, generator))


@pytest.fixture(scope="module")
def wrong(exact: Particles) -> Particles:
    generator = torch.Generator().manual_seed(6)
    angles = math.radians(ERROR) * torch.randn(N, 3, generator=generator, dtype=torch.float64)
    shifts = SHIFT_ERROR * torch.randn(N, 2, generator=generator, dtype=torch.float64)
    poses = exact.poses
    moved = Poses(turned(angles, poses.rotations.double()), poses.shifts.double() + shifts)
    return replace(exact, poses=moved)


@pytest.fixture(scope="module")
def found(wrong: Particles) -> Refinement:
    return refine(wrong, how=RefinementSettings(rounds=2))


def _median_error(particles: Particles, exact: Particles) -> float:
    return math.degrees(float(changes(particles.poses, exact.poses)[0].norm(dim=1).median()))


def test_poses_that_are_off_become_better_and_are_used(
    found: Refinement, wrong: Particles, exact: Particles
) -> None:
    assert found.verdict == "refined" and found.best >= 1
    assert _median_error(found.particles, exact) < 0.6 * _median_error(wrong, exact)
    best, first = found.rounds[found.best], found.rounds[0]
    assert best.gain > 5.0 * best.gain_deviation
    assert sum(best.cross_fsc) > sum(first.cross_fsc)
    assert "refinement-gained" in codes(found.particles.notes)


def test_the_errors_of_the_given_poses_are_estimated(found: Refinement) -> None:
    last = found.rounds[-1]
    assert last.angle == pytest.approx(ERROR, rel=tolerances.ESTIMATED_ERRORS)
    assert last.shift == pytest.approx(SHIFT_ERROR, rel=tolerances.ESTIMATED_ERRORS)


def test_new_poses_are_written_with_all_columns(found: Refinement, tmp_path: Path) -> None:
    again = read_particles(write_particles(found.particles, tmp_path / "particles.star"))
    angles, shifts = changes(again.poses, found.particles.poses)
    assert angles.abs().max() < 1e-6 and shifts.abs().max() < 1e-5
    torch.testing.assert_close(again.half_sets, found.particles.half_sets)
    assert set(found.particles.table) <= set(again.table)
    likelihoods = torch.from_numpy(again.table["rlnLogLikeliContribution"].to_numpy(copy=True))
    torch.testing.assert_close(likelihoods, found.likelihood, rtol=0.0, atol=1e-3)
    assert again.table["rlnMaxValueProbDistribution"].between(0.0, 1.0).all()
    assert (again.table["rlnNrOfSignificantSamples"] >= 1).all()
    with RunFolder.create(tmp_path / "run") as folder:
        write_poses(folder, found)
        rows = folder.poses.read_text("utf-8").splitlines()
        assert len(rows) == N + 1 and rows[0].startswith("image,half_set,degrees")


@pytest.fixture(scope="module")
def stayed(exact: Particles) -> Refinement:
    return refine(exact, how=RefinementSettings(rounds=1))


def test_exact_poses_stay(stayed: Refinement, exact: Particles) -> None:
    assert _median_error(stayed.particles, exact) < 0.15
    assert stayed.rounds[-1].angle < 0.25 * ERROR
    assert stayed.rounds[-1].gain < 0.05 * stayed.rounds[0].likelihood


def test_other_places_are_tried_where_poses_were_found_in_the_images(
    wrong: Particles, exact: Particles
) -> None:
    """A quarter of the poses is anything; the others hold them, and the exact ones stay found."""
    generator = torch.Generator().manual_seed(9)
    lost = torch.rand(N, generator=generator) < 0.25
    anywhere = random_poses(N, generator, 0.0).rotations
    rotations = torch.where(lost[:, None, None], anywhere, wrong.poses.rotations)
    others = [Poses(rotations.roll(7, 0), wrong.poses.shifts), wrong.poses]
    given = replace(wrong, poses=Poses(rotations, wrong.poses.shifts))
    how = RefinementSettings(rounds=2, prior="none")
    ended = refine(given, how=how, others=others)
    assert ended.verdict == "refined" and not math.isfinite(ended.rounds[-1].angle)
    frame = Frame.drift(ended.particles.poses, exact.poses).scaled(-1.0)
    errors = changes(frame.apply(ended.particles.poses), exact.poses)[0].norm(dim=1)
    errors = errors * (180.0 / math.pi)
    assert float((errors < 3.0 * ERROR).double().mean()) > 0.95
    assert float(errors.median()) < 0.6 * _median_error(wrong, exact)


def test_junk_does_not_steer(wrong: Particles, exact: Particles, tmp_path: Path) -> None:
    """A third of the images is noise: it would make the given poses look twice as wrong."""
    images = torch.cat([batch.images for batch in exact.batches()])
    junk = torch.arange(N) % 3 == 1
    generator = torch.Generator().manual_seed(10)
    images[junk] = float(images.std()) * torch.randn(images[junk].shape, generator=generator)
    write_stack(tmp_path / "mixed.mrcs", images.numpy(), GRID.pixel_size)
    names = [f"{i + 1:06d}@mixed.mrcs" for i in range(N)]
    star = write_particles(wrong, tmp_path / "particles.star")
    tables = read_star(star)
    tables["particles"]["rlnImageName"] = names
    write_star(star, tables)
    ended = refine(read_particles(star), how=RefinementSettings(rounds=1))
    last = ended.rounds[-1]
    assert last.angle == pytest.approx(ERROR, rel=0.4)
    assert last.shift == pytest.approx(SHIFT_ERROR, rel=tolerances.ESTIMATED_ERRORS)
    errors = changes(ended.particles.poses, exact.poses)[0].norm(dim=1)[~junk]
    assert math.degrees(float(errors.median())) < 0.6 * _median_error(wrong, exact)


def test_noise_has_no_structure(exact: Particles, tmp_path: Path) -> None:
    settings = SimulationSettings(300, snr=1e-6)
    generator = torch.Generator().manual_seed(7)
    source = phantom("C1")
    noise = read_particles(
        simulate_particles(source, GRID, settings, tmp_path / "noise", generator)
    )
    ended = refine(noise)
    assert ended.verdict == "no structure" and len(ended.rounds) == 1
    assert ended.particles.poses is noise.poses
    assert "refinement-no-structure" in codes(ended.particles.notes)
    assert bool(ended.likelihood.isnan().all())


def test_poses_dealt_among_particles_are_not_believed(exact: Particles) -> None:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(8))
    dealt = replace(exact, poses=Poses(exact.poses.rotations[order], exact.poses.shifts))
    ended = refine(dealt, how=RefinementSettings(rounds=1))
    fsc = ended.rounds[ended.best].cross_fsc
    assert max(fsc[8:]) < 0.3  # nothing beyond the shape of a blob


def test_a_refinement_that_is_broken_off_goes_on_bit_for_bit(
    exact: Particles, stayed: Refinement, tmp_path: Path
) -> None:
    class Impatient(SilentProgress):
        """Breaks off while the images of round 1 are judged, the poses of which are new."""

        rounds = 0

        def say(self, text: str) -> None:
            self.rounds += text.startswith("Round 0")

        def advance(self, n: int = 1) -> None:
            if self.rounds and n == 1:
                raise Stopped

    file = CheckpointFile(tmp_path / "a.poses-checkpoint")
    how = RefinementSettings(rounds=1)
    with pytest.raises(Stopped):
        refine(exact, how=how, progress=Impatient(), checkpoint=file)
    assert file.exists()
    again = refine(exact, how=how, checkpoint=file)
    assert [r.to_dict() for r in again.rounds[1:]] == [r.to_dict() for r in stayed.rounds[1:]]
    assert bool((again.particles.poses.rotations == stayed.particles.poses.rotations).all())

"""Refining poses: better ones are found and used, exact ones stay, and noise is not believed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import tolerances
import torch
from torch import Tensor

from cryosplat.alignment import (
    DefocusSums,
    Found,
    Frame,
    OpenImages,
    Prior,
    ReadyImages,
    Template,
    changes,
    posterior_of,
    refined,
    with_lenses,
)
from cryosplat.alignment._definition import turned
from cryosplat.fitting import NOWHERE, Stopped
from cryosplat.formation import VolumeProjector, form_images
from cryosplat.grid import Grid
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.io.mrc import write_stack
from cryosplat.io.star import read_star, write_star
from cryosplat.notes import codes
from cryosplat.particles import Particles, read_particles, write_particles
from cryosplat.poses import Poses, random_poses
from cryosplat.progress import SilentProgress
from cryosplat.reconstruction import Refinement, refine
from cryosplat.reconstruction._data import measured_noise
from cryosplat.reconstruction.refinement._halves import HalfSets
from cryosplat.reconstruction.refinement._state import State
from cryosplat.run_folder import RunFolder
from cryosplat.run_folder._poses import write_poses
from cryosplat.settings import ReconstructionSettings, RefinementSettings
from cryosplat.simulation import SimulationSettings, phantom, simulate_particles
from cryosplat.splatting import voxelize

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
    assert bool(again.table["rlnMaxValueProbDistribution"].between(0.0, 1.0).all())
    assert bool((again.table["rlnNrOfSignificantSamples"] >= 1).all())
    with RunFolder.create(tmp_path / "run") as folder:
        write_poses(folder, found)
        rows = folder.poses.read_text("utf-8").splitlines()
        assert len(rows) == N + 1 and rows[0].startswith("image,half_set,degrees")
        assert "defocus_angstrom" in rows[0] and rows[0].endswith("micrograph")


@pytest.fixture(scope="module")
def stayed(exact: Particles) -> Refinement:
    return refine(exact, how=RefinementSettings(rounds=1))


def test_exact_poses_stay(stayed: Refinement, exact: Particles) -> None:
    assert _median_error(stayed.particles, exact) < 0.15
    assert stayed.rounds[-1].angle < 0.25 * ERROR
    assert stayed.rounds[-1].gain < 0.05 * stayed.rounds[0].likelihood
    assert float(stayed.optics.defocus.abs().median()) < 50.0


def test_defocus_that_is_off_becomes_better_and_is_written(
    exact: Particles, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(13)
    errors = 800.0 * torch.randn(N, generator=generator, dtype=torch.float64)
    optics = exact.optics
    moved = {name: getattr(optics, name) + errors for name in ("defocus_u", "defocus_v")}
    given = replace(exact, optics=replace(optics, **moved))
    ended = refine(given, how=RefinementSettings(rounds=2))
    left = (ended.optics.defocus + errors).abs()
    assert float(left.median()) < 0.6 * float(errors.abs().median())
    gain, error = ended.optics.gains["defocus"]
    assert gain > 3.0 * error and ended.rounds[ended.best].defocus > 400.0
    again = read_particles(write_particles(ended.particles, tmp_path / "particles.star"))
    change = again.optics.defocus_u - given.optics.defocus_u
    torch.testing.assert_close(change, ended.optics.defocus, rtol=0.0, atol=1e-3)
    torch.testing.assert_close(
        again.optics.defocus_v - again.optics.defocus_u,
        given.optics.defocus_v - given.optics.defocus_u, rtol=0.0, atol=1e-3,
    )  # fmt: skip


def test_a_wrong_magnification_of_one_group_is_found(exact: Particles, tmp_path: Path) -> None:
    """Two fifths of the images are 2 % larger than their optics group says."""
    generator = torch.Generator().manual_seed(14)
    first = exact.optics.groups[0]
    groups = (first, replace(first, name="larger"))
    group = (torch.arange(N) % 5 < 2).long()
    optics = replace(exact.optics, groups=groups, group=group)
    true = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, math.log(0.98)]], dtype=torch.float64)
    volume = voxelize(phantom("C1"), GRID)
    seen = with_lenses(optics, true)
    images = torch.zeros(N, GRID.box_size, GRID.box_size)
    for number in (0, 1):
        rows = (group == number).nonzero().squeeze(1)
        images[rows] = form_images(
            VolumeProjector(volume.float(), GRID), exact.poses.select(rows), seen.select(rows),
            GRID.box_size,
        )  # fmt: skip
    noise = 2.0 * float(images.std())
    images = images + noise * torch.randn(images.shape, generator=generator)
    write_stack(tmp_path / "larger.mrcs", images.numpy(), GRID.pixel_size)
    star = write_particles(replace(exact, optics=optics), tmp_path / "particles.star")
    tables = read_star(star)
    tables["particles"]["rlnImageName"] = [f"{i + 1:06d}@larger.mrcs" for i in range(N)]
    write_star(star, tables)
    how = RefinementSettings(rounds=2, defocus=False)
    ended = refine(read_particles(star), how=how)
    assert not bool(ended.optics.defocus.any())
    found, error = ended.optics.lenses[1, 2], ended.optics.errors[1, 2]
    assert float(found) == pytest.approx(math.log(0.98), abs=max(0.004, 4.0 * float(error)))
    assert not bool(ended.optics.lenses[0].any())
    again = read_particles(write_particles(ended.particles, tmp_path / "refined.star"))
    factor = math.exp(float(found))
    assert again.optics.groups[1].magnification == pytest.approx((factor, 0.0, 0.0, factor))


def test_a_beam_tilt_is_written_as_relion_does(exact: Particles, tmp_path: Path) -> None:
    change = torch.tensor([[4e-4, -2e-4, 0.0]], dtype=torch.float64)
    tilted = replace(exact, optics=with_lenses(exact.optics, change))
    star = write_particles(tilted, tmp_path / "tilted.star")
    row = read_star(star)["optics"].iloc[0]
    assert float(row["rlnBeamTiltX"]) == pytest.approx(0.4)
    assert float(row["rlnBeamTiltY"]) == pytest.approx(-0.2)
    assert "rlnOddZernike" not in row.index
    assert read_particles(star).optics.groups[0].odd == pytest.approx(tilted.optics.groups[0].odd)


def test_half_sets_are_apart_bit_for_bit(wrong: Particles) -> None:
    """What is made of half-set 1 knows nothing of the images of half-set 2."""
    second = (wrong.half_sets == 2).nonzero().squeeze(1)
    order = torch.arange(N)
    order[second] = second.roll(1)
    other = replace(wrong, images=wrong.images.select(order.numpy()))
    noise = measured_noise(wrong, SilentProgress())
    one, two = (
        _of_half_set_1(HalfSets(p, noise, ReconstructionSettings())) for p in (wrong, other)
    )
    for here, there in zip(one, two, strict=True):
        assert bool((here == there).all()) and bool(here.any())


def _of_half_set_1(halves: HalfSets) -> list[Tensor]:
    """The map, and with it rotations, shifts, and changes of defocus."""
    particles, quiet = halves.particles, SilentProgress()
    state = State.of(NOWHERE, particles, RefinementSettings())
    statistics = halves.statistics(particles.poses, quiet, NOWHERE, state)
    volume = halves.fitted(statistics, 0, GRID.box_size, NOWHERE, 0, quiet)
    template, rows = Template.of(volume, GRID, 0.1), halves.members(0)

    def better(images: ReadyImages, index: Tensor) -> Found:
        return refined(images, template, Prior(0.05, 2.0))

    def profile(images: OpenImages, index: Tensor) -> Tensor:
        return DefocusSums.of(images, template).profile()

    poses = halves.each(particles.poses, rows, better, quiet.advance).poses
    profiles = halves.each(particles.poses, rows, profile, quiet.advance, OpenImages.of)
    defocus = posterior_of(profiles, 300.0)[0]
    return [volume, poses.rotations, poses.shifts, defocus]


def test_a_common_rotation_of_all_poses_changes_nothing_else(
    found: Refinement, wrong: Particles
) -> None:
    turn = random_poses(1, torch.Generator().manual_seed(15), 0.0).rotations[0].double()
    rotations = wrong.poses.rotations.double() @ turn.T
    ended = refine(
        replace(wrong, poses=Poses(rotations, wrong.poses.shifts)), how=RefinementSettings(rounds=2)
    )
    poses = ended.particles.poses
    back = Poses(poses.rotations.double() @ turn, poses.shifts)
    apart = changes(Frame.drift(back, found.particles.poses).scaled(-1.0).apply(back),
                    found.particles.poses)[0].norm(dim=1)  # fmt: skip
    moved = changes(found.particles.poses, wrong.poses)[0].norm(dim=1)
    assert float(apart.median()) < 0.2 * float(moved.median())
    for one, other in zip(ended.rounds, found.rounds, strict=False):
        assert one.likelihood == pytest.approx(other.likelihood, rel=0.02)


@pytest.mark.parametrize(
    ("symmetry", "kept"),
    [("C1", (1.0, 1.0, 1.0)), ("C3", (0.0, 0.0, 1.0)), ("D3", (0.0, 0.0, 0.0))],
)
def test_of_the_frame_a_symmetry_leaves_free_what_turns_the_map_about_its_axis(
    symmetry: str, kept: tuple[float, ...]
) -> None:
    turn, move = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)).double()
    free, along = Frame(turn, move).free(symmetry), torch.tensor(kept, dtype=torch.float64)
    torch.testing.assert_close(free.turn, along * turn)
    torch.testing.assert_close(free.move, along * move)


def test_poses_beside_the_axes_of_the_symmetry_are_brought_to_them(tmp_path: Path) -> None:
    settings = SimulationSettings(N, snr=0.25)
    star = simulate_particles(
        phantom("D3"), Grid(32, 4.2), settings, tmp_path / "set", torch.Generator().manual_seed(5)
    )
    exact = read_particles(star)
    turn = torch.tensor([0.02, -0.05, 0.04], dtype=torch.float64)  # 4 degrees
    beside = Frame(turn, torch.tensor([1.0, 2.0, -1.5], dtype=torch.float64)).apply(exact.poses)
    how = RefinementSettings(rounds=2, defocus=False, beam_tilt=False)
    given = replace(exact, poses=beside)
    found = refine(given, ReconstructionSettings(symmetry="D3"), how)
    left = Frame.drift(found.particles.poses, exact.poses)
    assert float(left.turn.norm()) < 0.2 * float(turn.norm())
    assert float(left.move.norm()) < 0.5
    assert sum(found.rounds[-1].cross_fsc) > sum(found.rounds[0].cross_fsc) + 0.3


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


@pytest.mark.parametrize("shifts", ["own", "dealt"])
def test_poses_dealt_among_particles_are_not_refined(exact: Particles, shifts: str) -> None:
    """They make a round map; images that are centred on it would fit it better."""
    order = torch.randperm(N, generator=torch.Generator().manual_seed(8))
    poses = exact.poses
    moves = poses.shifts if shifts == "own" else poses.shifts[order]
    ended = refine(replace(exact, poses=Poses(poses.rotations[order], moves)))
    assert ended.verdict == "no structure" and ended.best == 0 and len(ended.rounds) == 1
    assert max(ended.rounds[0].cross_fsc[8:]) < 0.3  # nothing beyond the shape of a blob
    assert "refinement-no-structure" in codes(ended.particles.notes)


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

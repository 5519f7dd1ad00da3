"""The search for poses as a whole, on few images and in few steps."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import BOX, PIXEL_SIZE, simulate_clean
from pretended_device import pretended_device

from cryosplat.abinitio import AbinitSettings, FoundPoses, _second, find_poses
from cryosplat.abinitio._centring import centred
from cryosplat.abinitio._contrast import contrast_of
from cryosplat.abinitio._first import FirstLevel
from cryosplat.abinitio._images import small_images
from cryosplat.abinitio._second import SecondLevel
from cryosplat.errors import InputError
from cryosplat.io.checkpoint import CheckpointFile
from cryosplat.io.mrc import StackFile, write_stack
from cryosplat.io.star import read_star, write_star
from cryosplat.particles import read_particles
from cryosplat.progress import SilentProgress

ONE = AbinitSettings(starts=1, carried=1)
work = importlib.import_module("cryosplat.abinitio._work")


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images of a cluster of Gaussians, in a table without angles, origins and half-sets."""
    folder = tmp_path_factory.mktemp("abinit")
    path = simulate_clean(folder / "set", 300)
    tables = read_star(path)
    kept = [c for c in tables["particles"] if "Angle" not in c and "Origin" not in c]
    tables["particles"] = tables["particles"][[*kept, "rlnDefocusAngle"]].drop(
        columns="rlnRandomSubset", errors="ignore"
    )
    write_star(path.parent / "unposed.star", tables)
    return path.parent / "unposed.star"


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(**changes: object) -> FirstLevel:
        return FirstLevel(**{"steps": 12, "batches": (60, 100), **changes})  # type: ignore[arg-type]

    monkeypatch.setattr(work, "FirstLevel", first)
    monkeypatch.setattr(work, "SHARPENED", first())
    monkeypatch.setattr(
        work, "SecondLevel", lambda: SecondLevel(limits=(5.0, 6.0), everywhere=1, more=1)
    )


def same(a: FoundPoses, b: FoundPoses) -> bool:
    return torch.equal(a.particles.poses.rotations, b.particles.poses.rotations) and torch.equal(
        a.mixtures[0].means, b.mixtures[0].means
    )


def test_a_search_that_was_broken_off_goes_on_bit_for_bit(
    star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    particles = read_particles(star, poses="none")
    torch.set_num_threads(1)
    whole = find_poses(particles, ONE)
    assert whole.found and whole.particles.has_half_sets
    file = CheckpointFile(tmp_path / "poses.checkpoint")

    def broken(*arguments: object) -> None:
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(work, "refined", broken)
        with pytest.raises(SystemExit):
            find_poses(particles, ONE, checkpoint=file)
    with monkeypatch.context() as patch:
        patch.setattr(work, "first_map", broken)  # is done, and not done again
        assert same(find_poses(particles, ONE, checkpoint=file), whole)
    with pytest.raises(InputError, match="seed"):
        find_poses(particles, AbinitSettings(seed=1, starts=1, carried=1), checkpoint=file)


def test_the_search_on_another_device_is_that_of_the_cpu(
    star: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    particles = read_particles(star, poses="none")
    here = find_poses(particles, replace(ONE, device="cpu"))
    with pretended_device(monkeypatch):
        there = find_poses(particles, replace(ONE, device="cuda"))
    assert there.found and there.particles.poses.rotations.device.type == "cpu"
    assert float(there.fsc[2:5].mean()) == pytest.approx(float(here.fsc[2:5].mean()), abs=0.05)
    wanted, found = here.scores[0], there.scores[0]
    assert found.gain == pytest.approx(wanted.gain, rel=0.05)


def test_half_sets_do_not_know_of_each_other(star: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other images in half-set 2, and nothing of half-set 1 changes after the first map."""
    particles = read_particles(star, poses="none")
    g = torch.Generator().manual_seed(0)
    images = small_images(particles, 32, g, SilentProgress())
    rows = torch.arange(len(images))
    first, second = (images.select(rows[rows % 2 == h]) for h in (0, 1))
    start = work.first_map(images, torch.zeros(300, 2), 0.1, work.FirstLevel(), g).mixture
    # the FSC decides how far both look: held, it is the only thing that they share
    monkeypatch.setattr(
        _second, "fourier_shell_correlation", lambda a, b: torch.ones(17, dtype=torch.float64)
    )
    begin = _second.Half(start, _second.unplaced(torch.zeros(150, 2)))

    def run(other):
        generators = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
        level = SecondLevel(limits=(5.0, 6.0), everywhere=1, more=1)
        return _second.refined((first, other), (begin, begin), 0.1, level, generators)[0]

    one, another = run(second), run(second.inverted())
    assert torch.equal(one[0].mixture.means, another[0].mixture.means)
    assert torch.equal(one[0].poses.rotations, another[0].poses.rotations)
    assert not torch.equal(one[1].mixture.means, another[1].mixture.means)


def test_noise_has_no_structure(star: Path, tmp_path: Path) -> None:
    tables = read_star(star)
    n = len(tables["particles"])
    noise = np.random.default_rng(0).normal(size=(n, BOX, BOX)).astype(np.float32)
    write_stack(tmp_path / "noise.mrcs", noise, PIXEL_SIZE)
    tables["particles"]["rlnImageName"] = [f"{i + 1:06d}@noise.mrcs" for i in range(n)]
    write_star(tmp_path / "noise.star", tables)
    particles = read_particles(tmp_path / "noise.star", poses="none")
    found = find_poses(particles, ONE)
    assert not found.found and {note.code for note in found.notes} == {"no-structure"}


def test_round_blobs_have_no_structure(star: Path, tmp_path: Path) -> None:
    """What looks the same from everywhere gains over noise, but tells no orientation."""
    tables = read_star(star)
    n = len(tables["particles"])
    x = np.arange(BOX) - BOX // 2
    blob = np.exp(-0.5 * (x[:, None] ** 2 + x**2) / 9.0)
    noise = np.random.default_rng(1).normal(size=(n, BOX, BOX))
    write_stack(tmp_path / "blobs.mrcs", (0.4 * blob + noise).astype(np.float32), PIXEL_SIZE)
    tables["particles"]["rlnImageName"] = [f"{i + 1:06d}@blobs.mrcs" for i in range(n)]
    write_star(tmp_path / "blobs.star", tables)
    found = find_poses(read_particles(tmp_path / "blobs.star", poses="none", ctf="none"), ONE)
    assert not found.found
    assert found.scores[0].gain > 1.0


def test_dark_protein_is_seen(star: Path, tmp_path: Path) -> None:
    images = StackFile(star.parent / "particles.mrcs").read(np.arange(300))
    write_stack(tmp_path / "dark.mrcs", -images, PIXEL_SIZE)
    tables = read_star(star)
    names = tables["particles"]["rlnImageName"]
    tables["particles"]["rlnImageName"] = [n.partition("@")[0] + "@dark.mrcs" for n in names]
    write_star(tmp_path / "dark.star", tables)
    scores = []
    for path in (star, tmp_path / "dark.star"):
        g = torch.Generator().manual_seed(0)
        seen = small_images(read_particles(path, poses="none"), 32, g, SilentProgress())
        found = contrast_of(seen, centred(seen, 0.1), None, g)
        scores.append((found.used, found.standard_deviations))
    assert scores == [("bright", scores[0][1]), ("dark", -scores[0][1])]
    assert scores[0][1] > 10.0


def test_too_few_particles_are_refused(star: Path) -> None:
    with pytest.raises(InputError, match="at least 200"):
        find_poses(read_particles(star, poses="none")[:50], ONE)


def test_tables_without_poses_say_what_to_do(star: Path) -> None:
    with pytest.raises(InputError, match="--abinit"):
        read_particles(star)
    assert StackFile(star.parent / "particles.mrcs").n_images == 300

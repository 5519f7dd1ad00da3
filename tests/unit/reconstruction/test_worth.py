"""Weights and scales in a reconstruction: junk that is planted in a clean set is found and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from planted import planted, simulate_clean

from cryosplat.io.star import read_star
from cryosplat.particles import read_particles
from cryosplat.reconstruction import reconstruct
from cryosplat.run_folder import RunFolder, write_run
from cryosplat.settings import ReconstructionSettings

SETTINGS = ReconstructionSettings(gaussians=40, steps=4, quick=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """A third of the images are noise."""
    folder = tmp_path_factory.mktemp("junk")
    clean = planted(simulate_clean(folder / "clean", n=600), folder)
    images = clean.images()
    junk = np.arange(len(images)) % 3 == 1
    images[junk] = np.random.default_rng(0).normal(size=images[junk].shape)
    clean.restack(images)
    result = reconstruct(read_particles(clean.write()), SETTINGS)
    path = write_run(RunFolder.create(folder / "run"), result)
    return junk, result, path


def test_junk_weighs_nothing(run) -> None:
    junk, result, _ = run
    worth = result.worth
    assert worth is not None and worth.used and worth.matters
    kept = worth.kept.numpy()
    assert np.mean(kept[~junk]) > 0.97 and np.mean(kept[junk]) < 0.05
    assert "images-without-particle" in {note.code for note in result.notes}


def test_the_folder_tells_the_worth_of_particles(run) -> None:
    junk, result, folder = run
    rows = read_star(folder.particles)["particles"]
    kept = read_star(folder.kept_particles)["particles"]
    weights = rows["cryosplatWeight"].to_numpy(float)
    assert len(rows) == len(junk) and len(kept) == int((weights >= 0.5).sum())
    assert float(kept["cryosplatWeight"].astype(float).min()) >= 0.5
    again = read_particles(folder.kept_particles)
    scales = result.particles.optics.scale[result.worth.kept]
    torch.testing.assert_close(again.optics.scale, scales, rtol=0.0, atol=1e-5)
    summary = folder.read_summary().worth
    assert summary is not None and summary.used and summary.kept == len(kept)
    assert sum(row[2] for row in summary.odds) == len(junk)
    shown = [row - 1 for _, row, _, _ in summary.examples]
    assert len(set(shown)) == 12 and not junk[shown[:4]].any() and junk[shown[8:]].all()
    best = result.examples.pictures[:4].flatten(2)
    likeness = torch.nn.functional.cosine_similarity(best[:, 0], best[:, 1], dim=1)
    assert float(likeness.min()) > 0.5


def test_particles_that_are_alike_count_alike(tmp_path: Path) -> None:
    clean = planted(simulate_clean(tmp_path / "clean", n=400), tmp_path)
    result = reconstruct(read_particles(clean.write()), SETTINGS)
    assert result.worth is None or not result.worth.used
    assert result.particles.optics.scale.unique().tolist() == [1.0]

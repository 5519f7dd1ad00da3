"""RELION 5's stacks of tilt images against images made by projecting points through 4x4 matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from noting import only, states
from tilt_sets import (
    BINNING,
    BOX,
    PIXEL,
    SIZE,
    WIDTH,
    TiltSet,
    make_tilt_set,
    write_particles_star,
    write_tomograms_of_relion4,
)

from cryosplat.errors import StackError, StarError
from cryosplat.formation import MixtureProjector, form_images
from cryosplat.grid import Grid
from cryosplat.io.star import read_star
from cryosplat.maps.fsc import fourier_shell_correlation
from cryosplat.noise import estimate_noise
from cryosplat.particles import Particles, read_particles, split_half_sets, write_particles
from cryosplat.simulation.atoms import spheres
from cryosplat.splatting import voxelize
from cryosplat.statistics import accumulate
from cryosplat.validation.baseline import voxel_maps


@pytest.fixture
def made(tmp_path: Path) -> TiltSet:
    return make_tilt_set(tmp_path)


def _misfit(made: TiltSet, particles: Particles) -> float:
    """Largest difference of the stored images from those of the forward model, in deviations."""
    mixture = spheres(
        torch.from_numpy(made.points),
        torch.full((len(made.points),), WIDTH, dtype=torch.float64),
        torch.from_numpy(made.weights),
    )
    stored = particles.images.read(np.arange(len(particles)))
    worst = 0.0
    for group in particles.optics.group.unique():
        own = (particles.optics.group == group).nonzero().squeeze(1)
        formed = form_images(
            MixtureProjector(mixture),
            particles.poses.select(own),
            particles.optics.select(own),
            BOX,
        )
        worst = max(worst, float((stored[own] - formed).abs().max()))
    return worst / float(stored.std())


@pytest.mark.parametrize("given", ["optimisation_set.star", "particles.star"])
def test_tilt_images_are_what_the_geometry_says(made: TiltSet, given: str) -> None:
    particles = read_particles(made.folder / "Extract/job009" / given)
    assert len(particles) == made.n_images
    assert (particles.box_size, particles.pixel_size) == (BOX, PIXEL * BINNING)
    assert _misfit(made, particles) < tolerances.TILT_IMAGES
    assert states(only(particles.notes, "tilt-images"), 24, made.n_images, 2)


def test_the_layout_of_relion_4_says_the_same(made: TiltSet) -> None:
    """Matrices in blocks of one file, coordinates in pixels from the tomogram's corner."""
    for file in made.folder.rglob("*optimisation_set.star"):
        file.unlink()
    write_tomograms_of_relion4(made)
    centred = np.stack([made.particles[f"rlnCenteredCoordinate{a}Angst"] for a in "XYZ"], 1)
    corner = centred / PIXEL + SIZE / 2
    star = write_particles_star(
        made,
        **{f"rlnCenteredCoordinate{a}Angst": None for a in "XYZ"},
        **{f"rlnCoordinate{a}": corner[:, i] for i, a in enumerate("XYZ")},
    )
    assert _misfit(made, read_particles(star)) < tolerances.TILT_IMAGES


@pytest.mark.parametrize(
    "label", ["rlnOriginXAngst", "rlnOriginZAngst", "rlnTomoSubtomogramTilt", "rlnAngleRot",
              "rlnCenteredCoordinateZAngst"],
)  # fmt: skip
def test_every_column_counts(made: TiltSet, label: str) -> None:
    star = write_particles_star(made, **{label: -np.array(made.particles[label])})
    assert _misfit(made, read_particles(star)) > 100 * tolerances.TILT_IMAGES


def test_a_wrong_hand_is_seen(made: TiltSet) -> None:
    path = made.folder / "Tomograms/job006/tomograms.star"
    blocks = read_star(path)["global"]
    assert set(blocks["rlnTomoHand"]) == {-1}
    path.write_text(path.read_text().replace(" -1.0 ", " 1.0 "))
    particles = read_particles(made.folder / "Extract/job009/particles.star")
    assert _misfit(made, particles) > 100 * tolerances.TILT_IMAGES


def test_a_particle_is_in_one_half_set_with_all_its_tilt_images(made: TiltSet) -> None:
    particles = read_particles(made.folder / "Extract/job009/particles.star")
    assert particles.tilt_particles is not None
    given = np.array(made.particles["rlnRandomSubset"])
    assert particles.half_sets.tolist() == given[particles.tilt_particles].tolist()
    star = write_particles_star(made, rlnRandomSubset=None)
    drawn = split_half_sets(read_particles(star), torch.Generator().manual_seed(0))
    assert drawn.tilt_particles is not None
    for number in range(24):
        assert len(drawn.half_sets[drawn.tilt_particles == number].unique()) == 1
    assert set(drawn.half_sets.tolist()) == {1, 2}


def test_written_out_they_are_single_tilt_images(made: TiltSet, tmp_path: Path) -> None:
    particles = read_particles(made.folder / "Extract/job009/particles.star")
    again = read_particles(write_particles(particles, tmp_path / "converted.star"))
    assert _misfit(made, again) < tolerances.TILT_IMAGES
    assert again.tilt_particles is not None and particles.tilt_particles is not None
    assert again.tilt_particles.tolist() == particles.tilt_particles.tolist()
    torch.testing.assert_close(again.optics.dose, particles.optics.dose, **tolerances.TEXT)


def test_without_tomograms_it_says_what_to_give(made: TiltSet) -> None:
    (made.folder / "Extract/job009/optimisation_set.star").unlink()
    with pytest.raises(StarError, match="there is no such file") as error:
        read_particles(made.folder / "Extract/job009/particles.star")
    assert "give the job's optimisation_set.star" in str(error.value)


def test_frames_that_are_not_the_series_are_refused(made: TiltSet) -> None:
    flags = ["[1,1,0]"] * 24
    with pytest.raises(StarError, match=r"row 1: rlnTomoVisibleFrames is '\[1,1,0\]', expected 9"):
        read_particles(write_particles_star(made, rlnTomoVisibleFrames=flags))


def test_stacks_of_another_extraction_are_refused(made: TiltSet) -> None:
    flags = [f"[{','.join(['1'] + ['0'] * (8 - 2 * (i % 2)))}]" for i in range(24)]
    with pytest.raises(StackError, match="is visible in 1 tilt images"):
        read_particles(write_particles_star(made, rlnTomoVisibleFrames=flags))


def test_a_tilt_series_that_is_not_there_is_named(made: TiltSet) -> None:
    names = ["TS_09"] * 24
    with pytest.raises(StarError, match="tilt series 'TS_09' is not among the 2"):
        read_particles(write_particles_star(made, rlnTomoName=names))


def test_odd_aberrations_are_those_that_extraction_has_corrected(made: TiltSet) -> None:
    path = made.folder / "Extract/job009/particles.star"
    text = path.read_text()
    assert "_rlnImageSize #11" in text
    text = text.replace("_rlnImageSize #11", "_rlnImageSize #11\n_rlnOddZernike\n_rlnEvenZernike")
    lines = [
        f"{line} [0,0,0,40,-20,0] [0,0,9]" if line.startswith(("1 TS_", "2 TS_")) else line
        for line in text.splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")
    particles = read_particles(path)
    for group in particles.optics.groups:
        assert group.odd == () and any(group.even)
    assert states(only(particles.notes, "aberration-not-applied"), "rlnOddZernike")


def test_images_as_relion_5_extracts_them(tmp_path: Path) -> None:
    """Premultiplied, cut out of larger ones and to a circle: noise and map as of recorded images."""
    noise = 0.4
    folders = [tmp_path / name for name in ("recorded", "extracted")]
    found = []
    for folder, premultiplied in zip(folders, (False, True), strict=True):
        made = make_tilt_set(folder, 80, premultiplied, noise)
        particles = read_particles(folder / "Extract/job009/particles.star")
        assert particles.cut_to_circle() == premultiplied
        model = estimate_noise(particles.batches(), premultiplied)
        found.append((made, particles, model))
    (_, _, recorded), (made, _, extracted) = found
    assert recorded.circles == ()
    assert extracted.circles == pytest.approx((BOX // 2 - 3.2,) * 2, abs=0.5)
    for _, particles, model in found:
        backgrounds = [model.prepared(batch).background for batch in particles.batches()]
        deviation = torch.cat([background.deviation for background in backgrounds])
        assert float(deviation.median()) == pytest.approx(noise, rel=0.05)
    mixture = spheres(
        torch.from_numpy(made.points),
        torch.full((len(made.points),), WIDTH, dtype=torch.float64),
        torch.from_numpy(made.weights),
    )
    grid = Grid(BOX, PIXEL * BINNING)
    truth = voxelize(mixture, grid)
    curves = []
    for _, own, model in found:
        halves = accumulate(own.batches(), own.half_sets.long() - 1, 2, grid, model)
        volume = voxel_maps((halves[0], halves[1]))[0]
        curves.append(fourier_shell_correlation(volume, truth)[2:11])
    # a larger image was multiplied: what defocus had moved out of the small one is back in it
    assert float((curves[1] - curves[0]).mean()) > 0.02
    assert float((curves[1] - curves[0]).min()) > -0.03
    assert float(curves[1][0]) > 0.98

"""Every particle file of the shared data opens, or the message names what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryosplat.errors import CryosplatError
from cryosplat.io.mrc import StackFile
from cryosplat.io.pickles import load_pickle
from cryosplat.particles import read_particles

_NO_POSES = "missing alignments3D/pose, alignments3D/shift"
# How many particles a file gives, or what its message must name.
STAR_AND_CS: dict[str, int | str] = {
    "formats/FinalRefinement-OriginalParticles-PfCRT.star": "missing rlnAmplitudeContrast (5 rows)",
    "formats/cryosparc_J2_particles_exported.cs": f"{_NO_POSES} (22 particles)",
    "formats/cryosparc_P12_J24_001_particles.cs": "was not found (50 of 50 stacks, 2019 rows",
    "formats/relion31.6opticsgroups.star": "0003_shiny.mrcs was not found (139 of 139 stacks",
    "formats/relion31.star": 5,
    "formats/relion31.v2.star": 5,
    "formats/relion5.star": "the stack toy_images_a.mrcs was not found (2 of 2 stacks, 17 rows",
    "formats/sta_testing_bin8.star": "ribo_it09_bin8_1.82A.mrcs was not found (1 of 1 stacks",
    "formats/toy_projections.star": "missing rlnImagePixelSize, rlnAngleRot, rlnAngleTilt",
    "real/atp_synthase_freehand50/particles.star": 50,
    "real/empiar10076_first7/empiar_10076_7.cs": f"{_NO_POSES} (7 particles)",
    "real/empiar10076_first7/empiar_10076_7.star": "missing rlnAngleRot, rlnAngleTilt",
    "real/ribo_subtilts_bin8/sta_testing_bin8.star": 219,
    "stars/RyR1GCs_clustRem.star": "RyR1GCs_2Sh_clustRem.mrcs was not found (1 of 1 stacks, 14491",
    "stars/aspire_starfile.star": "stack_0500_cor_DW.mrcs was not found (98 of 98 stacks, 3796",
    "stars/cryolike_particle_data.star": "missing rlnImageName, rlnAmplitudeContrast, rlnAngleRot",
}
# Stacks and lists of stacks, with the pickles that belong to them.
STACKS: dict[str, tuple[str, str, int | str]] = {
    "formats/hand.mrcs": ("hand_rot_trans.pkl", "none", 100),
    "formats/header_claims_11029_sections.mrcs": ("hand_rot.pkl", "none", "claims 11029 sections"),
    "formats/relion31.mrcs": ("hand_rot.pkl", "none", "holds 100 rotations for 5 images"),
    "formats/toy_projections.mrcs": ("toy_rot_trans.pkl", "test_ctf.pkl", 1000),
    "formats/toy_projections.txt": ("toy_rot_trans.pkl", "test_ctf.pkl", 1000),
    "real/atp_synthase_freehand50/particles.mrcs": ("poses_noshift.pkl", "ctf.pkl", 50),
    "real/empiar10076_first7/empiar_10076_7.mrc": ("poses.pkl", "ctf.pkl", 7),
    "real/ribo_subtilts_bin8/ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs":
        ("sta_pose.pkl", "sta_ctf.pkl", "holds 219 rows for 220 images"),
}  # fmt: skip
VOLUMES = ("formats/hand-vol.mrc", "formats/toymodel_small_nocenter.mrc")


def _expect(outcome: int | str, path: Path, **options: object) -> None:
    if isinstance(outcome, int):
        particles = read_particles(path, **options)  # type: ignore[arg-type]
        assert len(particles) == outcome
        assert next(particles.batches(size=2)).images.isfinite().all()
        return
    with pytest.raises(CryosplatError) as error:
        read_particles(path, **options)  # type: ignore[arg-type]
    assert outcome in str(error.value) and "Remedy: " in str(error.value)


@pytest.mark.parametrize("name", STAR_AND_CS)
def test_tables(shared: Path, name: str) -> None:
    _expect(STAR_AND_CS[name], shared / "data" / name)


@pytest.mark.parametrize("name", STACKS)
def test_stacks_with_pickles(shared: Path, name: str) -> None:
    poses, ctf, outcome = STACKS[name]
    path = shared / "data" / name
    without = ctf == "none"
    _expect(
        outcome, path, poses=path.with_name(poses), ctf=ctf if without else path.with_name(ctf),
        pixel_size=1.0 if without else None,
    )  # fmt: skip


def test_no_file_is_left_out(shared: Path) -> None:
    data = shared / "data"
    known = {*STAR_AND_CS, *STACKS, *VOLUMES}
    found = {
        str(path.relative_to(data))
        for path in data.rglob("*")
        if data / "faults" not in path.parents
        and path.suffix in (".star", ".cs", ".csg", ".mrc", ".mrcs", ".txt")
    }
    assert found == known


def test_every_pickle_is_plain_data(shared: Path) -> None:
    paths = sorted((shared / "data").rglob("*.pkl"))
    assert len(paths) > 10
    for path in paths:
        assert load_pickle(path) is not None


def test_every_volume_has_a_header(shared: Path) -> None:
    for name in VOLUMES:
        assert StackFile(shared / "data" / name).n_images in (30, 64)

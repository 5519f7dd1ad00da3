"""Images that `relion_preprocess` flips or multiplies by their CTF."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tolerances
import torch
from data_sets import star_block

from cryosplat.io.mrc import write_map
from cryosplat.optics import weigh
from cryosplat.particles import Particles, read_particles

BOX, PIXEL, SCALE = 96, 1.5, 0.7
_OPTIONS = {"recorded": (), "phase-flipped": ("--phase_flip",),
            "premultiplied": ("--premultiply_ctf",)}  # fmt: skip


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Particles]:
    """Two particles of a micrograph of noise, as RELION extracts them with each option."""
    program = shutil.which("relion_preprocess")
    if program is None:
        pytest.skip("relion_preprocess is not installed")
    folder = tmp_path_factory.mktemp("extract")
    noise = np.random.default_rng(1).normal(size=(1, 200, 200)).astype(np.float32)
    write_map(folder / "mic.mrc", noise, PIXEL)
    optics = {
        "rlnOpticsGroup": [1], "rlnOpticsGroupName": ["o"], "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1], "rlnImageSize": [BOX],
        "rlnImagePixelSize": [PIXEL], "rlnImageDimensionality": [2],
        "rlnMicrographPixelSize": [PIXEL], "rlnMicrographOriginalPixelSize": [PIXEL],
        "rlnEvenZernike": ["[0,30,5,10,2,1,50,3,40]"],
    }  # fmt: skip
    micrographs = {
        "rlnMicrographName": ["mic.mrc"], "rlnOpticsGroup": [1], "rlnDefocusU": [12000.0],
        "rlnDefocusV": [9000.0], "rlnDefocusAngle": [35.0], "rlnCtfBfactor": [30.0],
        "rlnCtfScalefactor": [SCALE], "rlnPhaseShift": [20.0],
    }  # fmt: skip
    table = star_block("optics", optics) + star_block("micrographs", micrographs)
    (folder / "mics.star").write_text(table)
    picked = {"rlnCoordinateX": [100.0, 70.0], "rlnCoordinateY": [100.0, 120.0]}
    (folder / "mic_pick.star").write_text(star_block("", picked))
    found = {}
    for name, options in _OPTIONS.items():
        command = [program, "--i", "mics.star", "--coord_dir", "./", "--coord_suffix", "_pick.star",
                   "--part_star", f"{name}.star", "--part_dir", f"{name}/", "--extract",
                   "--extract_size", str(BOX), *options]  # fmt: skip
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
        found[name] = _with_poses(folder / f"{name}.star")
    return found


def _with_poses(path: Path) -> Particles:
    """The particles of a table without poses: any will do, images do not depend on them."""
    text = path.read_text()
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        text = text.replace("_rlnMicrographName #", f"_{label} #0\n_rlnMicrographName #")
    text = text.replace(" mic.mrc ", " 10.0 20.0 30.0 mic.mrc ")
    if path.stem == "phase-flipped":  # RELION 3.1 does not write it, but takes it as an option
        text = text.replace("_rlnEvenZernike #", "_rlnCtfDataArePhaseFlipped #0\n_rlnEvenZernike #")
        text = text.replace(" [0,30,", " 1 [0,30,")
    path.write_text(text)
    return read_particles(path)


@pytest.mark.parametrize("processing", ["phase-flipped", "premultiplied"])
def test_what_relion_did_is_what_statistics_take(
    extracted: dict[str, Particles], processing: str
) -> None:
    particles = extracted[processing]
    assert particles.optics.groups[0].processing == processing
    # RELION multiplies flipped images by the CTF's scale besides
    scale = SCALE if processing == "phase-flipped" else 1.0
    found, expected = (
        weigh(
            torch.fft.rfft2(batch.images), batch.poses.shifts, batch.optics,
            torch.ones(len(batch.optics.groups), BOX // 2 + 1), torch.full((len(batch),), BOX / 2),
        ).values
        for (batch,) in (particles.batches(), extracted["recorded"].batches())
    )  # fmt: skip
    found, expected = found[..., :2] / scale, expected[..., :2].clone()
    found[:, 0, 0], expected[:, 0, 0] = 0.0, 0.0
    assert float((found - expected).norm() / expected.norm()) < tolerances.RECORDED_OF_RELION

"""What ChimeraX opens: files that exist, at a level; ellipsoids that are the Gaussians."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch
from full_runs import fill_run, plain_run
from scipy.spatial.transform import Rotation
from tolerances import BILD, FILE_FLOAT32

from cryosplat import GaussianMixture, Grid, OutputError, voxelize
from cryosplat.appearance import contour_level
from cryosplat.cli._export import run_export
from cryosplat.io.mrc import read_map, write_map
from cryosplat.io.ply import PlyMixture, read_ply
from cryosplat.report.chimerax import write_chimerax
from cryosplat.report.ellipsoids import Ellipsoids, write_bild, write_cif, write_splats
from cryosplat.report.evidence import Evidence


def _opened(path: Path) -> list[str]:
    return [line.split()[1] for line in path.read_text().splitlines() if line.startswith("open ")]


def test_the_script_opens_what_the_run_has(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    script = write_chimerax(Evidence.read(folder))
    assert _opened(script) == ["map.mrc", "half1.mrc", "half2.mrc", "voxel_map.mrc"]
    level = contour_level(read_map(folder.map).data)
    assert script.read_text().count(f"surface level {level:.6g}") == 4
    fill_run(folder)
    script = write_chimerax(Evidence.read(folder))
    assert _opened(script)[4:] == [
        "map_sharpened.mrc", "local_resolution_voxels.mrc", "gaussians.bild", "gaussians.cif"
    ]  # fmt: skip
    assert "color sample #1 map #20 palette " in script.read_text()
    for name in _opened(script):
        assert (folder.path / name).exists()


def test_ellipsoids_are_all_gaussians_the_heaviest_first(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    fill_run(folder)
    run = Evidence.read(folder)
    write_chimerax(run)
    ply = read_ply(folder.gaussians)
    text = folder.ellipsoids.read_text()
    blocks = text.split(".color")[1:]
    assert len(blocks) == len(ply.amplitudes)
    order = np.argsort(-ply.amplitudes)
    for i in (0, len(blocks) - 1):
        rows = {line.split()[0]: line.split()[1:] for line in blocks[i].splitlines()[1:]}
        centre, scale = (np.array(rows[key], float) for key in (".translate", ".scale"))
        angle, *axis = (float(v) for v in rows[".rotate"])
        turn = Rotation.from_rotvec(np.radians(angle) * np.array(axis)).as_matrix()
        half = turn * scale
        np.testing.assert_allclose(half @ half.T, _covariance(ply, order[i]), **BILD)
        corner = run.box_size // 2 * run.pixel_size
        np.testing.assert_allclose(centre - corner, ply.means[order[i]], **BILD)
    assert text.count(".pop") == 3 * len(blocks)


def _covariance(ply: PlyMixture, i: int) -> np.ndarray:
    w, x, y, z = ply.quaternions[i].astype(float)
    half = Rotation.from_quat([x, y, z, w]).as_matrix() * ply.scales[i]
    return half @ half.T


def test_pseudo_atoms_are_the_gaussians(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    fill_run(folder)
    write_chimerax(Evidence.read(folder))
    ply = read_ply(folder.gaussians)
    chains = list(gemmi.read_structure(str(folder.pseudo_atoms))[0])
    atoms = [residue[0] for chain in chains for residue in chain]
    assert len(chains) == 1 and len(atoms) == len(ply.amplitudes)
    for i in (0, len(atoms) - 1):
        assert atoms[i].occ == pytest.approx(ply.amplitudes[i], rel=1e-5)
        u = np.array(atoms[i].aniso.as_mat33().tolist())
        np.testing.assert_allclose(u, _covariance(ply, i), **BILD)


@pytest.mark.parametrize(("box", "symmetry"), [(24, "C1"), (25, "C3")])
def test_all_formats_stand_where_the_map_has_its_density(
    tmp_path: Path, box: int, symmetry: str
) -> None:
    """One narrow Gaussian off the centre: its voxel is the brightest, and all formats name it."""
    folder, pixel = plain_run(tmp_path / "run", box=box), 2.5
    mean, turn = torch.tensor([[10.0, -5.0, 17.5]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    one = GaussianMixture(mean, torch.full((1, 3), 2.0), turn, torch.ones(1), symmetry)
    one.save(folder.gaussians)
    write_map(folder.map, voxelize(one, Grid(box, pixel)).numpy(), pixel)
    found = Ellipsoids.of(Evidence.read(folder))
    assert found is not None
    chains = list(gemmi.read_structure(str(write_cif(tmp_path / "a.cif", found)))[0])
    places = [[residue[0].pos.tolist() for residue in chain] for chain in chains]
    bild = write_bild(tmp_path / "a.bild", found).read_text().splitlines()
    moves = [line.split()[1:] for line in bild if line.startswith(".translate")]
    splats = _splats(write_splats(tmp_path / "a.ply", found))
    n = one.copies
    assert [len(p) for p in places] == [1] * n and len(moves) == len(splats) == n
    volume = read_map(folder.map).data
    for place in (*np.array(places)[:, 0], *np.array(moves, float), splats["xyz"]):
        x, y, z = np.round(np.atleast_2d(place)[0] / pixel).astype(int)
        assert volume[z, y, x] > 0.5 * volume.max()
    first = np.array(places[0][0])
    np.testing.assert_allclose(first, mean[0] + box // 2 * pixel, **BILD)


SPLAT = np.dtype(
    [("xyz", "<f4", 3), ("normal", "<f4", 3), ("colour", "<f4", 3), ("opacity", "<f4"),
     ("scale", "<f4", 3), ("rot", "<f4", 4)]
)  # fmt: skip


def _splats(path: Path) -> np.ndarray:
    header, _, rows = path.read_bytes().partition(b"end_header\n")
    assert b"format binary_little_endian 1.0" in header and header.count(b"property float") == 17
    return np.frombuffer(rows, SPLAT)


def test_splats_hold_logarithms_and_logits(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    fill_run(folder)
    run_export(folder.path, tmp_path / "splats.ply")
    ply, splats = read_ply(folder.gaussians), _splats(tmp_path / "splats.ply")
    np.testing.assert_allclose(np.exp(splats["scale"]), ply.scales, **FILE_FLOAT32)
    opacity = 1.0 / (1.0 + np.exp(-splats["opacity"]))
    peaks = ply.amplitudes / ply.scales.prod(1)
    assert opacity[peaks.argmax()] > 0.9 > 0.5 > opacity[peaks.argmin()] > 0.0
    colours = 0.5 + 0.28209479 * splats["colour"]
    assert colours.min() >= -1e-6 and colours.max() <= 1.0 + 1e-6
    with pytest.raises(OutputError, match="would replace the file it is made from"):
        run_export(folder.path, folder.gaussians)
    with pytest.raises(OutputError, match=r"written as \.cif, \.bild, \.ply, not as \.obj"):
        run_export(folder.path, tmp_path / "a.obj")


def test_colours_follow_the_amplitude_where_there_is_no_local_resolution(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    fill_run(folder)
    folder.local_resolution.unlink()
    folder.local_resolution_voxels.unlink()
    write_chimerax(Evidence.read(folder))
    colours = [line for line in folder.ellipsoids.read_text().splitlines() if ".color" in line]
    first, last = (np.array(c.split()[1:], float) for c in (colours[0], colours[-1]))
    assert first[2] > first[0] and last[0] > last[2]
    assert pytest.approx(first, abs=2e-3) == [13 / 255, 79 / 255, 139 / 255]

"""What ChimeraX opens: files that exist, at a level; ellipsoids that are the Gaussians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from full_runs import fill_run, plain_run
from scipy.spatial.transform import Rotation
from tolerances import BILD

from cryosplat.appearance import contour_level
from cryosplat.io.mrc import read_map
from cryosplat.io.ply import read_ply
from cryosplat.report.chimerax import MOST, write_chimerax
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
    assert _opened(script)[4:] == ["map_sharpened.mrc", "local_resolution.mrc", "gaussians.bild"]
    assert "color sample #1 map #20 palette " in script.read_text()
    for name in _opened(script):
        assert (folder.path / name).exists()


def test_ellipsoids_are_the_heaviest_gaussians(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    fill_run(folder)
    run = Evidence.read(folder)
    write_chimerax(run)
    ply = read_ply(folder.gaussians)
    text = folder.ellipsoids.read_text()
    blocks = text.split(".color")[1:]
    assert len(blocks) == min(MOST, len(ply.amplitudes))
    order = np.argsort(-ply.amplitudes)
    for i in (0, len(blocks) - 1):
        rows = {line.split()[0]: line.split()[1:] for line in blocks[i].splitlines()[1:]}
        centre, scale = (np.array(rows[key], float) for key in (".translate", ".scale"))
        angle, *axis = (float(v) for v in rows[".rotate"])
        turn = Rotation.from_rotvec(np.radians(angle) * np.array(axis)).as_matrix()
        half = turn * scale
        w, x, y, z = ply.quaternions[order[i]].astype(float)
        expected = Rotation.from_quat([x, y, z, w]).as_matrix() * ply.scales[order[i]]
        np.testing.assert_allclose(half @ half.T, expected @ expected.T, **BILD)
        corner = run.box_size // 2 * run.pixel_size
        np.testing.assert_allclose(centre - corner, ply.means[order[i]], **BILD)
    assert text.count(".pop") == 3 * len(blocks)


def test_colours_follow_the_amplitude_where_there_is_no_local_resolution(tmp_path: Path) -> None:
    folder = plain_run(tmp_path / "run")
    fill_run(folder)
    folder.local_resolution.unlink()
    write_chimerax(Evidence.read(folder))
    colours = [line for line in folder.ellipsoids.read_text().splitlines() if ".color" in line]
    first, last = (np.array(c.split()[1:], float) for c in (colours[0], colours[-1]))
    assert first[2] > first[0] and last[0] > last[2]
    assert pytest.approx(first, abs=2e-3) == [13 / 255, 79 / 255, 139 / 255]

"""Figures: the files, the words in them, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from cryosplat.errors import InputError, OutputError
from cryosplat.report._drawing import spread
from cryosplat.report.figures import fsc_figure, slices_figure

BOX = 32
SHELLS = np.arange(BOX // 2 + 1)
CURVES = {
    "half-maps": np.exp(-SHELLS / 9.0),
    "corrected\nfor the mask": np.where(SHELLS < 12, np.exp(-SHELLS / 7.0), np.nan),
}
SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def _ball(box_size: int = BOX) -> np.ndarray:
    axis = np.arange(box_size) - box_size // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return (radius < 7).astype(np.float32)


def _words(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_the_suffix_decides_the_format(tmp_path: Path, suffix: str) -> None:
    path = fsc_figure(tmp_path / f"fsc{suffix}", CURVES, BOX, 2.0)
    assert path == tmp_path / f"fsc{suffix}"
    assert path.read_bytes().startswith(SIGNATURES[suffix])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_fsc_names_its_curves_thresholds_and_resolutions(tmp_path: Path) -> None:
    words = _words(fsc_figure(tmp_path / "fsc.svg", CURVES, BOX, 2.0, title="Spike"))
    text = path_text = (tmp_path / "fsc.svg").read_text()
    for expected in ("half-maps", "0.143", "0.5", "Spike", "10", "5"):
        assert expected in words
    assert "corrected" in text and "for the mask" in path_text
    assert "4" in words  # Nyquist of 2 Angstrom pixels


def test_an_odd_box_ends_below_nyquist(tmp_path: Path) -> None:
    path = fsc_figure(tmp_path / "fsc.svg", {"half-maps": np.ones(16)}, 31, 2.0)
    assert "half-maps" in _words(path)


def test_slices_have_titles_planes_and_scale_bars(tmp_path: Path) -> None:
    maps = {"cryosplat": _ball(), "voxels": 2 * _ball()}
    words = _words(slices_figure(tmp_path / "slices.svg", maps, 2.0))
    assert {"cryosplat", "voxels", "slice xy", "projection yz"} <= set(words)
    assert words.count("5 Å") == 4  # 32 Angstrom are shown; two bars a row


def test_slices_of_an_empty_map_are_drawn(tmp_path: Path) -> None:
    assert slices_figure(tmp_path / "s.png", {"empty": np.zeros((8, 8, 8))}, 1.0).exists()


def test_drawing_is_reproducible_and_leaves_no_global_state(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    one = fsc_figure(tmp_path / "a.svg", CURVES, BOX, 2.0).read_bytes()
    two = fsc_figure(tmp_path / "b.svg", CURVES, BOX, 2.0).read_bytes()
    assert one == two
    assert dict(matplotlib.rcParams) == before


def test_labels_keep_apart_and_in_order() -> None:
    heights, sizes = [0.0, 0.01, 0.0, 0.9], [0.1, 0.2, 0.1, 0.1]
    placed = spread(heights, sizes, -0.05, 1.0)
    order = np.argsort(placed)
    assert order.tolist() == [0, 2, 1, 3]
    gaps = np.diff(np.array(placed)[order])
    needed = [(sizes[a] + sizes[b]) / 2 for a, b in pairwise(order)]
    assert np.all(gaps >= np.array(needed) - 1e-12)
    assert placed[3] == 0.9


@pytest.mark.parametrize(
    ("curves", "message"),
    [({}, "at least one curve"), ({"a": np.ones(9)}, r"\(9,\).*\(17,\) for all"),
     ({"a": np.ones((2, 2))}, r"\(2, 2\)")],
)  # fmt: skip
def test_curves_of_other_lengths_are_refused(tmp_path: Path, curves: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fsc_figure(tmp_path / "fsc.png", curves, BOX, 2.0)
    assert list(tmp_path.iterdir()) == []


def test_maps_that_are_no_cubes_are_refused(tmp_path: Path) -> None:
    for maps in ({}, {"a": np.zeros((4, 4))}, {"a": np.zeros((8, 8, 8)), "b": _ball()}):
        with pytest.raises(InputError, match="expected cubes of one size"):
            slices_figure(tmp_path / "s.png", maps, 1.0)


def test_other_formats_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written as \.bmp.*Remedy: fsc\.png"):
        fsc_figure(tmp_path / "fsc.bmp", CURVES, BOX, 2.0)
    with pytest.raises(OutputError, match="cannot be written"):
        fsc_figure(tmp_path / "absent" / "fsc.png", CURVES, BOX, 2.0)


def test_the_users_settings_change_nothing(tmp_path: Path) -> None:
    plain = fsc_figure(tmp_path / "plain.png", CURVES, BOX, 2.0).read_bytes()
    settings = {
        "axes.facecolor": "black", "axes.grid": True, "savefig.transparent": True,
        "savefig.bbox": "tight", "xtick.labelsize": 40.0, "text.usetex": True,
        "figure.dpi": 50, "font.family": "monospace",
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        changed = fsc_figure(tmp_path / "changed.png", CURVES, BOX, 2.0).read_bytes()
        assert matplotlib.rcParams["text.usetex"]
    assert changed == plain


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MPLBACKEND", "module://matplotlib_inline.backend_inline"),
        ("MATPLOTLIBRC", "image.cmap: no-such-map\ntext.usetex: True\nbackend: nonsense\n"),
    ],
)
def test_neither_a_notebook_nor_a_matplotlibrc_is_in_the_way(
    tmp_path: Path, variable: str, value: str
) -> None:
    if variable == "MATPLOTLIBRC":
        (tmp_path / "matplotlibrc").write_text(value)
        value = str(tmp_path / "matplotlibrc")
    code = (
        "import os, cryosplat.report.figures as f, numpy as np;"
        f"f.fsc_figure({str(tmp_path / 'fsc.png')!r}, {{'half-maps': np.ones(17)}}, 32, 2.0);"
        f"assert os.environ[{variable!r}] == {value!r}"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {variable: value}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "fsc.png").read_bytes().startswith(SIGNATURES[".png"])

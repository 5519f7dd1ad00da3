"""States in the viewer: what is faint is gone, and particles are chosen by class or coordinate."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from full_runs import plain_run
from served import free_port

from cryosplat import RunFolder
from cryosplat.io.arrays import write_arrays
from cryosplat.io.star import read_star, write_star
from cryosplat.run_folder.stored_states import FORMAT, StoredStates
from cryosplat.viewer.scene import of_state, read_scene
from cryosplat.viewer.serve import LOOPBACK
from cryosplat.viewer.states import ShownStates, read_shown_states

pytest.importorskip("viser", reason="the viewer's packages are not installed")
LABELS = [1, 2, 3, 3, 1, 3]
AMPLITUDES = [[2.0, 1.0, 4.0], [2.0, 0.1, 2.0], [1.0, 0.0, 0.0]]


@pytest.fixture
def classes(tmp_path: Path) -> RunFolder:
    """Three classes of three Gaussians, and particles whose images are not there."""
    folder = plain_run(tmp_path / "run")
    names = [f"{i + 1:06d}@/nowhere/a.mrcs" for i in range(len(LABELS))]
    table = pd.DataFrame({"rlnImageName": names, "rlnClassNumber": LABELS, "other": 0.25})
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnImagePixelSize": [2.5]})
    write_star(folder.particles, {"optics": optics, "particles": table})
    arrays = {
        "full_amplitudes": np.array(AMPLITUDES, np.float32),
        "full_means": np.zeros((3, 3, 3), np.float32),
        "full_scales": np.ones((3, 3, 3), np.float32),
        "full_quaternions": np.tile(np.array([1, 0, 0, 0], np.float32), (3, 3, 1)),
    }
    write_arrays(folder.mixtures, "states", FORMAT, arrays, {"kind": "classes"})
    return folder


def _shown(folder: RunFolder) -> ShownStates:
    shown = read_shown_states(folder)
    assert shown is not None
    return shown


@contextlib.contextmanager
def _server() -> Iterator[Any]:
    from cryosplat.viewer.page import LocalServer

    with contextlib.redirect_stdout(io.StringIO()):
        server = LocalServer(host=LOOPBACK, port=free_port(), verbose=False)
        yield server
        server.stop()


def _motion(folder: Path, z: np.ndarray) -> ShownStates:
    arrays = {"nodes": np.zeros((25, z.shape[1]))}
    stored = StoredStates(folder / "states.safetensors", arrays, {"kind": "motion"})
    return ShownStates(RunFolder(folder), stored, z, np.zeros(1), np.ones(1))


def test_gaussians_that_are_faint_in_a_state_fade_and_go(classes: RunFolder) -> None:
    states = _shown(classes)
    whole, second, third = (of_state(states, [j]) for j in (1.0, 2.0, 3.0))
    assert (whole.amplitudes.tolist(), whole.faint) == ([4.0, 2.0, 1.0], 0)
    assert (second.amplitudes.tolist(), second.faint, second.count) == ([2.0, 2.0], 1, 3)
    assert second.shares is not None and sorted(second.shares.tolist()) == [0.5, 1.0]
    assert third.shares is not None and third.shares.tolist() == [0.5] and third.faint == 2
    # one colour means the same in all states
    assert len({g.colourings["difference between states"][1:] for g in (whole, second)}) == 1


def test_particles_are_chosen_without_their_images_and_written_once(classes: RunFolder) -> None:
    states = _shown(classes)
    path, n = states.write_chosen([(1, 1), (3, 3)])
    blocks, source = read_star(path), read_star(classes.particles)
    kept = source["particles"].query("rlnClassNumber != 2").reset_index(drop=True)
    assert path.name == "chosen_01.star" and n == len(kept) == 5
    pd.testing.assert_frame_equal(blocks["particles"], kept)
    pd.testing.assert_frame_equal(blocks["optics"], source["optics"])
    assert _shown(classes).write_chosen([(1, 1), (3, 3)]) == (path, 5)
    other, n = states.write_chosen([(2, 2)])
    assert (other.name, n, states.written()) == ("chosen_02.star", 1, [path, other])


def test_bars_stand_on_zero_and_mark_what_is_shown(classes: RunFolder) -> None:
    states = _shown(classes)
    x, every, chosen, mark = (own.reshape(3, 4) for own in states.bars(states.chosen([(3, 3)]), 2))
    assert (np.diff(x.ravel()) >= 0).all() and np.allclose(x.mean(1), [1, 2, 3])
    assert every[:, 0].tolist() == every[:, 3].tolist() == [0, 0, 0]
    assert every[:, 1].tolist() == [2, 1, 3] and chosen[:, 1].tolist() == [0, 0, 3]
    assert mark[1, 1] > every.max() and (mark[[0, 2]] < 0).all()


def test_the_page_says_what_is_chosen_and_where_it_was_written(classes: RunFolder) -> None:
    from cryosplat.viewer.page import Page

    scene = read_scene(classes)
    found = {
        "kind": "classes",
        "found": True,
        "n": 3,
        "further": "No part.",
        "further_found": False,
    }
    with _server() as server:
        scene = dataclasses.replace(scene, summary={"states": found})
        page = Page(server, scene)
        controls = page.state_controls
        assert controls is not None and page.words.content == "**3 classes**"
        controls.write()
        assert "No particles" in controls.written.content and not controls.states.written()
        controls.picks[0].value = controls.picks[2].value = True
        controls.draw()
        assert controls.chosen.content == "5 of 6 particles, classes 1, 3."
        controls.write()
        assert controls.written.content == "5 particles are in `chosen_01.star` of the run."
        controls.write()
        assert controls.written.content == "These 5 particles are in `chosen_01.star` already."
        found["further_found"] = True
        assert "No part" in Page(server, scene).words.content


def test_the_range_of_a_coordinate_is_told(tmp_path: Path) -> None:
    from cryosplat.viewer.state_controls import StateControls

    z = np.linspace(-1.0, 1.0, 21)
    with _server() as server:
        one = StateControls(server.gui, _motion(tmp_path, z[:, None]))
        one.picks[0].value = (0.0, 1.0)
        one.draw()
        assert one.chosen.content == "11 of 21 particles, coordinate from 0.00 to 1.00."
        assert one.bars.data[2].sum() == 22.0
        two = StateControls(server.gui, _motion(tmp_path, np.stack([z, -z], 1)))
        two.picks[1].value = (-0.5, 0.0)
        two.draw()
        told = (
            "6 of 21 particles, coordinate 1 from -1.00 to 1.00, coordinate 2 from -0.50 to 0.00."
        )
        assert two.chosen.content == told


def test_a_scatter_shows_which_particles_are_chosen(tmp_path: Path) -> None:
    z = np.random.default_rng(0).uniform(-1.0, 1.0, (4500, 2))
    shown = _motion(tmp_path, z)
    x, y, chosen = shown.scatter([(-0.2, 0.5), (0.0, 1.0)])
    assert 1000 < len(x) <= 2000 and (np.diff(x) >= 0.0).all()
    inside = (x >= -0.2) & (x <= 0.5) & (y >= 0.0)
    assert (chosen[inside] == y[inside]).all() and (chosen[~inside] > shown.limits[1]).all()
    assert {tuple(p) for p in zip(x, y, strict=True)} <= {tuple(p) for p in z}

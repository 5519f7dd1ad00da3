"""The viewer in a real browser: it draws, and its controls change what is drawn."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import Browser, browser
from full_runs import fill_run, plain_run
from served import free_port, served

from cryosplat import InputError, SettingsError
from cryosplat.cli._options import existing_or_growing
from cryosplat.run_folder import RunFolder
from cryosplat.viewer.serve import LOOPBACK, serve

pytest.importorskip("viser", reason="the viewer's packages are not installed")
WIDTH, HEIGHT, TOP, PANEL = 660, 480, 170, 350
VISER_SPLATS = "computeBoundingSphere(): Computed radius is NaN"
"""three.js says this of every splat that viser draws: viser's splats have no positions of their own."""


def _scene(page: Browser) -> np.ndarray:
    """The settled picture without the panel and without the notice of a missing graphics card."""
    return page.settled()[TOP:, : WIDTH - PANEL].astype(int)


def _changed(page: Browser, before: np.ndarray) -> np.ndarray:
    """The settled picture after it has changed."""
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        now = _scene(page)
        if (np.abs(now - before).max(2) > 40).mean() > 0.005:
            return now
    raise AssertionError("the picture did not change")


def _press(page: Browser, label: str) -> None:
    """Click the checkbox with this label."""
    found = page.value(
        "(() => { const l = [...document.querySelectorAll('label')]"
        f".find(l => l.innerText === {label!r});"
        " let row = l; while (!row.querySelector('input[type=checkbox]')) row = row.parentElement;"
        " const box = row.querySelector('input[type=checkbox]'); box.scrollIntoView();"
        " const r = box.getBoundingClientRect();"
        " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    page.click(*found)


def _move_level(page: Browser, presses: int) -> None:
    """Move the first slider with the arrow keys."""
    page.value("document.querySelector('[role=slider]').focus()")
    for _ in range(presses):
        page.key("ArrowRight", 39)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with everything in it."""
    folder = plain_run(tmp_path_factory.mktemp("runs") / "run")
    fill_run(folder)
    return folder.path


def test_the_page_draws_and_its_controls_work(run: Path) -> None:
    with served(run) as url, browser() as page:
        page.open(url, WIDTH, HEIGHT)
        page.until("!!document.querySelector('canvas')")
        page.until("[...document.querySelectorAll('label')].some(l => l.innerText === 'Map')")
        surface = _changed(page, np.full((HEIGHT - TOP, WIDTH - PANEL, 3), 255))
        assert surface.std() > 10
        assert "6.50 Å" in page.value("document.body.innerText")
        assert "The half-sets share 212 particles" in page.value("document.body.innerText")
        _move_level(page, 12)
        higher = _changed(page, surface)
        assert (higher < 245).any(2).mean() < (surface < 245).any(2).mean()
        _press(page, "Map")
        nothing = _changed(page, higher)
        assert nothing.std() < 3
        _press(page, "Half-map 1")
        half = _changed(page, nothing)
        _press(page, "Half-map 1")
        _changed(page, half)
        _press(page, "Show Gaussians")
        ellipsoids = _changed(page, nothing)
        assert ellipsoids.std() > 5
        _press(page, "Show slice")
        _changed(page, ellipsoids)
        assert [p for p in page.problems if VISER_SPLATS not in p] == []
        root = url.partition("?")[0]
        elsewhere = [
            u for u in page.asked if not u.startswith((root, "data:", "blob:", "ws://127"))
        ]
        assert elsewhere == []


def test_a_run_that_is_being_made_is_watched_until_it_is_finished(tmp_path: Path) -> None:
    volume = np.zeros((24, 24, 24), np.float32)
    with RunFolder.create(tmp_path / "run") as folder:
        volume[8:16, 8:16, 8:16] = 1.0
        folder.grow("half-sets from map 1, round 3", volume, 4.0)
        with served(tmp_path / "run") as url, browser() as page:
            page.open(url, WIDTH, HEIGHT)
            page.until("document.body.innerText.includes('half-sets from map 1, round 3')")
            small = _changed(page, np.full((HEIGHT - TOP, WIDTH - PANEL, 3), 255))
            volume[8:16, 8:16, 2:22] = 1.0
            folder.grow("poses of all images", volume, 4.0)
            page.until("document.body.innerText.includes('poses of all images')")
            _changed(page, small)
            finished = plain_run(tmp_path / "made")
            shutil.copytree(finished.path, folder.path, dirs_exist_ok=True)
            folder.commit()
            page.until("[...document.querySelectorAll('label')].some(l => l.innerText === 'Map')")
    assert not list(tmp_path.glob("*.growing.mrc"))


def test_the_folder_that_one_is_in_is_shown(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    assert existing_or_growing(".") == Path(".")
    with served(Path(".")) as url:
        assert url.startswith("http://")


def test_a_run_that_is_broken_off_leaves_nothing_to_watch(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder.create(tmp_path / "run") as folder:
        folder.grow("step 10", np.ones((4, 4, 4)), 1.0)
        assert folder.growing.exists()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_only_this_machine_is_served_unless_told_otherwise(run: Path) -> None:
    with served(run) as url:
        port = urlsplit(url).port
        with socket.create_connection((LOOPBACK, port), 5):
            pass
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), 5):
            pass


def test_the_page_cannot_open_a_public_address(run: Path) -> None:
    from cryosplat.viewer.page import LocalServer

    with contextlib.redirect_stdout(io.StringIO()):
        server = LocalServer(host=LOOPBACK, port=free_port(), verbose=False)
        assert server.request_share_url() is None
        server.stop()


def test_a_taken_port_is_passed_over(run: Path) -> None:
    with served(run) as first:
        port = urlsplit(first).port
        ended, urls = threading.Event(), []

        def begin(url: str) -> None:
            urls.append(url)
            ended.set()

        serve(run, LOOPBACK, port, begin, ended.is_set)
    assert urls[0] != first


def test_missing_packages_and_runs_are_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"run\.json: cannot be read"):
        serve(run / "absent")
    monkeypatch.setitem(sys.modules, "viser", None)
    monkeypatch.delitem(sys.modules, "cryosplat.viewer.page", raising=False)
    with pytest.raises(SettingsError, match=r"pip install 'cryosplat\[view\]'"):
        serve(run)


def test_an_address_of_another_machine_is_refused(run: Path) -> None:
    with pytest.raises(SettingsError, match=r"Nothing can listen at 203\.0\.113\.1 "):
        serve(run, "203.0.113.1", 8080)


def test_ctrl_c_ends_the_command_quietly(run: Path) -> None:
    command = [sys.executable, "-c", "from cryosplat.cli import main; main()", "view", str(run)]
    process = subprocess.Popen(
        [*command, "--port", str(free_port())], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    # what communicate() gives may begin with what the stream had read ahead
    assert (process.returncode, out.splitlines()[-1], err) == (0, "Stopped.", "")

"""The viewer as a server: it runs until it is broken off."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from ..errors import SettingsError
from ..run_folder import RunFolder
from .scene import read_scene

LOOPBACK = "127.0.0.1"
PORT = 8080
IDLE = 0.5  # seconds between looks at whether to stop


def serve(
    run: Path,
    host: str = LOOPBACK,
    port: int = PORT,
    on_start: Callable[[str], None] = lambda url: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Serve the page of ``run`` until ``stop`` says so or Ctrl-C; ``on_start`` is told its address.

    Of a run that is being made the growing map is shown until it is finished. The address holds a
    random token; without it, and from pages of other sites, nothing is served.
    Where ``port`` is taken, the next free one is used.

    Raises
    ------
    InputError
        There is no run in the folder, or a file in it cannot be read.
    SettingsError
        The packages of the viewer are not installed, or nothing can listen at ``host``.
    """
    folder = RunFolder(Path(os.path.abspath(run)))  # "." has no name of its own
    scene = None if is_growing(folder) else read_scene(folder)
    try:
        import skimage.measure  # noqa: F401

        from ._gate import Gate, serving_behind
        from .growing import GrowingPage
        from .page import LocalServer, Page
    except ImportError as error:
        raise SettingsError(
            f"The viewer needs packages that are not installed ({error}).\n"
            f"  Remedy: pip install 'cryosplat[view]'"
        ) from error
    _check_address(host)
    gate = Gate(host)
    # viser says where it listens, and when it stops
    with redirect_stdout(io.StringIO()), serving_behind(gate):
        server = LocalServer(host=host, port=port, verbose=False)
    try:
        page = GrowingPage(server, folder) if scene is None else Page(server, scene)
        page.redraw(0.0)
        on_start(gate.address(server.get_port()))
        while not stop():
            page.redraw(IDLE)
            if isinstance(page, GrowingPage) and page.ended:
                if not folder.summary.exists():
                    page.tell_broken_off()
                    continue
                server.gui.reset()
                server.scene.reset()
                page = Page(server, read_scene(folder))
    finally:
        with redirect_stdout(io.StringIO()):
            server.stop()


def is_growing(folder: RunFolder) -> bool:
    """Whether there is a map of a run that is being made, and none that was finished after it."""
    try:
        begun = folder.growing.stat().st_mtime
    except OSError:
        return False
    return not folder.summary.exists() or folder.summary.stat().st_mtime < begun


def _check_address(host: str) -> None:
    """Raises `SettingsError` where this machine has no such address; viser would wait for ever."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.bind(address)
    except OSError as error:
        raise SettingsError(
            f"Nothing can listen at {host} ({error.strerror or error}).\n"
            f"  Remedy: --host with an address of this machine; {LOOPBACK} is for it alone."
        ) from error

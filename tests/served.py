"""The viewer of a run, served for the time of a block."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryosplat.viewer.serve import LOOPBACK, serve


@contextmanager
def served(run: Path, host: str = LOOPBACK) -> Iterator[str]:
    """The address of the viewer of ``run``, which ends with the block."""
    started, ended = threading.Event(), threading.Event()
    addresses: list[str] = []

    def begin(url: str) -> None:
        addresses.append(url)
        started.set()

    thread = threading.Thread(target=serve, args=(run, host, free_port(), begin, ended.is_set))
    thread.start()
    try:
        assert started.wait(60), "the viewer did not start"
        yield addresses[0]
    finally:
        ended.set()
        thread.join(20)
    assert not thread.is_alive()


def free_port() -> int:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return free.getsockname()[1]

"""Runs that are broken off and go on: what their checkpoints belong to, and signals that wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..devices import device_of
from ..fitting import NOWHERE, Journal, Stopped, Store
from ..particles import Particles
from ..progress import Progress
from ..settings import ReconstructionSettings
from ._identity import digests


def journal_in(
    store: Store | None,
    particles: Particles,
    settings: ReconstructionSettings,
    progress: Progress,
    **more: Any,
) -> Journal:
    """The journal of a run's fits; raises `InputError` where ``store`` holds that of another run.

    ``more``: JSON-able values, by name, that the work depends on besides.
    """
    if store is None:
        return NOWHERE
    if store.exists():
        progress.say(f"Resuming from {store}.")
    wanted = settings.to_dict() | {"device": device_of(settings.device).type}
    return Journal.open(store, {"settings": wanted, **digests(particles), **more})


_OTHERS = [getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)]


@contextmanager
def resumable(journal: Journal, progress: Progress) -> Iterator[None]:
    """Where SIGTERM and Ctrl-C wait until the descent under way has been written down.

    The signal then takes its usual course.
    """
    if journal is NOWHERE or threading.current_thread() is not threading.main_thread():
        yield
        journal.write()
        return
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        journal.stop()

    heeded = [
        number
        for number in (signal.SIGTERM, signal.SIGINT, *_OTHERS)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield
        journal.write()
    except Stopped:
        if not received:
            raise
        progress.say("Stopped; finished fits are kept. Continue with --resume.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in received[:1]:
            signal.raise_signal(number)

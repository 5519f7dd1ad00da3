"""Signals that end a run: at once while nothing is half done, else as an exception that clears it.

Ctrl-C, SIGTERM (a queue's end), SIGHUP (a closed terminal) and SIGUSR1 (a queue's warning).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
NAMES = "SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"
SAID = b"Interrupted; no partial output was kept.\n"

_listening = _half_done = False
_held = 0
_waiting: int | None = None


def listen() -> None:
    """Take the signals, where they are not ignored (nohup), until the process ends.

    Until `half_done` they end it at once: libraries do not bear exceptions while they are imported.
    """
    global _listening
    _listening = True
    _take(_received)
    sys.unraisablehook = _swallowed


def ignore() -> None:
    """What remains, after `listen`, is quick: no signal need end it."""
    if _listening:
        _take(signal.SIG_IGN)


def half_done() -> None:
    """From now on there is something to clear away, such as a bar on the terminal or a file."""
    global _half_done
    _half_done = True


@contextmanager
def held_back() -> Iterator[None]:
    """Signals wait until the end of the block."""
    global _held, _waiting
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if not _held and _waiting is not None:
            number, _waiting = _waiting, None
            _end(number)


def _take(handler: object) -> None:
    for name in NAMES:
        number = getattr(signal, name, None)  # Windows has fewer
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]


def _received(number: int, frame: FrameType | None) -> None:
    global _waiting
    if _held:
        _waiting = number
    elif _half_done:
        _end(number)
    else:
        if number == signal.SIGINT:
            os.write(2, SAID)
        os._exit(_code(number))


def _swallowed(lost: sys.UnraisableHookArgs) -> None:
    """A signal that came within a callback, where exceptions are lost, comes again a moment later."""
    if isinstance(lost.exc_value, KeyboardInterrupt | SystemExit):
        number = signal.SIGINT if isinstance(lost.exc_value, KeyboardInterrupt) else signal.SIGTERM
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
    else:
        sys.__unraisablehook__(lost)


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(_code(number))


def _code(number: int) -> int:
    return INTERRUPTED if number == signal.SIGINT else TERMINATED

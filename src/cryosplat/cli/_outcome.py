"""From what happened to one clear message and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rich.console import Console

from ..errors import CryosplatError
from ..provenance import provenance

ALARM, USER, BUG, BROKEN_OFF, TERMINATED = 1, 2, 70, 130, 143
_SYSTEM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turns errors into messages on stderr and exit codes; what is half done is cleared first."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except CryosplatError as error:
        _fail(USER, f"{type(error).__name__}: ", str(error))
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != BROKEN_OFF:  # typer exits 130 on Ctrl-C
            raise
        _fail(BROKEN_OFF, "Interrupted; ", "no partial output was kept.")
    except MemoryError:
        _fail(
            USER, "Out of memory: ",
            "this run needs more memory than the machine has.\n"
            "  Remedy: downsample the particles to a smaller box, or use a larger machine.",
        )  # fmt: skip
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(USER)
    except OSError as error:
        if error.errno not in _SYSTEM:
            _report_bug()
        where = f"{error.filename}: " if error.filename else ""
        _fail(
            USER, "SystemError: ",
            f"{where}{error.strerror}.\n  Remedy: make room, or choose a folder that you may use.",
        )  # fmt: skip
    except Exception:
        _report_bug()


def _fail(code: int, title: str, message: str) -> NoReturn:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(title, style="bold red", end="")
    console.print(message, markup=False)
    sys.exit(code)


def _report_bug() -> NoReturn:
    details = "".join(f"{key}: {value}\n" for key, value in provenance().items())
    text = f"{details}\n{traceback.format_exc()}"
    handle, name = tempfile.mkstemp(prefix="cryosplat-bug-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    last = text.strip().splitlines()[-1]
    _fail(
        BUG, "This is a bug in cryosplat: ",
        f"{last}\n  Nothing was left behind but {name}.\n"
        f"  Remedy: please report it, with that file.",
    )  # fmt: skip


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    sys.exit(TERMINATED)

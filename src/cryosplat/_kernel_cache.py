"""What numba is told before it is imported: where kernels are kept, and how many threads there are.

Containers and batch accounts often have a read-only installation and no home; numba then refuses to
load any kernel that asks for a cache. A folder of this user under TMPDIR takes its place.
"""

from __future__ import annotations

import os


def forget_impossible_threads() -> None:
    """Leave out a NUMBA_NUM_THREADS that is no number, of which numba complains at length."""
    threads = os.environ.get("NUMBA_NUM_THREADS", "1").strip()
    if not threads.isdecimal() or int(threads) < 1:
        del os.environ["NUMBA_NUM_THREADS"]


def _is_writable(folder: str) -> bool:
    """Whether files can be made in a folder, or in the first parent that exists."""
    while not os.path.exists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _own_folder() -> str | None:
    """A folder under TMPDIR that nobody else can have put kernels into; None where there is none."""
    import stat
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = os.path.join(tempfile.gettempdir(), f"cryosplat-kernels-{user}")
    try:
        if not os.path.isdir(folder):
            os.mkdir(folder, mode=0o700)
        status = os.lstat(folder)
    except OSError:
        return None
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    private = not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if stat.S_ISDIR(status.st_mode) and mine and private else None


def choose_kernel_cache() -> None:
    """Set NUMBA_CACHE_DIR where numba would find no place; before numba is imported."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    beside = os.path.join(os.path.dirname(__file__), "__pycache__")
    if _is_writable(beside) or _is_writable(os.path.join(home, "numba")):
        return
    folder = _own_folder()
    if folder is None:
        import tempfile

        folder = tempfile.mkdtemp(prefix="cryosplat-kernels-")
    os.environ["NUMBA_CACHE_DIR"] = folder

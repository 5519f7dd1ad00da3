"""Where numba keeps compiled kernels when it may write neither to the package nor to a home.

Containers and batch accounts often have a read-only installation and no home; numba then refuses to
load any kernel that asks for a cache. A folder of this user under TMPDIR takes its place.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the first parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _own_folder() -> str | None:
    """A folder under TMPDIR that nobody else can have put kernels into; None where there is none."""
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"cryosplat-kernels-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    private = not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return str(folder) if stat.S_ISDIR(status.st_mode) and mine and private else None


def choose_kernel_cache() -> None:
    """Set NUMBA_CACHE_DIR where numba would find no place; before numba is imported."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache"))
    if _is_writable(Path(__file__).parent / "__pycache__") or _is_writable(home / "numba"):
        return
    folder = _own_folder()
    if folder is None:
        import tempfile

        folder = tempfile.mkdtemp(prefix="cryosplat-kernels-")
    os.environ["NUMBA_CACHE_DIR"] = folder

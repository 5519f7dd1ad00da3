"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside ``path`` that takes its name once everything is written.

    Raises `OutputError` where the folder is missing, read-only or full; leaves nothing behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as stream:
            yield stream
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}).\n"
            f"  Remedy: choose a folder that exists, that you may write to and that has space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)

"""Commands as they can be pasted into a shell: remedies name them, with their files quoted."""

from __future__ import annotations

import os
import shlex


def pasted(*words: str | os.PathLike[str]) -> str:
    """``words`` as one command line; those with blanks or special characters are quoted."""
    return shlex.join(os.fspath(word) for word in words)

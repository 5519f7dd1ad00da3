"""The folder of a run: its file names, and how it comes into being whole or not at all."""

from __future__ import annotations

from .folder import RunFolder, write_text

__all__ = ["RunFolder", "write_text"]

"""Files of another kind than was expected, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

from ..commands import pasted

PLAIN_SUFFIXES = (
    ".mrc", ".mrcs", ".map", ".st", ".ali", ".rec", ".star", ".cs", ".csg", ".pkl", ".txt"
)  # fmt: skip
_FOREIGN = (
    (b"\x1f\x8b", "a file compressed by gzip", "gzip"),
    (b"\x1f\x9d", "a file compressed by compress", "gzip"),
    (b"\x04\x22\x4d\x18", "a file compressed by lz4", "lz4"),
    (b"BZh", "a file compressed by bzip2", "bzip2"),
    (b"\xfd7zXZ", "a file compressed by xz", "xz"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd", "zstd"),
    (b"II*\0", "a TIFF file", ""), (b"MM\0*", "a TIFF file", ""), (b"II+\0", "a TIFF file", ""),
    (b"\x89HDF", "an HDF5 file", ""), (b"\x89PNG", "a PNG picture", ""),
    (b"\xff\xd8\xff", "a JPEG picture", ""),
)  # fmt: skip
"""First bytes, what they mean, and the program that undoes it, where one does."""


FIRST = max(len(magic) for magic, *_ in _FOREIGN)
"""Bytes that tell."""


def foreign(path: Path, raw: bytes, expected: str) -> str:
    """What a file that begins with ``raw`` is, and what to do with it; "" where it is not known."""
    for magic, kind, tool in _FOREIGN:
        if raw.startswith(magic):
            known = path.suffix in PLAIN_SUFFIXES
            plain = path.with_name(f"plain-{path.name}") if known else path.with_suffix("")
            command = (
                f"{pasted(tool, '-dc', path)} > {pasted(plain)}"
                if tool
                else f"{pasted('e2proc2d.py', path, path.with_suffix('.mrcs'))} (EMAN2)"
            )
            return (
                f"{path}: this is {kind}, expected {expected}.\n  Remedy: {command}, and use the "
                f"new file instead."
            )
    return ""

"""STAR files: named blocks, each a table. What the columns mean is not decided here."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import StarError
from .atomic import replacing
from .foreign import foreign

_BLOCK = re.compile(r"^[ \t]*data_(\S*)[ \t]*(?:#.*)?$", re.MULTILINE)
_LOOP = re.compile(r"loop_[ \t]*(?:#.*)?")
_LABEL = re.compile(r"_(\S+)[ \t]*(?:#.*)?")
# A data line may begin with any text, so a stray header is a line with nothing else on it.
_STRAY = re.compile(r"^[ \t]*(?:loop_|_[A-Za-z]\S*(?:[ \t]+#\d+)?)[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"#.*")
_QUOTED = re.compile(r"(?:^|[ \t])[\"']", re.MULTILINE)
_TOKEN = re.compile(r"\"([^\"\n]*)\"(?=[ \t]|$)|'([^'\n]*)'(?=[ \t]|$)|(#.*)|([^ \t\n]+)")
_SPECIAL = r"^$|\s|\x01|^[\"'#_]|^(?:data_|loop_|stop_|save_|global_)"
_MAX_COLUMNS = 10_000
_MAX_BLOCKS = 10_000
# Columns that hold text even where every value looks like a number ("0003", "1e5").
_TEXT_COLUMN = re.compile(r"(?:Name|Zernike|Label|File|Path)$")


def read_star(path: str | os.PathLike[str]) -> dict[str, pd.DataFrame]:
    """The blocks of a STAR file, in the order of the file.

    Keys lack the ``data_`` prefix (the block ``data_`` has the key ``""``) and columns the leading
    underscore. A block of single values becomes a table of one row. Columns whose values are all
    numbers are numeric; all others, and every column named ``...Name``, are text.

    Raises `StarError` for a file that is not a STAR file, rows of the wrong length, and repeated
    blocks or columns.
    """
    path = Path(path)
    text = _text(path)
    blocks: dict[str, pd.DataFrame] = {}
    for name, body in _blocks(text):
        if name in blocks:
            raise StarError(
                f"{path}: the block data_{name} occurs twice; only one table of a name can be "
                f"read.\n  Remedy: remove or rename one of the two."
            )
        if len(blocks) == _MAX_BLOCKS:
            raise StarError(
                f"{path}: more than {_MAX_BLOCKS} tables; no particle file has as many."
            )
        blocks[name] = _table(path, name, body)
    if not blocks:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        raise StarError(
            f"{path}: no line begins with 'data_', so this is not a STAR file "
            f"(it begins with {first[:40]!r}).\n  Remedy: give the particles.star of the last "
            f"refinement, or a .cs file, or a stack with poses.pkl and ctf.pkl."
        )
    return blocks


def write_star(path: str | os.PathLike[str], blocks: Mapping[str, pd.DataFrame]) -> None:
    """Write blocks as loops, atomically: the file appears whole or not at all."""
    path = Path(path)
    with (
        replacing(path) as raw,
        io.TextIOWrapper(raw, "utf-8", errors="surrogateescape", newline="\n") as stream,
    ):
        for name, table in blocks.items():
            labels = "".join(f"_{c} #{i}\n" for i, c in enumerate(table.columns, 1))
            stream.write(f"\n# version 30001\n\ndata_{name}\n\nloop_\n{labels}")
            _write_rows(stream, table)
            stream.write("\n")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise StarError(f"{path}: no such file.\n  Remedy: check the path.") from None
    except OSError as error:
        raise StarError(f"{path}: cannot be read ({error.strerror}).") from None
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # as PowerShell redirects
        raw = raw.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    if b"\0" in raw[:4096]:
        raise StarError(
            foreign(path, raw, "a STAR file")
            or f"{path}: not a STAR file but binary data ({len(raw)} bytes).\n"
            f"  Remedy: give the particles.star that lists the images, not the image stack."
        )
    # names of files are bytes: those that are no UTF-8 are kept, to find the file by
    return (
        raw.decode("utf-8-sig", errors="surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    )


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    starts = list(_BLOCK.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    for start, end in zip(starts, ends, strict=False):
        yield start[1], text[start.end() : end]


def _table(path: Path, name: str, body: str) -> pd.DataFrame:
    """One block's table. Labels come first; the rest up to the end of the block is data."""
    labels, position = _header(body)
    if labels is None:
        return _single_values(path, name, body)
    if len(labels) > _MAX_COLUMNS:
        raise StarError(
            f"{path}, data_{name}: {len(labels)} columns, expected at most {_MAX_COLUMNS}."
        )
    rows = _without_comments(body[position:])
    if stray := _STRAY.search(rows):
        raise StarError(
            f"{path}, data_{name}: {stray[0].strip()!r} follows the rows of a table; a block may "
            f"hold one table.\n  Remedy: give the second table its own data_ line."
        )
    label, times = Counter(labels).most_common(1)[0] if labels else ("", 1)
    if times > 1:
        raise StarError(
            f"{path}, data_{name}: the column {label} occurs {times} times.\n"
            f"  Remedy: keep one of them."
        )
    return _rows(path, name, labels, rows)


def _header(body: str) -> tuple[list[str] | None, int]:
    """The labels of a loop, None where there is none, and the position of its first row."""
    labels: list[str] | None = None
    position = 0
    while position < len(body):
        end = body.find("\n", position)
        end = len(body) if end < 0 else end
        line = body[position:end].strip(" \t")
        if line and not line.startswith("#"):
            if labels is None:
                if not _LOOP.fullmatch(line):
                    return None, 0
                labels = []
            elif label := _LABEL.fullmatch(line):
                labels.append(label[1])
            else:
                return labels, position
        position = end + 1
    return labels, len(body)


def _single_values(path: Path, name: str, body: str) -> pd.DataFrame:
    values: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, _without_comments(body).split("\n"))):
        tokens = _tokens(line)
        if not tokens:
            continue
        if not line.startswith("_") or len(tokens) < 2:
            raise StarError(
                f"{path}, data_{name}: expected 'loop_' or '_label value', found {line[:40]!r}."
                f"\n  Remedy: the file was cut or edited; write it again."
            )
        values[tokens[0][1:]] = [" ".join(tokens[1:])]
    return _numeric(pd.DataFrame(values, dtype=str))


def _rows(path: Path, name: str, labels: list[str], body: str) -> pd.DataFrame:
    if not labels or not body.strip():
        return pd.DataFrame({label: pd.Series(dtype=float) for label in labels})
    if _has_quotes(body):
        rows = [tokens for tokens in map(_tokens, body.split("\n")) if tokens]
        _check_lengths(path, name, labels, rows)
        columns = dict(zip(labels, zip(*rows, strict=True), strict=True))
        return _numeric(pd.DataFrame(columns, dtype=str))
    table = None if _too_short(labels, body) else _fast_rows(labels, body)
    if table is None:
        _check_lengths(path, name, labels, map(str.split, filter(str.strip, body.split("\n"))))
        raise StarError(
            f"{path}, data_{name}: the rows of this table cannot be told apart.\n"
            f"  Remedy: write the file again with the program it came from."
        )
    return table


def _too_short(labels: list[str], body: str) -> bool:
    """Whether the text cannot hold a value for every column of every row."""
    least = 2 * len(labels)  # a value and what separates it from the next
    if (body.count("\n") + 1) * least <= len(body) + 1:
        return False
    return sum(1 for line in body.split("\n") if line.strip()) * least > len(body) + 1


def _fast_rows(labels: list[str], body: str) -> pd.DataFrame | None:
    """Rows without quoted values; None where a row has too many values or too few."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.BytesIO(body.encode("utf-8", "surrogateescape")),
                encoding_errors="surrogateescape", sep=r"\s+", header=None, names=labels,
                index_col=False,
                quoting=csv.QUOTE_NONE, keep_default_na=False, na_values=[], low_memory=False,
                dtype={c: str for c in labels if _TEXT_COLUMN.search(c)},
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        return None
    last = table[labels[-1]]  # a row that is too short ends in empty text
    numeric = pd.api.types.is_numeric_dtype(last)
    return table if numeric or not bool((last == "").any()) else None


def _has_quotes(body: str) -> bool:
    return ('"' in body or "'" in body) and _QUOTED.search(body) is not None


def _without_comments(body: str) -> str:
    """The text without comments: from a # that begins a word to the end of its line."""
    if "#" not in body or _has_quotes(body):  # beside quotes, `_tokens` leaves comments out
        return body

    def kept(match: re.Match[str]) -> str:
        before = body[match.start() - 1] if match.start() else "\n"
        return "" if before.isspace() else re.split(r"\s#", match[0], maxsplit=1)[0]

    return _COMMENT.sub(kept, body)


def _tokens(line: str) -> list[str]:
    """The values of a line: bare words, quoted text; comments left out."""
    return [m[m.lastindex] for m in _TOKEN.finditer(line) if m.lastindex and m.lastindex != 3]


def _check_lengths(path: Path, name: str, labels: list[str], rows: Iterable[Sequence[str]]) -> None:
    wrong = [(i, len(row)) for i, row in enumerate(rows, 1) if len(row) != len(labels)]
    if wrong:
        row, given = wrong[0]
        raise StarError(
            f"{path}, data_{name} row {row}: {given} values were given for {len(labels)} columns "
            f"({len(wrong)} rows of this table are affected).\n"
            f"  The file was cut short, or a value with a space in it is not quoted.\n"
            f"  Remedy: write the file again, or quote the value."
        )


def _numeric(table: pd.DataFrame) -> pd.DataFrame:
    """Text columns in which every value is a number become numbers."""
    for label in table.columns:
        if not _TEXT_COLUMN.search(str(label)):
            numbers = pd.Series(pd.to_numeric(table[label], errors="coerce"))
            if not numbers.isna().any():
                table[label] = numbers
    return table


def _write_rows(stream: io.TextIOBase, table: pd.DataFrame) -> None:
    columns = {}
    for label in table.columns:
        column = pd.Series(table[label])
        numeric = pd.api.types.is_numeric_dtype(column)
        columns[label] = column if numeric else _quoted(column.astype(str), str(label))
    pd.DataFrame(columns).to_csv(
        stream, sep="\t", header=False, index=False, quoting=csv.QUOTE_NONE, quotechar="\x01",
        na_rep="nan",
    )  # fmt: skip


def is_writable(value: str) -> bool:
    """Whether a STAR file can hold a text: not both kinds of quotes beside a space, nor two lines."""
    mark = "'" if '"' in value else '"'
    return not (re.search(_SPECIAL, value) and any(c in value for c in f"{mark}\n\r\t\x01"))


def _quoted(text: pd.Series, label: str) -> NDArray[np.object_]:
    """Text as it stands in a row: in quotes where it would be taken for something else."""
    values = text.to_numpy(object, copy=True)
    special = text.str.contains(_SPECIAL, regex=True).to_numpy(bool)
    for i in np.flatnonzero(special):
        mark = "'" if '"' in values[i] else '"'
        if not is_writable(values[i]):
            raise StarError(
                f"column {label}, row {i + 1}: {values[i][:40]!r} cannot be written to a STAR file "
                f"(it has both kinds of quotes, a tab, or several lines).\n  Remedy: rename it."
            )
        values[i] = f"{mark}{values[i]}{mark}"
    return values

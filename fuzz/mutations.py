"""Damaged files: some bytes, words or values of good ones replaced, left out, doubled or cut."""

from __future__ import annotations

import copy
import json
import random
import re
import struct
import zlib
from typing import Any

ODD: tuple[Any, ...] = (
    None, 0, -1, 1, 2.5, 1e308, -1e-308, 10**12, 10**400, True, "", "x", "<b>", "\ud800", "C1", [], {},
    [None], [[]], [1.0], [1.0] * 50, [[1.0, 2.0]], {"a": 1}, float("nan"), float("inf"),
)  # fmt: skip
WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e400", b"9" * 400, b"true", b"null", b"", b'"', b"'", b"[", b"]",
    b"{", b"}", b",", b"=", b"\n", b"\0", b"\xff", b"\xc3\xa9", b"[images]", b"x" * 5000, b"1.5",
    b"\\ud800", b"#", b"0x7fffffffffffffffff", b"2026-01-01", b"  ", b"\r",
)  # fmt: skip
TOKEN = re.compile(rb"\w+|\s+|[^\w\s]")


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A damaged copy of a file of any kind."""
    kind = rng.random()
    if kind < 0.7 and content[:1] == b"{":
        return json.dumps(with_other_values(rng, json.loads(content))).encode()
    if kind < 0.7 and content[8:9] == b"{":
        return with_other_header(rng, content)
    return (with_other_words if kind < 0.7 else with_other_bytes)(rng, content)


def with_other_header(rng: random.Random, content: bytes) -> bytes:
    """A safetensors file whose header says other things; half of them with a valid checksum."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    if rng.random() < 0.3:
        header = with_other_values(rng, header)
    else:
        ((name, text),) = header["__metadata__"].items()
        inner = with_other_values(rng, json.loads(text))
        if rng.random() < 0.5 and isinstance(inner.get("crc32"), dict) and "values" in inner:
            inner["crc32"][""] = zlib.crc32(json.dumps(inner["values"]).encode())
        header["__metadata__"][name] = json.dumps(inner)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def with_other_words(rng: random.Random, content: bytes) -> bytes:
    """``content`` with one to three of its words replaced."""
    tokens = TOKEN.findall(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if tokens:
            at = rng.randrange(len(tokens))
            tokens[at] = rng.choice((rng.choice(WORDS), rng.choice(tokens)))
    return b"".join(tokens)


def with_other_values(rng: random.Random, values: Any) -> Any:
    """``values`` with one to three of them replaced, left out, doubled or cut."""
    values = copy.deepcopy(values)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = values
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.75:
                place = place[key]
                continue
            what = rng.choice(("odd", "odd", "gone", "cut", "double"))
            if what == "gone":
                del place[key]
            elif what == "cut" and isinstance(place[key], list):
                place[key] = place[key][: len(place[key]) // 2]
            elif what == "double" and isinstance(place[key], list):
                place[key] = place[key] * 2
            else:
                place[key] = copy.deepcopy(rng.choice(ODD))
            break
    return values


def with_other_bytes(rng: random.Random, content: bytes) -> bytes:
    """``content`` cut, or with some of its bytes replaced, removed, doubled."""
    held = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(held) + 1)
        at = at if rng.random() < 0.5 else at % 2000 % (len(held) + 1)  # often in the header
        end = min(len(held), at + rng.choice((1, 1, 2, 8, 100)))
        what = rng.choice(("flip", "random", "gone", "double", "cut"))
        if what == "flip" and end > at:
            held[at] ^= 1 << rng.randrange(8)
        elif what == "random":
            held[at:end] = rng.randbytes(end - at)
        elif what == "gone":
            del held[at:end]
        elif what == "double":
            held[at:at] = held[at:end]
        elif what == "cut":
            del held[at:]
    return bytes(held)

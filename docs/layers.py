"""Draw the layers of ``pyproject.toml`` as docs/images/layers.svg: python docs/layers.py

The picture cannot be out of date: `tests/unit/test_docs.py` draws it again and compares.
"""

from __future__ import annotations

import html
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _site.rooms import ROOT, Room, layers

PICTURE = ROOT / "docs" / "images" / "layers.svg"
WALK = (
    "io", "particles", "batch", "noise", "optics", "gridding", "statistics", "fitting", "splatting",
    "reconstruction", "run_folder", "report",
)  # fmt: skip
"""The rooms that a row of a star file passes on its way to a voxel, in order: docs/architecture.md."""

WIDTH, MARGIN, GAP, LINE = 1080, 16, 10, 15
LETTER = 6.1  # pixels of a letter of 12 pixels, on average
STYLE = """
  text { font: 12px system-ui, 'DejaVu Sans', sans-serif; fill: #3b4252; }
  .name { font-weight: 600; font-size: 13px; fill: #1d2b3a; }
  .room { fill: #eef3f8; stroke: #b8c7d6; }
  .passed { fill: #e3f1e8; stroke: #7fb08f; }
  .step { fill: #3c7a52; } .number { font-weight: 600; font-size: 11px; fill: white; }
  .note { fill: #6b7785; }
"""


def sentence(room: Room) -> str:
    """The first sentence of a room's docstring, without code marks, short enough for a box."""
    about = room.about.replace("``", "").split(". ")[0]
    head = about.split(": ")[0]
    return (head if head.count(" ") > 2 else about).rstrip(".:;,")


def wrapped(room: Room, width: float) -> list[str]:
    """The lines of that sentence in a box of a width in pixels."""
    return textwrap.wrap(sentence(room), max(12, int((width - 20) / LETTER)))


def box(room: Room, x: float, y: float, width: float, height: float) -> list[str]:
    """One room, with its number on the walk if it has one."""
    passed = room.name in WALK
    kind = "passed" if passed else "room"
    name = room.name + ("/" if room.path.is_dir() else ".py")
    parts = [
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="5"/>',
        f'<text class="name" x="{x + 10:.1f}" y="{y + 19:.1f}">{name}</text>',
    ]
    for number, line in enumerate(wrapped(room, width)):
        top = y + 36 + LINE * number
        parts.append(f'<text x="{x + 10:.1f}" y="{top:.1f}">{html.escape(line)}</text>')
    if passed:
        step, right = WALK.index(room.name) + 1, x + width - 14
        parts += [
            f'<circle class="step" cx="{right:.1f}" cy="{y + 14:.1f}" r="9"/>',
            f'<text class="number" x="{right:.1f}" y="{y + 18:.1f}" text-anchor="middle">{step}</text>',
        ]
    return parts


def drawing() -> str:
    """The picture: a row for each layer, imports point downwards."""
    body: list[str] = []
    y = 34.0
    for layer in layers():
        width = (WIDTH - 2 * MARGIN - GAP * (len(layer) - 1)) / len(layer)
        lines = max(len(wrapped(room, width)) for room in layer)
        height = 30.0 + LINE * lines
        for column, room in enumerate(layer):
            body += box(room, MARGIN + column * (width + GAP), y, width, height)
        y += height + GAP
    note = (
        "Imports point downwards only, and never between the rooms of one row. "
        "Numbers: the way of one row of a star file."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 6:.0f}" '
        f'width="{WIDTH}" height="{y + 6:.0f}" role="img" aria-label="The layers of cryosplat">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text class="note" x="{MARGIN}" y="22">{note}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(drawing(), "utf-8")

"""The tutorials as pages: comments that stand alone become text, the rest code.

``docs/tutorials/N_name.py`` are plain programs that the tests run. Their first docstring is title and
introduction. The pages are made anew in every build and are not committed.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "tutorials"


def page(program: Path) -> str:
    """A tutorial as Markdown."""
    source = program.read_text("utf-8")
    tree = ast.parse(source)
    introduction = ast.get_docstring(tree) or ""
    title, _, text = introduction.partition("\n\n")
    number = program.stem.split("_")[0]
    parts = [f"# {number}. {title}", text]
    after = tree.body[0].end_lineno or 0
    for text, code in _blocks(source.splitlines()[after:]):
        parts += [text] if text else []
        parts += [f"```python\n{code}\n```"] if code else []
    parts.append(f"The whole program: [{program.name}]({program.name}).")
    return "\n\n".join(parts) + "\n"


def _blocks(lines: list[str]) -> list[tuple[str, str]]:
    """(text, code) pairs: a paragraph of comments between empty lines is the text of what follows."""
    blocks: list[tuple[list[str], list[str]]] = [([], [])]
    for paragraph in _paragraphs(lines):
        if all(line.startswith("#") for line in paragraph):
            text = [line[1:].strip() for line in paragraph]
            blocks.append((text, []))
        else:
            blocks[-1][1].extend(["", *paragraph])
    return [("\n".join(text), "\n".join(code).strip("\n")) for text, code in blocks]


def _paragraphs(lines: list[str]) -> list[list[str]]:
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    return [paragraph for paragraph in paragraphs if paragraph]


def write_pages() -> None:
    """Write a page beside each tutorial; pages that have not changed keep their date."""
    pages = {program.with_suffix(".md"): page(program) for program in sorted(FOLDER.glob("*.py"))}
    for target, text in pages.items():
        if not target.exists() or target.read_text("utf-8") != text:
            target.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("config-inited", lambda *_: write_pages())
    return {"parallel_read_safe": True, "parallel_write_safe": True}

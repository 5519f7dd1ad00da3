"""The pages of the API reference, one for each room: written before Sphinx reads its sources.

A room is a module or folder directly below ``cryosplat``, in the order of the layers of
``pyproject.toml``. Of a folder whose ``__init__`` says what is public (``__all__``), that is shown; of
others, their public modules. The pages are made anew in every build and are not committed.
"""

from __future__ import annotations

import ast
import importlib
import re
from typing import Any

from _site.rooms import FACES, ROOT, Room, layers

FOLDER = ROOT / "docs" / "api"
INDEX = """API reference
=============

Room by room, from the bottom of the :doc:`layers <../architecture>` up. A name or module that begins
with an underscore is for its own folder only.

{rooms}

Names of ``cryosplat`` itself
-----------------------------

``from cryosplat import ...`` offers these, from

{names}

.. toctree::
   :hidden:

{pages}
"""
PARAMETER = re.compile(r"^(\s*)(\w+(?:, \w+)*): (\S.*)$")


def write_pages() -> None:
    """Write ``docs/api``; pages that have not changed keep their date."""
    rooms = [
        room
        for layer in reversed(layers())
        for room in layer
        if room.name not in FACES and not room.name.startswith("_")
    ]
    pages = {room.name: _page(room) for room in rooms}
    listed = "\n".join(f"   {name}" for name in pages)
    about = "\n".join(
        f"* :doc:`cryosplat.{room.name} <{room.name}>`: {_sentence(room)}" for room in rooms
    )
    pages["index"] = INDEX.format(rooms=about, names=_names(), pages=listed)
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.rst"):
        if stale.stem not in pages:
            stale.unlink()
    for name, text in pages.items():
        target = FOLDER / f"{name}.rst"
        if not target.exists() or target.read_text("utf-8") != text:
            target.write_text(text, "utf-8")


def _sentence(room: Room) -> str:
    return room.about.split(". ")[0].rstrip(".") + "."


def _page(room: Room) -> str:
    title = f"cryosplat.{room.name}"
    parts = [title, "=" * len(title), "", _module(title, faced=room.faced)]
    if room.path.is_dir() and not room.faced:
        for path in sorted(room.path.rglob("*.py")):
            words = path.relative_to(room.path).with_suffix("").parts
            if not any(word.startswith("_") for word in words):
                name = ".".join((title, *words))
                parts += [name, "-" * len(name), "", _module(name, faced=False)]
    return "\n".join(parts)


def _module(name: str, faced: bool) -> str:
    options = "\n   :imported-members:" if faced else ""
    return f".. automodule:: {name}\n   :members:{options}\n"


def _names() -> str:
    """The public names of the top, with links, grouped by the module that they live in."""
    import cryosplat

    tree = ast.parse((ROOT / "src" / "cryosplat" / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree)
    rooms = {room.name: room for layer in layers() for room in layer}
    homes: dict[str, list[str]] = {}
    for name in cryosplat.__all__:
        module = getattr(cryosplat, name).__module__
        top = module.split(".")[1]
        home = f"cryosplat.{top}" if rooms[top].faced else module
        if not hasattr(importlib.import_module(home), name):
            home = module
        homes.setdefault(home, []).append(f":py:obj:`{name} <{home}.{name}>`")
    return "\n".join(f"* ``{home}``: {', '.join(names)}" for home, names in sorted(homes.items()))


def _house_style(
    _app: Any, _what: str, _name: str, _of: Any, _options: Any, lines: list[str]
) -> None:
    """Docstrings as Sphinx reads them: ``|x|`` is a length, and parameters are ``name: what it is``."""
    among_parameters = False
    changed: list[str] = []
    for number, line in enumerate(lines):
        if line.strip() and set(line.strip()) == {"-"}:
            among_parameters = number > 0 and lines[number - 1].strip() == "Parameters"
        parts = re.split(r"(``.*?``|`[^`]*`)", line)
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        line = "".join(parts)
        found = PARAMETER.match(line) if among_parameters else None
        if found and not found[1]:
            changed += [found[2], f"    {found[3]}"]
        else:
            changed.append(line)
    lines[:] = changed


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("config-inited", lambda *_: write_pages())
    app.connect("autodoc-process-docstring", _house_style, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The layers of ``pyproject.toml`` and what the modules say of themselves: what is drawn and listed."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "cryosplat"
FACES = {"cli", "report", "viewer"}


@dataclass(frozen=True, slots=True)
class Room:
    """A module or folder directly below ``cryosplat``.

    ``about``: the first sentence of its docstring. ``faced``: a folder whose ``__init__`` has
    ``__all__``.
    """

    name: str
    path: Path
    about: str
    faced: bool


def layers() -> list[list[Room]]:
    """The layers from the top down, the rooms of each from left to right."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            rows = [row.replace(":", "|").split("|") for row in contract["layers"]]
            return [[_room(name.strip().strip("()")) for name in row] for row in rows]
    raise LookupError("pyproject.toml: no contract of type layers")


def _room(name: str) -> Room:
    folder, module = SOURCE / name, SOURCE / f"{name}.py"
    file = folder / "__init__.py" if folder.is_dir() else module
    tree = ast.parse(file.read_text("utf-8"))
    targets = [t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets
               if isinstance(t, ast.Name)]  # fmt: skip
    about = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    is_folder = folder.is_dir()
    return Room(name, folder if is_folder else module, about, is_folder and "__all__" in targets)

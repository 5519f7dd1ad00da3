"""An underscore means: nobody outside this folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cryosplat

SOURCE = Path(cryosplat.__file__).parent


def _imports(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, as dotted names below it."""
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            named = (*above, *(node.module or "").split(".")) if node.module else above
            yield ".".join(named)
            yield from (".".join((*named, alias.name)) for alias in node.names)


def _private(importer: str, imported: str) -> str | None:
    """The private module that is imported from outside its folder, if any."""
    parts = imported.split(".")
    for i, part in enumerate(parts):
        is_module = SOURCE.joinpath(*parts[: i + 1]).with_suffix(".py").exists()
        if part.startswith("_") and is_module and importer.split(".")[:i] != parts[:i]:
            return ".".join(parts[: i + 1])
    return None


def test_private_modules_are_imported_within_their_folder_only() -> None:
    crossing = set()
    for path in SOURCE.rglob("*.py"):
        importer = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        private = (_private(importer, imported) for imported in _imports(path))
        crossing |= {(importer, module) for module in private if module is not None}
    assert not crossing

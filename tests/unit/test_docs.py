"""What the documentation tells a user to type exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer.main

import cryosplat
from cryosplat.cli._app import app

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").glob("empiar-*.toml"))
PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "recipes").glob("*.md")), ROOT / "benchmarks" / "README.md",
    ROOT / "benchmarks" / "paper" / "README.md",
]  # fmt: skip


def _named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_commands_and_options_exist(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    text = page.read_text("utf-8").replace("\\\n", " ")
    for line in re.findall(r"cryosplat ((?:[a-z]+) [^\n`]*)", text):
        words = line.split("#")[0].split()
        if words[0] not in commands:
            continue
        known = {
            option for p in commands[words[0]].params for option in (*p.opts, *p.secondary_opts)
        }
        given = {word for word in words[1:] if word.startswith("-")}
        assert given <= known, line


@pytest.mark.parametrize("path", RECIPES, ids=_named)
def test_settings_of_recipes_load(path: Path) -> None:
    assert cryosplat.ReconstructionSettings.from_toml(path).gaussians == 30_000
    assert f"--settings {path.relative_to(ROOT)}" in path.with_suffix(".md").read_text("utf-8")


def test_python_examples_import_public_names() -> None:
    imported = []
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module == "cryosplat":
                    imported += [alias.name for alias in node.names]
    assert imported and set(imported) <= set(cryosplat.__all__)

"""What the documentation tells a user to type exists."""

from __future__ import annotations

import ast
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer.main

import cryosplat
from cryosplat.cli._app import app
from cryosplat.poses import rotations_from_euler

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 112  # letters in a line of a page
GENERATED = {"api/index.rst"}  # pages that `make docs` writes
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
    missing = [x for x in links if x not in GENERATED and not (page.parent / x).exists()]
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


def _commands(page: Path) -> list[list[str]]:
    """The lines of a page's code blocks that a shell would run, each as its words."""
    lines = []
    for block in re.findall(r"```(?:sh|bash)?\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        lines += block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_every_command_of_the_readme_runs() -> None:
    """Programs, targets of make and files are there; options exist and take as many values."""
    group = typer.main.get_command(app)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    commands = _commands(ROOT / "README.md")
    assert ["make", "demo"] in commands
    for words in commands:
        program, *rest = words
        if program == "make":
            assert set(rest) <= set(targets), words
        elif program == "source":
            assert rest == [".venv/bin/activate"]
        else:
            assert program == "cryosplat", words
            command = group.commands[rest[0]]  # pyright: ignore[reportAttributeAccessIssue]
            command.make_context(rest[0], rest[1:], resilient_parsing=True)
            left = command.make_parser(command.context_class(command)).parse_args(rest[1:])[1]
            assert not left, words


def test_the_environment_is_entered_before_its_program_is_called() -> None:
    names = [words[0] for words in _commands(ROOT / "README.md")]
    assert names.index("make") < names.index("source") < names.index("cryosplat")


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_tests_named_on_a_page_exist(page: Path) -> None:
    for file, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text("utf-8")):
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"{file}::{name}"


@pytest.mark.parametrize("name", ["architecture", "method"])
def test_rooms_named_on_a_page_exist(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    source = ROOT / "src" / "cryosplat"
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py))`", text))
    missing = {
        path for path in named if not (source / path).exists() and not (ROOT / path).exists()
    }
    assert named and not missing


def test_the_row_of_the_walk_goes_where_the_page_says() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert "tilt 90°" in text and "coefficient (5, 3) goes to (0, 3, -5)" in text
    rotation = rotations_from_euler([[0.0, math.pi / 2, 0.0]])[0]
    np.testing.assert_allclose(rotation.T @ [5.0, 3.0, 0.0], [0.0, 3.0, -5.0], atol=1e-12)


def _prose(page: Path) -> list[str]:
    """The lines that somebody wrote as running text: no tables, code, pictures, nothing generated."""
    text = re.sub(
        r"(?ms)^<!-- [\w-]+: written by.*?^<!-- end of.*?-->$", "", page.read_text("utf-8")
    )
    text = re.sub(r"(?ms)^<!-- tables: written by.*", "", text)
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    return [line for line in text.splitlines() if not line.startswith(("|", "!["))]


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_prose_is_wrapped(page: Path) -> None:
    assert not [line for line in _prose(page) if len(line) > LONGEST]


def test_every_equation_of_the_method_is_numbered_and_tied_to_a_test() -> None:
    text = (ROOT / "docs" / "method.md").read_text("utf-8")
    equations = re.findall(r"^\$\$\n(.*?)^\$\$$", text, re.DOTALL | re.MULTILINE)
    numbers = [re.findall(r"\\tag\{(\d+)\}", equation) for equation in equations]
    assert numbers == [[str(i)] for i in range(1, len(equations) + 1)]
    for section in text.split("\n## ")[1:]:
        last = section.rfind("\\tag{")
        assert last < 0 or re.search(r"tests/[\w/]+\.py::test_", section[last:]), section[:40]


@pytest.mark.slow  # so that moving a layer is no trouble before the end of a piece of work
def test_the_picture_of_the_layers_is_drawn_from_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import layers; print(layers.drawing(), end='')"],
        cwd=ROOT / "docs", capture_output=True, text=True, check=True,
    )  # fmt: skip
    drawn = (ROOT / "docs" / "images" / "layers.svg").read_text("utf-8")
    assert drawn == done.stdout, "Remedy: python docs/layers.py"


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

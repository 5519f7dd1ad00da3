"""What is said of dependencies and Python versions in several places says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"matplotlib-base": "matplotlib", "pytorch": "torch"}


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    text = (ROOT / "packaging" / "conda-recipe.yaml").read_text("utf-8")
    run = text[text.index("  run:") : text.index("tests:")]
    asked = {CONDA_NAMES.get(n, n): v for n, v in re.findall(r"- ([a-z0-9-]+) >=([0-9.]+)", run)}
    expected = dict(
        re.findall(r"^([a-z0-9-]+)>=([0-9.]+)$", "\n".join(_project()["dependencies"]), re.M)
    )
    python = _project()["requires-python"].removeprefix(">=")
    assert asked == expected | {"python": python}


def test_the_oldest_python_is_the_same_everywhere() -> None:
    oldest = _project()["requires-python"].removeprefix(">=")
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    assert f'python: ["{oldest}"' in workflow
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert tools["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert tools["pyright"]["pythonVersion"] == oldest
    assert f"({oldest.replace('.', ', ')})" in (ROOT / "Makefile").read_text("utf-8")
    classifiers = [c for c in _project()["classifiers"] if c.startswith("Programming Language")]
    assert f"Programming Language :: Python :: {oldest}" in classifiers
    tested = re.findall(r'"(3\.\d+)"', workflow.split("include:")[0])
    assert {f"Programming Language :: Python :: {v}" for v in tested} <= set(classifiers)


def test_every_dependency_is_pinned_for_the_tests() -> None:
    pinned = re.findall(
        r"^([A-Za-z0-9_.-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.M
    )
    known = {name.lower().replace("_", "-") for name in pinned}
    asked = re.findall(r"^([a-z0-9-]+)", "\n".join(_project()["dependencies"]), re.M)
    assert set(asked) <= known

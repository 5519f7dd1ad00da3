"""No decision reads English: every note may be reworded at any time, and its code is documented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from planted import PlantedSet, planted, simulate_clean

import cryosplat
from cryosplat.checking import write_fixed
from cryosplat.checking.checks import resolve_overfocus
from cryosplat.notes import SEVERITIES, Note, Severity
from cryosplat.particles import Selection

SOURCE = Path(cryosplat.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "notes.md"
WORDS = ("text", "remedy", "reason", "message")
READERS = {
    "startswith", "endswith", "find", "rfind", "index", "count", "partition", "rpartition", "split",
    "rsplit", "removeprefix", "removesuffix", "replace", "match", "search", "fullmatch",
}  # fmt: skip
MAKERS = ("Note", "Reading")


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def _words(node: ast.AST) -> bool:
    """Whether an expression is the words of a note: an attribute such as ``note.text``."""
    return isinstance(node, ast.Attribute) and node.attr in WORDS


def _reads_words(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return any(map(_words, (node.left, *node.comparators)))
    if isinstance(node, ast.Subscript):
        return _words(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        own = node.func.attr in READERS and _words(node.func.value)
        return own or (node.func.attr in READERS and any(map(_words, node.args)))
    return isinstance(node, ast.Match) and _words(node.subject)


def test_no_code_compares_or_searches_the_words_of_a_note() -> None:
    readers = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"  # type: ignore[attr-defined]
        for path, tree in _modules()
        for node in ast.walk(tree)
        if _reads_words(node)
    ]
    assert not readers


def _strings(node: ast.AST, function: ast.AST, tree: ast.Module) -> set[str]:
    """The strings that a note's code may be: written there, or in a constant or loop above."""
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.IfExp):
        return _strings(node.body, function, tree) | _strings(node.orelse, function, tree)
    if isinstance(node, ast.Name):
        for loop in ast.walk(function):
            if isinstance(loop, ast.For) and isinstance(loop.target, ast.Tuple):
                names = [getattr(target, "id", "") for target in loop.target.elts]
                if node.id in names:
                    rows = _rows(loop.iter, function)
                    return {str(row.elts[names.index(node.id)].value) for row in rows}  # type: ignore
        for statement in tree.body:
            if (
                isinstance(statement, ast.Assign)
                and getattr(statement.targets[0], "id", "") == node.id
            ):
                return _strings(statement.value, function, tree)
    # a reading's code becomes that of its note
    return set() if isinstance(node, ast.Attribute) and node.attr == "code" else {"?"}


def _rows(iterable: ast.expr, function: ast.AST) -> list[ast.Tuple]:
    """The tuples of a literal that a loop runs over, written there or assigned in the function."""
    if isinstance(iterable, ast.Name):
        for statement in ast.walk(function):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            if isinstance(statement, ast.Assign) and getattr(target, "id", "") == iterable.id:
                return _rows(statement.value, function)
    assert isinstance(iterable, ast.Tuple)
    return [row for row in iterable.elts if isinstance(row, ast.Tuple)]


def _codes() -> set[str]:
    """All codes of notes in the source."""
    codes: set[str] = set()
    for _, tree in _modules():
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)] or [tree]
        for function in (*functions, tree):
            for node in ast.walk(function):
                if (
                    isinstance(node, ast.Call)
                    and getattr(node.func, "id", "") in MAKERS
                    and node.args
                ):
                    codes |= _strings(node.args[0], function, tree) - {"?"}
    return codes


def test_codes_are_kebab_case_and_all_documented() -> None:
    rows = re.findall(
        r"^\| `([^`]+)` \| ([a-z, ]+) \| .+ \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    documented = [code for code, _ in rows]
    assert len(documented) == len(set(documented))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) for code in documented)
    assert all(severity in SEVERITIES for _, listed in rows for severity in listed.split(", "))
    assert _codes() == set(documented)


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_clean(tmp_path_factory.mktemp("set") / "set", 120)


def _faulty(star: Path, folder: Path) -> PlantedSet:
    """A table with faults of every kind that a decision follows from."""
    folder.mkdir()
    planted_set = planted(star, folder)
    planted_set.rows[["rlnDefocusU", "rlnDefocusV"]] *= -1.0
    planted_set.rows["rlnDefocusAngle"] = np.deg2rad(planted_set.rows["rlnDefocusAngle"])
    planted_set.rows["rlnRandomSubset"] = 2
    planted_set.rows.loc[[7, 9], "rlnImageName"] = planted_set.rows.loc[3, "rlnImageName"]
    (folder / "linked.mrcs").symlink_to(planted_set.stack)
    planted_set.name("linked.mrc", slice(20, 40))
    planted_set.name("gone.mrcs", slice(100, 104))
    return planted_set


def _decisions(star: Path, folder: Path) -> list[object]:
    """Everything that a check, a corrected table and a selection decide."""
    faulty = _faulty(star, folder)
    particles, result = faulty.check(all_images=True)
    n, changes = write_fixed(particles, folder / "out.star", result, True)
    half = Selection(expression="rlnRandomSubset = 2", first=110).apply(particles)
    overfocus = [{"reading": "defocus-negated", "nats": -900.0, "standard_errors": -12.0}]
    items = [*result.report.items, *resolve_overfocus(list(result.report.items), overfocus)]
    return [
        [(item.title, item.status, [f.code for f in item.findings]) for item in items],
        [reading.code for reading in result.readings], result.useless.tolist(),
        n, [change.code for change in changes], [note.code for note in half.notes],
    ]  # fmt: skip


def test_rewording_every_note_changes_no_decision(
    star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _decisions(star, tmp_path / "before")
    original = Note.__init__

    def reword(self: Note, code: str, severity: Severity, text: str, remedy: str = "") -> None:
        original(self, code, severity, f"Other words for {code[::-1]}.", remedy and "Do it.")

    monkeypatch.setattr(Note, "__init__", reword)
    assert _decisions(star, tmp_path / "after") == before

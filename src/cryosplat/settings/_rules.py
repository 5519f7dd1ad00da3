"""What the value of a setting may be, said once: for the check and for the message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from ..errors import SettingsError
from ..symmetry import symmetry_name

T = TypeVar("T")
LONGEST = 80  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Rule:
    """``expected``, as a message says it, and whether it ``holds`` for a value."""

    expected: str
    holds: Callable[[Any], bool]

    def or_none(self) -> Rule:
        """The same, for a setting that may be left to the data."""
        return Rule(self.expected, lambda value: value is None or self.holds(value))


def whole(low: int, high: int | None = None) -> Rule:
    """A whole number from ``low`` to ``high``."""
    expected = f"{low:,} or more" if high is None else f"from {low:,} to {high:,}"
    separator = ", " if high is None else " "
    top = 2**63 - 1 if high is None else high
    return Rule(
        f"a whole number{separator}{expected}", lambda v: type(v) is int and low <= v <= top
    )


def number(expected: str, holds: Callable[[float], bool]) -> Rule:
    """A number for which ``holds``; a truth value is none."""
    return Rule(expected, lambda v: type(v) in (int, float) and holds(v))


def choice(*words: str) -> Rule:
    """One of ``words``."""
    return Rule("one of " + ", ".join(map(repr, words)), lambda v: type(v) is str and v in words)


def flag() -> Rule:
    """True or false."""
    return Rule("true or false", lambda v: type(v) is bool)


def numbers(count: int) -> Rule:
    """``count`` positive numbers."""
    each = number("", lambda v: 0.0 < v < float("inf"))
    return Rule(
        f"a list of {count} positive numbers",
        lambda v: type(v) is tuple and len(v) == count and all(map(each.holds, v)),
    )


def wholes(low: int) -> Rule:
    """Any number of whole numbers from ``low`` on."""
    each = whole(low)
    return Rule(
        f"a list of whole numbers, each {low} or more",
        lambda v: type(v) is tuple and all(map(each.holds, v)),
    )


def file() -> Rule:
    """The name of a file that exists."""
    return Rule("the name of an existing file", lambda v: type(v) is str and _is(Path.is_file, v))


def folder_or(*words: str) -> Rule:
    """One of ``words``, or the name of a folder that exists."""
    return Rule(
        ", ".join(map(repr, words)) + " or the folder of a run",
        lambda v: type(v) is str and (v in words or _is(Path.is_dir, v)),
    )


def point_group() -> Rule:
    """A name of a point group."""

    def holds(value: object) -> bool:
        try:
            return type(value) is str and bool(symmetry_name(value))
        except SettingsError:
            return False

    return Rule("a point group: Cn, Dn, T, O, I, I1, I2, I3 or I4", holds)


def _is(kind: Callable[[Path], bool], name: str) -> bool:
    try:
        return kind(Path(name))
    except (OSError, ValueError):  # longer than a name may be, or no name at all
        return False


def setting(default: T, rule: Rule) -> T:
    """A field of settings with its default and its rule."""
    return cast("T", field(default=default, metadata={"rule": rule}))


def check(settings: Any, where: str = "") -> None:
    """Hold every field of ``settings`` against its rule; lists become tuples, numpy's numbers plain.

    Raises `SettingsError` that names the setting, its value and what is expected.
    """
    for each in fields(settings):
        if "rule" in each.metadata:
            rule, value = each.metadata["rule"], _plain(getattr(settings, each.name))
            object.__setattr__(settings, each.name, value)
            if not rule.holds(value):
                raise wrong(where + each.name, value, rule.expected)


def _plain(value: object) -> object:
    """TOML has lists where settings have tuples; numpy has numbers of its own."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(value) if isinstance(value, list) else value


def wrong(name: str, value: object, expected: str) -> SettingsError:
    """The error of a setting with a wrong value."""
    return SettingsError(f"settings: {name} is {shown(value)}, expected {expected}.")


def shown(value: object) -> str:
    """A value as a message shows it."""
    try:
        text = repr(list(value) if type(value) is tuple else value)
    except ValueError:  # a whole number of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

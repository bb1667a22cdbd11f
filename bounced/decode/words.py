"""The word lists of words.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

from bounced.automaton import Alternatives

_BOOK: Final = Path(__file__).with_name("words.toml")


@cache
def _lists() -> dict[str, list[str]]:
    table: dict[str, list[str]] = tomllib.loads(_BOOK.read_text("utf-8"))
    return table


def entries(name: str) -> list[str]:
    """A list as it stands in the book."""
    return _lists()[name]


def alternatives(name: str) -> str:
    """A list as one group of alternatives, for use inside a larger pattern."""
    return "(?:" + "|".join(entries(name)) + ")"


@cache
def pattern(name: str, *, begins: str = "") -> Alternatives:
    """A list as alternatives of its own, behind what every entry begins with."""
    return Alternatives(_lists()[name], begins=begins)


def names() -> tuple[str, ...]:
    return tuple(_lists())

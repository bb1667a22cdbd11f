"""The word lists of words.toml, each compiled once to one pattern."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

_BOOK = Path(__file__).with_name("words.toml")


@cache
def _lists() -> dict[str, list[str]]:
    table: dict[str, list[str]] = tomllib.loads(_BOOK.read_text("utf-8"))
    return table


def alternatives(name: str) -> str:
    """A list as one group of alternatives, for use inside a larger pattern."""
    return "(?:" + "|".join(_lists()[name]) + ")"


@cache
def pattern(name: str, *, begins: str = "") -> re.Pattern[str]:
    """A list as a pattern of its own, behind what every entry begins with."""
    return re.compile(begins + alternatives(name), re.IGNORECASE | re.MULTILINE)


def names() -> tuple[str, ...]:
    return tuple(_lists())

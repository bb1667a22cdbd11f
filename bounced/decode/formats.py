"""Dialects known by name: entries of formats.toml, read by one machine."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bounced.automaton import Alternatives

if TYPE_CHECKING:
    from bounced.message import Message

_BOOK = Path(__file__).with_name("formats.toml")
_KEYS = frozenset({"name", "when", "begins", "recipient"})


@dataclass(frozen=True, slots=True)
class Format:
    """A described dialect; see the head of formats.toml for what the fields mean."""

    name: str
    when: tuple[tuple[str, re.Pattern[str]], ...] = ()
    begins: Alternatives | None = None
    recipient: re.Pattern[str] | None = None


def recognise(message: Message, notice: str) -> Format | None:
    """The first dialect that fits, or None."""
    says = _beginnings().asked(notice[:20_000])
    for number, form in enumerate(formats()):
        if (form.begins is None or says(number)) and all(
            form.name in _known(header, message.header(header)) for header, _ in form.when
        ):
            return form
    return None


def _known(header: str, value: str) -> frozenset[str]:
    # a sender or the name of a program is short, and seen with every mail
    return (_known_by if len(value) <= 200 else _known_by.__wrapped__)(header, value)


@lru_cache(1_024)
def _known_by(header: str, value: str) -> frozenset[str]:
    """The dialects whose pattern for that header fits its value."""
    return frozenset(
        form.name
        for form in formats()
        for name, pattern in form.when
        if name == header and pattern.search(value)
    )


@cache
def _beginnings() -> Alternatives:
    """What notices of each dialect begin with, to be looked for at once."""
    nothing = r"\b\B"  # a dialect known by its headers has no words of its own
    return Alternatives(
        [form.begins.whole.pattern if form.begins else nothing for form in formats()]
    )


@cache
def formats() -> tuple[Format, ...]:
    table = tomllib.loads(_BOOK.read_text("utf-8"))
    return tuple(_format(entry) for entry in table["format"])


def _format(entry: dict[str, object]) -> Format:
    if unknown := entry.keys() - _KEYS:
        raise ValueError(f"formats.toml: {entry.get('name')!r} has unknown keys {sorted(unknown)}")
    when = entry.get("when", {})
    assert isinstance(when, dict)  # noqa: S101 - TOML gives a table where the book is right
    return Format(
        name=str(entry["name"]),
        when=tuple((header, _pattern(str(text))) for header, text in when.items()),
        begins=Alternatives([str(entry["begins"])]) if "begins" in entry else None,
        recipient=_pattern(str(entry["recipient"])) if "recipient" in entry else None,
    )


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.MULTILINE)

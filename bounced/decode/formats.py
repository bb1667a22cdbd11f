"""Dialects known by name: entries of formats.toml, read by one machine."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bounced.automaton import Alternatives

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bounced.message import Message

_BOOK: Final = Path(__file__).with_name("formats.toml")
_KEYS: Final = frozenset({"name", "when", "begins", "recipient", "first_answer_for_all"})


@dataclass(frozen=True, slots=True)
class Format:
    """A described dialect; see the head of formats.toml for what the fields mean."""

    name: str
    when: tuple[tuple[str, re.Pattern[str]], ...] = ()
    begins: Alternatives | None = None
    recipient: re.Pattern[str] | None = None
    first_answer_for_all: bool = False


def recognise(message: Message, begun: Iterable[int]) -> Format | None:
    """The first dialect that fits, or None; `begun` are the places of those in `beginnings()` with
    whose words the notice begins, lowest first.
    """
    forms, (of_words, others) = formats(), _evidence()
    known: dict[str, frozenset[str]] = {}
    for header in _signatures():
        value = message.header(header)
        if value and (names := _known(header, value)):
            known[header] = names
    first = len(forms)
    for place in begun:
        if _signed(forms[of_words[place]], known):
            first = of_words[place]
            break
    if known:
        silent = (number for number in others if _signed(forms[number], known))
        first = min(first, next(silent, first))
    return forms[first] if first < len(forms) else None


@cache
def _signatures() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """The headers by which dialects are known: the names of these, and how the header looks."""
    signatures: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for form in formats():
        for header, pattern in form.when:
            signatures.setdefault(header, []).append((form.name, pattern))
    return signatures


def _signed(form: Format, known: Mapping[str, frozenset[str]]) -> bool:
    """Whether the headers are the dialect's; `known` are those that each header may be of."""
    for header, _ in form.when:  # noqa: SIM110 - most have none, or one
        if form.name not in known.get(header, ()):
            return False
    return True


def _known(header: str, value: str) -> frozenset[str]:
    # a sender or the name of a program is short, and seen with every mail
    return (_known_by if len(value) <= 200 else _known_by.__wrapped__)(header, value)


@lru_cache(1_024)
def _known_by(header: str, value: str) -> frozenset[str]:
    """The dialects whose pattern for that header fits its value."""
    return frozenset([name for name, pattern in _signatures()[header] if pattern.search(value)])


@cache
def beginnings() -> Alternatives:
    """What notices begin with, of those dialects that have words of their own."""
    return Alternatives([form.begins.whole.pattern for form in formats() if form.begins])


@cache
def _evidence() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The places of these dialects in the book, and of those that have no words of their own."""
    forms = list(enumerate(formats()))
    begun = tuple(number for number, form in forms if form.begins)
    return begun, tuple(number for number, form in forms if not form.begins)


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
        first_answer_for_all=bool(entry.get("first_answer_for_all", False)),
    )


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.MULTILINE)

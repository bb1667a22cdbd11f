"""What replies have in common that differ only in names and numbers, and a rule made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bounced.rules.books import Level, RuleError, names_in, own_rules, vocabulary, written_rules
from bounced.rules.folding import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bounced.model import Outcome, Reason

# What stands in a template where a text had a number or an id.
NUMBER: Final = "#"

_CODES: Final = re.compile(r" (?:[2-5]\d\d )?(?:[245]\.\d{1,3}\.\d{1,3} )?")
_NUMBERS: Final = re.compile(r"#(?: #)+")
_ADDRESS: Final = re.compile(r"[^\s<>@\"'(),;:]{1,64}@[^\s<>@\"'(),;:]{1,255}")
_SLUG: Final = re.compile(r"[^a-z0-9]+")

# How many words of a template a phrase is made of: enough to be its own, few enough to fit others.
_WORDS: Final = 12


def template(text: str, *addresses: str) -> str:
    """The text without what is different each time: addresses, hosts, links, ids and numbers.

    Reply code and enhanced status stay. `addresses` are those whose names to take out as well.
    """
    spelt = words(text, names=names_in(*addresses), vocabulary=vocabulary())
    codes = _CODES.match(spelt)
    begin = codes.end() if codes else 0
    rest = " ".join(NUMBER if _number(word) else word for word in spelt[begin:].split())
    return f"{spelt[:begin]}{_NUMBERS.sub(NUMBER, rest)}".strip()


def _number(word: str) -> bool:
    return any(letter.isdecimal() for letter in word)


def phrase(of: str) -> str:
    """The words of a template as a rule's `says`; empty where it has none."""
    codes = _CODES.match(f" {of} ")
    told = f" {of} "[codes.end() if codes else 0 :].split()
    pieces: list[list[str]] = [[]]
    for word in told[: 2 * _WORDS]:
        if word == NUMBER or word.startswith("@"):
            pieces.append([])
        elif sum(map(len, pieces)) < _WORDS:
            pieces[-1].append(word)
    return " … ".join(" ".join(piece) for piece in pieces if piece)


def example(text: str) -> str:
    """A reply fit for a book: nobody's address in it."""
    return " ".join(_ADDRESS.sub("someone@example.com", text).split())


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule that an operator is about to write."""

    id: str
    says: str
    outcome: Outcome
    reason: Reason
    because: str
    source: str
    example: str

    def toml(self) -> str:
        """The rule as it stands in a book."""
        return (
            "[[rule]]\n"
            f"id = {_quoted(self.id)}\n"
            f"says = [{_quoted(self.says)}]\n"
            f"outcome = {_quoted(self.outcome.value)}\n"
            f"reason = {_quoted(self.reason.value)}\n"
            f"because = {_quoted(self.because)}\n"
            f"source = {_quoted(self.source)}\n"
            f"examples = [{_quoted(self.example)}]\n"
        )


def _quoted(text: str) -> str:
    """A TOML basic string (TOML 1.0, Strings): quotes and all control characters escaped."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\u{ord(c[0]):04x}", text) + '"'


def fresh_id(says: str, taken: Sequence[str]) -> str:
    """A stable, unique id made of the words: `own/no-such-box`, with a number if it is taken."""
    slug = "-".join(_SLUG.sub(" ", says).split()[:5]) or "rule"
    candidates = [f"own/{slug}", *(f"own/{slug}-{count}" for count in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)


def ids(pages: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Every id in use: in the operator's pages and in our own books. Raises RuleError."""
    return tuple(rule.id for rule in (*written_rules(pages), *own_rules()))


def proven(pages: Sequence[tuple[str, str]], new: str) -> tuple[str, ...]:
    """Check the operator's pages with the rule `new` in them.

    Raises RuleError where they cannot be used or one of his rules loses its example. Returns the
    examples of other rules that the new one would win.
    """
    from bounced.rules import lapses  # noqa: PLC0415 - the machine reads the books, not this page

    rules = (*written_rules(pages), *own_rules())
    found = list(lapses(rules))
    lost = [
        f"{lapse.rule.book}: rule {lapse.rule.id!r} does not win its example {lapse.text!r}"
        for lapse in found
        if lapse.rule.level is Level.OPERATOR and lapse.wanted
    ]
    if lost:
        raise RuleError("\n".join(lost))
    return tuple(lapse.text for lapse in found if lapse.winner and lapse.winner.id == new)

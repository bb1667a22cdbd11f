"""Which rules say something that stands in a text, without trying every phrase of every rule."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bounced.rules.books import Phrase, Rule

# How many letters of a phrase are looked up at once.
_KEY = 12


class PhraseIndex:
    """Phrases by the letters they begin with; what is found is what the plain loop finds.

    A Latin phrase begins where a word begins, so only those whose first letters stand at the
    beginning of some word can stand in a text. Others (Chinese, Japanese) are tried one by one.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._by_key: dict[str, list[tuple[Rule, Phrase]]] = {}
        self._foreign: list[tuple[Rule, Phrase]] = []
        for rule in rules:
            for phrase in rule.says:
                first = phrase.pieces[0]
                if first.startswith(" "):
                    self._by_key.setdefault(first[1 : _KEY + 1], []).append((rule, phrase))
                else:
                    self._foreign.append((rule, phrase))
        self._lengths = sorted({len(key) for key in self._by_key})

    def speaking(self, words: str) -> frozenset[Rule]:
        """The rules of which at least one phrase stands in the (masked, spelt) words."""
        starts = [at + 1 for at, mark in enumerate(words) if mark == " "]
        keys = {words[at : at + length] for at in starts for length in self._lengths}
        found: set[Rule] = set()
        for key in keys & self._by_key.keys():
            for rule, phrase in self._by_key[key]:
                if rule not in found and phrase.in_words(words):
                    found.add(rule)
        for rule, phrase in () if words.isascii() else self._foreign:
            if rule not in found and phrase.in_words(words):
                found.add(rule)
        return frozenset(found)


@lru_cache(maxsize=8)
def index_of(rules: tuple[Rule, ...]) -> PhraseIndex:
    """The index of these rules, made once."""
    return PhraseIndex(rules)

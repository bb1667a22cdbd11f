"""Which rules say something that stands in a text, without trying every phrase of every rule."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from bounced.rules.books import Phrase, Rule

Owner = TypeVar("Owner", bound="Hashable")

# How many letters of a phrase are looked up at once.
_KEY = 12


class PhraseIndex(Generic[Owner]):
    """Phrases by the letters they begin with; what is found is what the plain loop finds.

    A Latin phrase begins where a word begins, so only those whose first letters stand at the
    beginning of some word can stand in a text. Others (Chinese, Japanese) are tried one by one.
    """

    def __init__(self, phrases: Iterable[tuple[Owner, Phrase]]) -> None:
        self._by_key: dict[str, list[tuple[Owner, Phrase]]] = {}
        self._foreign: list[tuple[Owner, Phrase]] = []
        for owner, phrase in phrases:
            first = phrase.pieces[0]
            if first.startswith(" "):
                self._by_key.setdefault(first[1 : _KEY + 1], []).append((owner, phrase))
            else:
                self._foreign.append((owner, phrase))
        self._lengths = sorted({len(key) for key in self._by_key})

    def standing(self, words: str) -> set[Owner]:
        """Whose phrase, at least one of them, stands in the (masked, spelt) words."""
        starts = [at + 1 for at, mark in enumerate(words) if mark == " "]
        keys = {words[at : at + length] for at in starts for length in self._lengths}
        found: set[Owner] = set()
        for key in keys & self._by_key.keys():
            for owner, phrase in self._by_key[key]:
                if owner not in found and phrase.in_words(words):
                    found.add(owner)
        for owner, phrase in () if words.isascii() else self._foreign:
            if owner not in found and phrase.in_words(words):
                found.add(owner)
        return found


class RuleIndex:
    """The rules that can fit a text, in their order, without trying them all."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._phrases = PhraseIndex((rule, said) for rule in rules for said in rule.says)
        self._silent = [(place, rule) for place, rule in enumerate(rules) if not rule.says]
        self._places = {rule: place for place, rule in enumerate(rules)}

    def speaking(self, words: str) -> frozenset[Rule]:
        """The rules of which at least one phrase stands in the (masked, spelt) words."""
        return frozenset(self._phrases.standing(words))

    def candidates(self, words: str) -> list[Rule]:
        """Those and the rules that need no phrase, in the order of the books."""
        found = [(self._places[rule], rule) for rule in self._phrases.standing(words)]
        return [rule for _, rule in sorted((*found, *self._silent), key=itemgetter(0))]


@lru_cache(maxsize=8)
def index_of(rules: tuple[Rule, ...]) -> RuleIndex:
    """The index of these rules, made once."""
    return RuleIndex(rules)

"""Which rules say something that stands in a text, without trying every phrase of every rule."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from bounced.automaton import Automaton
from bounced.rules.books import contraindications, speaks_elsewhere

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from bounced.model import EnhancedStatus
    from bounced.rules.books import Phrase, Rule

Owner = TypeVar("Owner", bound="Hashable")

# How many different texts are remembered: what servers say is the same over and over.
_REMEMBERED: Final = 4_096


class PhraseIndex(Generic[Owner]):
    """Phrases by their pieces; what is found is what the plain loop over the phrases finds.

    `plain` does without the automaton, for comparison.
    """

    def __init__(self, phrases: Iterable[tuple[Owner, Phrase]], *, plain: bool = False) -> None:
        whole: defaultdict[str, list[Owner]] = defaultdict(list)
        begun: defaultdict[str, list[tuple[Owner, Phrase]]] = defaultdict(list)
        for owner, phrase in phrases:
            first, *rest = phrase.pieces
            if rest:
                begun[first].append((owner, phrase))
            else:
                whole[first].append(owner)
        pieces = list(dict.fromkeys((*whole, *begun)))
        self._whole: Final = [tuple(whole.get(piece, ())) for piece in pieces]
        self._begun: Final = [tuple(begun.get(piece, ())) for piece in pieces]
        self._automaton: Final = Automaton(pieces, plain=plain)

    def standing(self, words: str) -> set[Owner]:
        """Whose phrase, at least one of them, stands in the (masked, spelt) words."""
        found: set[Owner] = set()
        for number in {hit[0] for hit in self._automaton.find(words)}:
            found.update(self._whole[number])
            for owner, phrase in self._begun[number]:
                if owner not in found and phrase.in_words(words):
                    found.add(owner)
        return found


@dataclass(frozen=True, slots=True)
class Heard:
    """What stands in the words of a reply.

    `speaking` are the rules that say something in it, in the order of the books, and `excepted`
    those whose `unless` does; `contraindicated` and `elsewhere` are the lists of that book.
    """

    speaking: tuple[Rule, ...]
    excepted: frozenset[Rule]
    contraindicated: bool
    elsewhere: bool


class RuleIndex:
    """The rules that can fit a reply, in their order, without trying them all."""

    def __init__(self, rules: tuple[Rule, ...], *, plain: bool = False) -> None:
        self.rules: Final = rules
        self._silent: Final = tuple(rule for rule in rules if not rule.says)
        self._places: Final = {rule: place for place, rule in enumerate(rules)}
        says = ((("says", rule), said) for rule in rules for said in rule.says)
        unless = ((("unless", rule), said) for rule in rules for said in rule.unless)
        marks = ("says", "elsewhere", "aside")
        book = (((mark, None), said) for mark in marks for said in contraindications(mark))
        self._phrases: PhraseIndex[tuple[str, Rule | None]] = PhraseIndex(
            (*says, *unless, *book), plain=plain
        )
        self.heard: Final = lru_cache(_REMEMBERED)(self._heard)
        self._by_codes: Final = lru_cache(_REMEMBERED)(self._codes_fit)

    def _heard(self, words: str) -> Heard:
        """What stands in the (masked, spelt) words, by one pass over them."""
        found = self._phrases.standing(words)
        speaking = [rule for mark, rule in found if rule is not None and mark == "says"]
        excepted = frozenset(rule for mark, rule in found if rule is not None and mark == "unless")
        aside = ("aside", None) in found
        return Heard(
            tuple(sorted(speaking, key=self._places.__getitem__)),
            excepted,
            ("says", None) in found,
            ("elsewhere", None) in found and (not aside or speaks_elsewhere(words)),
        )

    def candidates(
        self, heard: Heard, code: int | None, status: EnhancedStatus | None, command: str | None
    ) -> list[Rule]:
        """The rules that speak in a reply, and those without phrases that its codes fit."""
        fitting = self._by_codes(code, status, command)
        return sorted((*heard.speaking, *fitting), key=self._places.__getitem__)

    def _codes_fit(
        self, code: int | None, status: EnhancedStatus | None, command: str | None
    ) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._silent if rule.fits_codes(code, status, command))


_indexes: Final[list[RuleIndex]] = []
_MOST_INDEXES: Final = 8


def index_of(rules: tuple[Rule, ...]) -> RuleIndex:
    """The index of these rules, made once. Looked up by identity: hashing them all takes longer."""
    for index in _indexes:
        if index.rules is rules:
            return index
    del _indexes[_MOST_INDEXES - 1 :]
    _indexes.insert(0, RuleIndex(rules))
    return _indexes[0]

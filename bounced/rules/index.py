"""Which rules can fit a reply, without trying every phrase and every code of every rule.

Sets of rules are bits of one number here, the first rule of the books the lowest: what each kind
of narrowing leaves is worked out by itself, remembered, and put together by `&`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Final

from bounced.automaton import Automaton
from bounced.rules.books import contraindications, speaks_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bounced.model import EnhancedStatus
    from bounced.rules.books import Phrase, Rule, StatusMask

    # reply code, enhanced status, and the command that was answered
    Codes = tuple[int | None, EnhancedStatus | None, str | None]

# The lists of contraindications.toml, in the order of their bits.
_LISTS: Final = ("says", "elsewhere", "aside")

# How many different texts are remembered: what servers say is the same over and over.
_REMEMBERED: Final = 4_096


class PhraseIndex:
    """Phrases by their pieces; what is found is what the plain loop over the phrases finds.

    Whose a phrase is, is told by a bit. `plain` does without the automaton, for comparison.
    """

    def __init__(self, phrases: Iterable[tuple[int, Phrase]], *, plain: bool = False) -> None:
        numbers: dict[str, int] = {}
        whole: defaultdict[int, int] = defaultdict(int)
        several: list[tuple[int, Phrase, frozenset[int]]] = []
        for owner, phrase in phrases:
            pieces = [numbers.setdefault(piece, len(numbers)) for piece in phrase.pieces]
            if len(pieces) == 1:
                whole[pieces[0]] |= owner
            else:
                several.append((owner, phrase, frozenset(pieces)))
        spelt, use = tuple(numbers), Counter(one for _, _, needed in several for one in needed)
        begun: defaultdict[int, list[tuple[int, Phrase, frozenset[int]]]] = defaultdict(list)
        for one in several:
            # by the piece that fewest share: what many say (`user`, `not`) stands everywhere
            begun[min(one[2], key=lambda n: (use[n], -len(spelt[n]), n))].append(one)
        self._whole: Final = dict(whole)
        self._begun: Final = dict(begun)
        self._automaton: Final = Automaton(numbers, plain=plain)

    def standing(self, words: str) -> int:
        """Whose phrase, at least one of them, stands in the (masked, spelt) words: their bits."""
        found = 0
        pieces = {hit[0] for hit in self._automaton.find(words)}
        whole, begun = self._whole, self._begun
        for number in pieces:
            if number in whole:
                found |= whole[number]
            for owner, phrase, needed in begun.get(number, ()):
                if needed <= pieces and not found & owner and phrase.in_words(words):
                    found |= owner
        return found


@dataclass(frozen=True, slots=True)
class Heard:
    """What stands in the words of a reply.

    `speaking` are the rules (as bits) that say something in it, `excepted` those whose `unless`
    does; `contraindicated` and `elsewhere` are the lists of that book.
    """

    speaking: int
    excepted: int
    contraindicated: bool
    elsewhere: bool


class RuleIndex:
    """The rules that can fit a reply, in their order, without trying them all."""

    def __init__(self, rules: tuple[Rule, ...], *, plain: bool = False) -> None:
        self.rules: Final = rules
        self._silent: Final = self._bits(lambda rule: not rule.says)
        # bits for what rules say, then for their exceptions, then for the lists of the other book
        many = len(rules)
        says = ((1 << at, said) for at, rule in enumerate(rules) for said in rule.says)
        unless = ((1 << many + at, said) for at, rule in enumerate(rules) for said in rule.unless)
        book = (
            (1 << 2 * many + at, s) for at, key in enumerate(_LISTS) for s in contraindications(key)
        )
        self._phrases: Final = PhraseIndex((*says, *unless, *book), plain=plain)
        self._anywhere: Final = self._bits(lambda rule: not rule.provider)
        self._domains: Final[dict[str, int]] = {}
        for at, rule in enumerate(rules):
            for domain in rule.provider:
                self._domains[domain] = self._domains.get(domain, 0) | 1 << at
        self._any_text: Final = self._bits(lambda rule: not rule.mentions)
        named: defaultdict[str, int] = defaultdict(int)
        for at, rule in enumerate(rules):
            for name in rule.mentions:
                named[name] |= 1 << at
        self._naming: Final = tuple(named.values())
        self._names: Final = Automaton(named, plain=plain)
        self._any_code: Final = self._bits(lambda rule: not rule.code)
        self._codes: Final[defaultdict[range, int]] = defaultdict(int)
        self._any_status: Final = self._bits(lambda rule: not rule.status)
        self._statuses: Final[defaultdict[StatusMask, int]] = defaultdict(int)
        for at, rule in enumerate(rules):
            for codes in rule.code:
                self._codes[codes] |= 1 << at
            for mask in rule.status:
                self._statuses[mask] |= 1 << at
        self._any_command: Final = self._without(lambda rule: rule.command)
        self.heard: Final = lru_cache(_REMEMBERED)(self._heard)
        self._with_code: Final = lru_cache(_REMEMBERED)(self._fit_code)
        self._with_status: Final = lru_cache(_REMEMBERED)(self._fit_status)
        self._with_command: Final = lru_cache(_REMEMBERED)(self._fit_command)
        self._at: Final = lru_cache(_REMEMBERED)(self._at_host)

    def _bits(self, fits: Callable[[Rule], bool]) -> int:
        return sum(1 << place for place, rule in enumerate(self.rules) if fits(rule))

    def _heard(self, words: str) -> Heard:
        """What stands in the (masked, spelt) words, by one pass over them."""
        found = self._phrases.standing(words)
        many = len(self.rules)
        every = (1 << many) - 1
        contraindicated, elsewhere, aside = (bool(found >> 2 * many + at & 1) for at in range(3))
        return Heard(
            found & every,
            found >> many & every,
            contraindicated,
            elsewhere and (not aside or speaks_elsewhere(words)),
        )

    def _fit_code(self, code: int | None) -> int:
        if code is None:
            return self._any_code
        fitting = (bits for codes, bits in self._codes.items() if code in codes)
        return reduce(or_, fitting, self._any_code)

    def _fit_status(self, status: EnhancedStatus | None) -> int:
        if status is None:
            return self._any_status
        fitting = (bits for mask, bits in self._statuses.items() if mask.fits(status))
        return reduce(or_, fitting, self._any_status)

    def _fit_command(self, command: str | None) -> int:
        bits, narrowed = self._any_command
        return bits | sum(bit for bit, rule in narrowed if command in rule.command)

    def _without(self, narrowing: Callable[[Rule], object]) -> tuple[int, list[tuple[int, Rule]]]:
        """The rules that are not narrowed so, and those that are with their bits."""
        narrowed = [(1 << at, rule) for at, rule in enumerate(self.rules) if narrowing(rule)]
        return self._bits(lambda rule: not narrowing(rule)), narrowed

    def _at_hosts(self, hosts: Iterable[str]) -> int:
        """The rules for all hosts, and those of the domains in which one of these is."""
        found = self._anywhere
        for host in hosts:
            found |= self._at(host)
        return found

    def _at_host(self, host: str) -> int:
        """The rules of the domains in which a host is."""
        found, domain = 0, host
        while domain:
            found |= self._domains.get(domain, 0)
            domain = domain.partition(".")[2]
        return found

    def _mentioned(self, said: str) -> int:
        """The rules that need no name in the folded text, and those whose names stand there."""
        found = self._any_text
        for number, _, _ in self._names.find(said):
            found |= self._naming[number]
        return found

    def candidates(
        self, heard: Heard, said: str, codes: Codes, hosts: Iterable[str]
    ) -> Iterator[Rule]:
        """The rules that fit what was heard, said, codes, command and hosts; whether patterns
        of theirs fit, and whether they may be hard, is not asked.
        """
        code, status, command = codes
        fitting = (heard.speaking | self._silent) & ~heard.excepted
        fitting &= self._with_code(code) & self._with_status(status) & self._with_command(command)
        return self.in_order(fitting & self._at_hosts(hosts) & self._mentioned(said))

    def in_order(self, bits: int) -> Iterator[Rule]:
        """The rules that these bits are, in the order of the books."""
        while bits:
            lowest = bits & -bits
            yield self.rules[lowest.bit_length() - 1]
            bits ^= lowest


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

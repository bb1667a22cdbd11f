"""Many texts or expressions looked for in a text at once. The only door to ahocorasick_rs.

One pass of one automaton (Aho and Corasick, 1975) over a text costs the same for five needles and
for five thousand. Where the library is not installed, each needle is looked for by itself: slower,
with the same answer, which is how the tests know that it is right.

Regular expressions gain as much. As one pattern a list would try each alternative at every letter.
So the letters that an alternative cannot do without are looked for first, those of all
alternatives in one pass, and only where they stand the alternative itself.
"""

from __future__ import annotations

import importlib
import re
from functools import cache, cached_property, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Hit = tuple[int, int, int]


@cache
def _library() -> Any:
    """The library, or None where there is no wheel for the machine."""
    try:
        return importlib.import_module("ahocorasick_rs")
    except ImportError:
        return None


class Waiting:
    """A pattern that compiles itself when it is first used (see `later`)."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern: Final = pattern
        self.flags: Final = flags

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(name)
        compiled = re.compile(self.pattern, self.flags)
        for method in _METHODS:
            setattr(self, method, getattr(compiled, method))
        return self.__dict__[name]


_METHODS: Final = ("search", "match", "fullmatch", "finditer", "findall", "sub", "split")


def later(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern of which only the methods are used, compiled no sooner than that.

    With the letters of all languages in them some take as long as a program may take to start.
    """
    return cast("re.Pattern[str]", Waiting(pattern, flags))


class Automaton:
    """Needles, in an order that gives each its number; none of them empty."""

    def __init__(self, needles: Iterable[str], *, plain: bool = False) -> None:
        self._needles: Final = tuple(needles)
        library = None if plain or not self._needles else _library()
        self._quick: Final = library.AhoCorasick(self._needles) if library else None

    def find(self, text: str) -> list[Hit]:
        """Every place where a needle stands: its number, begin and end; in no certain order."""
        if self._quick is not None:
            found: list[Hit]
            try:
                found = self._quick.find_matches_as_indexes(text, overlapping=True)
            except UnicodeEncodeError:  # halves of characters, which UTF-7 and UTF-16 may leave
                whole = _HALVES.sub("\ufffd", text)
                found = self._quick.find_matches_as_indexes(whole, overlapping=True)
            return found
        return [
            (number, at, at + len(needle))
            for number, needle in enumerate(self._needles)
            if needle in text
            for at in _places(needle, text)
        ]


_HALVES: Final = re.compile("[\ud800-\udfff]")


def _places(needle: str, text: str) -> Iterable[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


_FLAGS: Final = re.IGNORECASE | re.MULTILINE

# Letters, and how far before them the least and at most what needs them begins.
_Needed = tuple[str, int, int]
# Beginnings farther away are searched for, not tried one by one.
_FARTHEST: Final = 8
# Subjects and lines of boilerplate are asked about more than once, and come with every mail.
_SHORT: Final = 200
_REMEMBERED: Final = 256
# With so many places to try, the one pattern is as quick.
_MOST_PLACES: Final = 200
_MOST_SOUGHT: Final = 4


class Alternatives:
    """Regular expressions as alternatives of each other, without regard to case, `^` at any line.

    `begins` is what stands before each of them; if it begins with `^`, it and the letters that
    they need must stand in one line.
    """

    def __init__(self, entries: Sequence[str], *, begins: str = "") -> None:
        self._begins: Final = begins
        self._entries: Final = tuple(entries)
        self._anchored: Final = begins.startswith("^")
        self._compiled: Final[dict[int, re.Pattern[str]]] = {}
        needing: dict[str, list[tuple[int, int, int]]] = {}
        self._always: Final[list[int]] = []
        for number, entry in enumerate(entries):
            needed = _needed(entry if self._anchored else f"{begins}(?:{entry})")
            if not needed:
                self._always.append(number)
            for letters, least, most in needed:
                needing.setdefault(letters, []).append((number, least, most))
        self._needing: Final = tuple(needing.values())
        self._automaton: Final = Automaton(needing)
        self._remembered: Final = lru_cache(_REMEMBERED)(self._search)
        self.match: Final = lru_cache(_REMEMBERED)(self._match)

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """All of it as one pattern."""
        return re.compile(f"{self._begins}(?:{'|'.join(self._entries)})", _FLAGS)

    def search(self, text: str) -> re.Match[str] | None:
        """The first match."""
        return self._remembered(text) if len(text) <= _SHORT else self._search(text)

    def _search(self, text: str) -> re.Match[str] | None:
        low = _lowered(text)
        if low is None:
            return self.whole.search(text)
        hits = self._automaton.find(low)
        if not hits and not self._always:
            return None
        return self._first(text, hits)

    def before(self, text: str) -> str:
        """The text up to the first match; all of it where there is none."""
        found = self.search(text)
        return text[: found.start()] if found else text

    def _match(self, text: str) -> re.Match[str] | None:
        return self.whole.match(text)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        return self.whole.fullmatch(text)

    def lines(self, text: str) -> Iterator[int]:
        """Where each line begins, from top to bottom, that begins with an alternative."""
        assert self._anchored  # noqa: S101 - a mistake of ours
        low = _lowered(text)
        if low is None or self._always:
            return (found.start() for found in self.whole.finditer(text))
        likely = {
            (text.rfind("\n", 0, begin) + 1, number)
            for letters, begin, _ in self._automaton.find(low)
            for number, _, _ in self._needing[letters]
        }
        found = (at for at, number in sorted(likely) if self._pattern(number).match(text, at))
        return (at for at, _ in groupby(found))

    def standing(self, text: str) -> Iterator[int]:
        """The places in the list of those alternatives that match in the text, lowest first."""
        low = _lowered(text)
        hits = self._automaton.find(low) if low is not None else []
        sought, places = self._likely(hits)
        if low is None:
            sought.update(range(len(self._entries)))
        starts: dict[int, list[int]] = {number: [] for number in sought}
        for start, number in places:
            if start >= 0:
                starts.setdefault(number, []).append(start)
        for number in sorted(starts):
            pattern = self._pattern(number)
            if number in sought:
                if pattern.search(text):
                    yield number
            elif any(pattern.match(text, start) for start in starts[number]):
                yield number

    def _likely(self, hits: Sequence[Hit]) -> tuple[set[int], set[tuple[int, int]]]:
        """Alternatives to search for, and places (begin, alternative) where one can match."""
        sought = set(self._always)
        places: set[tuple[int, int]] = set()
        for letters, begin, _ in hits:
            for number, least, most in self._needing[letters]:
                if most > _FARTHEST or self._anchored:
                    sought.add(number)
                elif least == most:
                    places.add((begin - least, number))
                else:
                    places.update((begin - back, number) for back in range(least, most + 1))
        return sought, places

    def _first(self, text: str, hits: Sequence[Hit]) -> re.Match[str] | None:
        sought, places = self._likely(hits)
        if len(places) > _MOST_PLACES or len(sought) > _MOST_SOUGHT:
            return self.whole.search(text)
        tried = (
            (start, number, self._pattern(number).match(text, start))
            for start, number in sorted(places)
            if start >= 0
        )
        best = next((one for one in tried if one[2]), None)
        for number in sought:
            found = self._pattern(number).search(text)
            if found and (best is None or (found.start(), number) < best[:2]):
                best = (found.start(), number, found)
        return best[2] if best else None

    def _pattern(self, number: int) -> re.Pattern[str]:
        if number not in self._compiled:
            source = f"{self._begins}(?:{self._entries[number]})"
            self._compiled[number] = re.compile(source, _FLAGS)
        return self._compiled[number]


def _lowered(text: str) -> str | None:
    """The text in lower case, letter for letter; None where that cannot be.

    Long s and dotless i, too, are equal to their kin where case does not count.
    """
    low = text.lower()
    if not low.isascii():
        low = low.replace("\u017f", "s").replace("\u0131", "i")
    return low if len(low) == len(text) else None


# --- what an expression cannot do without ---


def _needed(expression: str) -> list[_Needed]:
    """Letters (lower case) of which one at least stands in whatever the expression matches.

    Empty where it can do without any. Python's own parser takes the expression apart; a Python
    that has none we know is answered with "any", and everything is looked for everywhere.
    """
    try:
        parsed = importlib.import_module("re._parser").parse(expression, _FLAGS)
        return max(_ways(parsed, 0, 0), key=_worth, default=[])
    except (ImportError, AttributeError, TypeError, ValueError):
        return []


def _worth(way: list[_Needed]) -> tuple[bool, int, int]:
    near = all(most <= _FARTHEST for _, _, most in way)
    return near, min(8, *(len(letters) for letters, _, _ in way)), -len(way)


def _ways(parsed: Any, least: int, most: int) -> Iterator[list[_Needed]]:
    """Each way to say what a sequence of nodes needs, which begins so far behind the beginning."""
    run, begun = "", (least, most)
    for node in parsed:
        kind, value = str(node[0]), node[1]
        if kind == "LITERAL":
            begun = begun if run else (least, most)
            run += chr(value).lower()
        else:
            if run:
                yield [(run, *begun)]
            run = ""
            yield from _ways_inside(kind, value, least, most)
        width = type(parsed)(parsed.state, [node]).getwidth()
        least, most = least + width[0], min(most + width[1], 10_000)
    if run:
        yield [(run, *begun)]


def _ways_inside(kind: str, value: Any, least: int, most: int) -> Iterator[list[_Needed]]:
    if kind == "SUBPATTERN":
        yield from _ways(value[-1], least, most)
    elif kind.endswith("_REPEAT") and value[0] > 0:
        yield from _ways(value[2], least, most)
    elif kind == "BRANCH":
        each = [max(_ways(one, least, most), key=_worth, default=[]) for one in value[1]]
        if all(each):
            yield [needed for one in each for needed in one]

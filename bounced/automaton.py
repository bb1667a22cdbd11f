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
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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

    # there from the first use on
    search: Any
    match: Any
    fullmatch: Any
    finditer: Any
    findall: Any
    sub: Any
    split: Any

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern: Final = pattern
        self.flags: Final = flags

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(name)
        compiled = re.compile(self.pattern, self.flags)
        for method in _METHODS:
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)


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


_HALVES: Final = re.compile(r"[\ud800-\udfff]")


def _places(needle: str, text: str) -> Iterable[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


_FLAGS: Final = re.IGNORECASE | re.MULTILINE


class Needed(NamedTuple):
    """Letters (lower case), and how far before them what needs them begins: at the least, at most.

    Where `in_line`, it begins where their line does.
    """

    letters: str
    least: int
    most: int
    in_line: bool = False


# Instead of distances: where the line begins.
_LINE: Final = (-1,)
# Beginnings farther away are searched for, not tried one by one.
_FARTHEST: Final = 8
# Subjects and lines of boilerplate are asked about more than once, and come with every mail.
_SHORT: Final = 200
_REMEMBERED: Final = 256
# With so many places to try, the one pattern is as quick.
_MOST_PLACES: Final = 200
_MOST_SOUGHT: Final = 4


# An alternative by its number, and how far before its letters it can begin: `_LINE`, or nothing for
# anywhere.
Spot = tuple[int, tuple[int, ...]]
# Where letters stand, and the alternatives that need them.
Found = tuple[int, list[Spot]]


class Alternatives:
    """Regular expressions as alternatives of each other, without regard to case, `^` at any line.

    `begins` is what stands before each of them; if it begins with `^`, it and the letters that
    they need must stand in one line.
    """

    def __init__(self, entries: Sequence[str], *, begins: str = "") -> None:
        self._begins: Final = begins
        self._entries: Final = tuple(entries)
        self.anchored: Final = begins.startswith("^")
        self._compiled: Final[dict[int, re.Pattern[str]]] = {}
        # by their letters those that need these; and those of which none are known
        self.needing: Final[dict[str, list[Spot]]] = {}
        self.always: Final[list[int]] = []
        for number, entry in enumerate(entries):
            bare = self.anchored or not begins
            needed = _needed(entry if bare else f"{begins}(?:{entry})")
            if not needed:
                self.always.append(number)
            for one in needed:
                self.needing.setdefault(one.letters, []).append((number, self._backwards(one)))
        self._spots: Final = tuple(self.needing.values())
        self._whole: re.Pattern[str] | None = None
        self._automaton: Automaton | None = None
        self._remembered: Final = lru_cache(_REMEMBERED)(self._search)
        self.match: Final = lru_cache(_REMEMBERED)(self._match)

    def _backwards(self, needed: Needed) -> tuple[int, ...]:
        if self.anchored or needed.in_line:
            return _LINE
        near = needed.most <= _FARTHEST
        return tuple(range(needed.least, needed.most + 1)) if near else ()

    @property
    def whole(self) -> re.Pattern[str]:
        """All of it as one pattern."""
        if self._whole is None:
            self._whole = re.compile(f"{self._begins}(?:{'|'.join(self._entries)})", _FLAGS)
        return self._whole

    def search(self, text: str) -> re.Match[str] | None:
        """The first match."""
        return self._remembered(text) if len(text) <= _SHORT else self._search(text)

    def _search(self, text: str) -> re.Match[str] | None:
        low = _lowered(text)
        if self._automaton is None:
            self._automaton = Automaton(self.needing)
        found = self._automaton.find(low)
        if not found and not self.always:
            return None
        sought, places = _likely(self, self._hits(found), low, 0, len(low))
        return self._first(text, sought, places) if sought or places else None

    def _hits(self, found: list[Hit]) -> list[Found]:
        return [(begin, self._spots[needle]) for needle, begin, _ in found]

    def before(self, text: str) -> str:
        """The text up to the first match; all of it where there is none."""
        found = self.search(text)
        return text[: found.start()] if found else text

    def _match(self, text: str) -> re.Match[str] | None:
        return self.whole.match(text)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        return self.whole.fullmatch(text)

    def _first(
        self, text: str, sought: set[int], places: set[tuple[int, int]]
    ) -> re.Match[str] | None:
        if len(places) > _MOST_PLACES or len(sought) > _MOST_SOUGHT:
            return self.whole.search(text)
        tried = (
            (start, number, self.pattern(number).match(text, start))
            for start, number in sorted(places)
        )
        best = next((one for one in tried if one[2]), None)
        for number in sought:
            found = self.pattern(number).search(text)
            if found and (best is None or (found.start(), number) < best[:2]):
                best = (found.start(), number, found)
        return best[2] if best else None

    def pattern(self, number: int) -> re.Pattern[str]:
        """One of the alternatives, with what stands before each."""
        found = self._compiled.get(number)
        if found is None:
            source = f"{self._begins}(?:{self._entries[number]})"
            found = self._compiled[number] = re.compile(source, _FLAGS)
        return found


def _likely(
    one: Alternatives, hits: Sequence[Found], low: str, begin: int, end: int
) -> tuple[set[int], set[tuple[int, int]]]:
    """Alternatives to search for, and places (begin, alternative) where one can match."""
    sought = set(one.always)
    places: set[tuple[int, int]] = set()
    line = seen = begin  # the beginning of a line, and how far it is known to go
    for at, spots in hits:
        if begin <= at < end:
            for number, backwards in spots:
                if backwards == _LINE:
                    if at < seen:
                        line = seen = begin
                    line, seen = low.rfind("\n", seen, at) + 1 or line, at
                    places.add((line, number))
                elif not backwards:
                    sought.add(number)
                else:
                    places.update([(at - b, number) for b in backwards if b <= at - begin])
    return sought, places


class Lists:
    """Lists of alternatives by their names, to be looked for together."""

    def __init__(self, lists: Mapping[str, Alternatives]) -> None:
        self.lists: Final = dict(lists)
        owners: dict[str, list[tuple[str, list[Spot]]]] = {}
        for name, one in lists.items():
            for letters, spots in one.needing.items():
                owners.setdefault(letters, []).append((name, spots))
        self._owners: Final = tuple(owners.values())
        self._automaton: Final = Automaton(owners)
        self._always: Final = tuple(name for name, one in lists.items() if one.always)

    def hits(self, low: str) -> dict[str, list[Found]]:
        """Of each list what of its letters stands in a text (in lower case); most have nothing."""
        found: dict[str, list[Found]] = {name: [] for name in self._always}
        for needle, begin, _ in self._automaton.find(low):
            for name, spots in self._owners[needle]:
                if name in found:
                    found[name].append((begin, spots))
                else:
                    found[name] = [(begin, spots)]
        return found


class Passage:
    """A text in which one pass has found the letters of many lists.

    What is asked of a part of it, from `begin` (where a line begins) to `end`, is answered as if
    that part were all there is.
    """

    def __init__(self, lists: Lists, text: str) -> None:
        self._lists: Final = lists.lists
        self.text: Final = text
        self._low: Final = _lowered(text)
        self._hits: Final = lists.hits(self._low)

    def holds(self, name: str, begin: int, end: int) -> bool:
        """Whether an alternative of that list matches anywhere."""
        one, hits = self._lists[name], self._hits.get(name)
        if hits is None:
            return False
        sought, places = _likely(one, hits, self._low, begin, end)
        for start, number in places:
            if one.pattern(number).match(self.text, start, end):
                return True
        text = self.text
        return bool(sought) and any(one.pattern(n).search(text, begin, end) for n in sought)

    def lines(self, name: str, begin: int, end: int) -> Iterator[int]:
        """Where each line begins, from top to bottom, that begins with an alternative."""
        hits = self._hits.get(name)
        if hits is None:
            return
        one = self._lists[name]
        assert one.anchored  # noqa: S101 - a mistake of ours
        if one.always:
            yield from (found.start() for found in one.whole.finditer(self.text, begin, end))
            return
        last = -1
        _, places = _likely(one, hits, self._low, begin, end)
        for start, number in sorted(places):
            if start != last and one.pattern(number).match(self.text, start, end):
                yield start
                last = start

    def standing(self, name: str, begin: int, end: int) -> Iterator[int]:
        """The places in the list of those alternatives that match, lowest first."""
        hits = self._hits.get(name)
        if hits is None:
            return
        one = self._lists[name]
        sought, places = _likely(one, hits, self._low, begin, end)
        starts: dict[int, list[int]] = {number: [] for number in sought}
        for start, number in places:
            starts.setdefault(number, []).append(start)
        for number in sorted(starts):
            pattern = one.pattern(number)
            if number in sought:
                if pattern.search(self.text, begin, end):
                    yield number
            elif any(pattern.match(self.text, start, end) for start in starts[number]):
                yield number


def _lowered(text: str) -> str:
    """The text in lower case, letter for letter.

    Long s and the i without its dot, or with one where it is large, are equal to their kin where
    case does not count.
    """
    low = text.lower()
    if not low.isascii():
        if len(low) != len(text):
            low = text.replace("\u0130", "i").lower()
        low = low.replace("\u017f", "s").replace("\u0131", "i")
    return low


# --- what an expression cannot do without ---

# Letters that many (bytes of UTF-8) stand where they are needed, and hardly anywhere else.
_LONG: Final = 18
# What a piece of an expression is spelt like is listed up to so many ways.
_MOST_SPELLINGS: Final = 80
_NO_ROOM: Final = ("AT", "ASSERT", "ASSERT_NOT")
_LINE_END: Final = ord("\n")
# what is no more than its letters, at a line's beginning perhaps and up to a word's end
_LITERAL: Final = re.compile(r"(\^?)([^\\.^$*+?{}\[\]|()]+)(?:\\b)?")


def _needed(expression: str) -> list[Needed]:
    """What an expression needs: of these letters some stand in whatever it matches.

    Empty where it can do without any. Python's own parser takes the expression apart; a Python
    that has none we know is answered with "any", and everything is looked for everywhere.
    """
    if literal := _LITERAL.fullmatch(expression):
        return [Needed(_lowered(literal[2]), 0, 0, in_line=bool(literal[1]))]
    try:
        parsed = importlib.import_module("re._parser").parse(expression, _FLAGS)
        return max(_ways(parsed, Needed("", 0, 0)), key=_worth, default=[])
    except (ImportError, AttributeError, TypeError, ValueError):
        return []


def _worth(way: list[Needed]) -> tuple[bool, int, int]:
    near = all(one.in_line or one.most <= _FARTHEST for one in way)
    return near, min(_LONG, *(len(one.letters.encode()) for one in way)), -len(way)


def _ways(parsed: Any, at: Needed) -> Iterator[list[Needed]]:
    """Each way to say what a sequence of nodes needs, which begins so far behind the beginning."""
    runs: list[tuple[list[str], Needed]] = []  # what the nodes up to here may spell, from where on
    single = False
    for kind, value, node in _steps(parsed):
        spelt = _spellings(kind, value)
        if len(spelt) > 1:
            yield from (_way(*one) for one in runs if all(one[0]))
        longer = [([r + s for r in run for s in spelt], since) for run, since in runs]
        kept = [one for one in longer if 0 < len(one[0]) <= _MOST_SPELLINGS]
        if len(kept) < len(runs):
            yield from (_way(*one) for one in runs if all(one[0]))
        runs = kept
        if not spelt:
            yield from _ways_inside(kind, value, at)
        elif spelt != [""] and not (runs and single and len(spelt) == 1):
            runs.append((spelt, at))
        single = len(spelt) == 1
        at = _behind(parsed, kind, value, node, at)
    yield from (_way(*one) for one in runs if all(one[0]))


# Literals that follow each other, as one text in lower case.
_TEXT: Final = "TEXT"


def _steps(parsed: Any) -> Iterator[tuple[str, Any, Any]]:
    """The nodes of a sequence by kind and value; of a text there is no single node."""
    letters: list[str] = []
    for node in parsed:
        kind = str(node[0])
        if kind == "LITERAL":
            letters.append(_letter(node[1]))
            continue
        if letters:
            yield _TEXT, "".join(letters), None
            letters = []
        yield kind, node[1], node
    if letters:
        yield _TEXT, "".join(letters), None


def _way(spelt: list[str], since: Needed) -> list[Needed]:
    return [since._replace(letters=letters) for letters in dict.fromkeys(spelt)]


def _behind(parsed: Any, kind: str, value: Any, node: Any, at: Needed) -> Needed:
    """The place behind a node, as seen from the beginning."""
    if kind == _TEXT:
        least = most = len(value)
    else:
        least, most = type(parsed)(parsed.state, [node]).getwidth()
    begins_line = kind == "AT" and str(value) == "AT_BEGINNING" and at.most == 0
    in_line = begins_line or (at.in_line and _stays_in_line(kind, value))
    return Needed("", at.least + least, min(at.most + most, 10_000), in_line)


def _ways_inside(kind: str, value: Any, at: Needed) -> Iterator[list[Needed]]:
    if kind == "SUBPATTERN":
        yield from _ways(value[-1], at)
    elif kind.endswith("_REPEAT") and value[0] > 0:
        name, what = value[2][0]
        if len(value[2]) == 1 and str(name) == "LITERAL":
            yield _way([_letter(what) * min(value[0], _LONG)], at)
        else:
            yield from _ways(value[2], at)
    elif kind == "BRANCH":
        each = [max(_ways(one, at), key=_worth, default=[]) for one in value[1]]
        if all(each):
            yield [needed for one in each for needed in one]


def _spellings(kind: str, value: Any) -> list[str]:
    """All that a node matches, in lower case; empty where that is too much to list."""
    if kind in _NO_ROOM:
        return [""]
    if kind == _TEXT:
        return [value]
    each: list[list[str]] = [[]]
    if kind == "SUBPATTERN":
        each = [_sequences(value[-1])]
    elif kind == "BRANCH":
        each = [_sequences(one) for one in value[1]]
    elif kind == "MAX_REPEAT" and tuple(value[:2]) == (0, 1):
        each = [_sequences(value[2]), [""]]
    elif kind == "IN" and all(str(name) == "LITERAL" for name, _ in value):
        each = [[_letter(what) for _, what in value]]
    return list(dict.fromkeys(s for one in each for s in one)) if all(each) else []


@lru_cache(1_024)
def _letter(code: int) -> str:
    """A letter of an expression as a text in lower case has it."""
    return _lowered(chr(code))


def _sequences(parsed: Any) -> list[str]:
    spelt = [""]
    for kind, value, _ in _steps(parsed):
        more = _spellings(kind, value)
        spelt = [s + m for s in spelt for m in more]
        if not 0 < len(spelt) <= _MOST_SPELLINGS:
            return []
    return spelt


def _stays_in_line(kind: str, value: Any) -> bool:
    """Whether what a node matches cannot hold the end of a line."""
    if kind == _TEXT:
        return "\n" not in value
    if kind in ("LITERAL", "NOT_LITERAL"):
        return (value == _LINE_END) is (kind == "NOT_LITERAL")
    if kind == "IN":
        if str(value[0][0]) == "NEGATE":
            return any(str(name) == "LITERAL" and what == _LINE_END for name, what in value)
        return all(_is_no_line_end(str(name), what) for name, what in value)
    inside = [value[2]] if kind.endswith("_REPEAT") else []
    inside = value[1] if kind == "BRANCH" else [value[-1]] if kind == "SUBPATTERN" else inside
    within = all(_stays_in_line(str(node[0]), node[1]) for one in inside for node in one)
    return within and (bool(inside) or kind == "ANY" or kind in _NO_ROOM)


def _is_no_line_end(name: str, what: Any) -> bool:
    """Whether an item of a set is something else than the end of a line."""
    if name == "LITERAL":
        return bool(what != _LINE_END)
    if name == "RANGE":
        return not what[0] <= _LINE_END <= what[1]
    return str(what) in ("CATEGORY_DIGIT", "CATEGORY_WORD")

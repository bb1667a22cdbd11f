"""Many texts looked for in another at once. The only door to ahocorasick_rs.

One pass of one automaton (Aho and Corasick, 1975) over a text costs the same for five needles and
for five thousand. Where the library is not installed, each needle is looked for by itself: slower,
with the same answer, which is how the tests know that it is right.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

Hit = tuple[int, int, int]


@cache
def _library() -> Any:
    """The library, or None where there is no wheel for the machine."""
    try:
        return importlib.import_module("ahocorasick_rs")
    except ImportError:
        return None


class Automaton:
    """Needles, in an order that gives each its number; none of them empty."""

    def __init__(self, needles: Iterable[str], *, plain: bool = False) -> None:
        self._needles: Final = tuple(needles)
        library = None if plain or not self._needles else _library()
        self._quick: Final = library.AhoCorasick(self._needles) if library else None

    def find(self, text: str) -> list[Hit]:
        """Every place where a needle stands: its number, begin and end; in no certain order."""
        if self._quick is not None:
            found: list[Hit] = self._quick.find_matches_as_indexes(text, overlapping=True)
            return found
        return [
            (number, at, at + len(needle))
            for number, needle in enumerate(self._needles)
            if needle in text
            for at in _places(needle, text)
        ]


def _places(needle: str, text: str) -> Iterable[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)

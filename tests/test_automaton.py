"""The automaton finds what looking for each needle by itself finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bounced.automaton import Automaton

LETTERS = "ab é満"


def test_needles_that_overlap_or_stand_in_each_other_are_all_found() -> None:
    found = Automaton(["user unknown", "unknown", "now", "none"]).find("user unknown now")
    assert sorted(found) == [(0, 0, 12), (1, 5, 12), (2, 8, 11), (2, 13, 16)]


def test_without_needles_nothing_is_found() -> None:
    assert Automaton([]).find("anything") == []


@given(st.lists(st.text(LETTERS, min_size=1, max_size=4), unique=True), st.text(LETTERS))
def test_the_library_and_the_plain_search_agree(needles: list[str], text: str) -> None:
    quick, plain = Automaton(needles), Automaton(needles, plain=True)
    assert sorted(quick.find(text)) == sorted(plain.find(text))

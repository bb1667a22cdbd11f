"""The automaton finds what looking for each needle by itself finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bounced import parse
from bounced.automaton import Automaton

LETTERS = "ab é満"
HALVES = LETTERS + "\ud9e6\U0001f600"


def test_needles_that_overlap_or_stand_in_each_other_are_all_found() -> None:
    found = Automaton(["user unknown", "unknown", "now", "none"]).find("user unknown now")
    assert sorted(found) == [(0, 0, 12), (1, 5, 12), (2, 8, 11), (2, 13, 16)]


def test_half_a_character_in_the_text_is_no_error() -> None:
    assert Automaton(["failed"]).find("\ud9e6 failed") == [(0, 2, 8)]
    mail = b"Content-Type: text/plain; charset=utf-7\nFrom: MAILER-DAEMON@example.com\n\n"
    found = parse(mail + b"+2eY- 550 5.1.1 <a@example.com>: No such user\n")
    assert [bounce.recipient.address for bounce in found.bounces] == ["a@example.com"]


def test_without_needles_nothing_is_found() -> None:
    assert Automaton([]).find("anything") == []


@given(st.lists(st.text(LETTERS, min_size=1, max_size=4), unique=True), st.text(HALVES))
def test_the_library_and_the_plain_search_agree(needles: list[str], text: str) -> None:
    quick, plain = Automaton(needles), Automaton(needles, plain=True)
    assert sorted(quick.find(text)) == sorted(plain.find(text))

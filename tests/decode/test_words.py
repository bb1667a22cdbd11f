"""Every regular expression that meets a stranger's text takes time in proportion to its length."""

import gc
import importlib
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced.automaton import Alternatives, Lists, Passage, Waiting, _lowered, _needed
from bounced.decode import formats, view, words
from bounced.decode.original import borders
from bounced.message import Message, Part, read

EML = Path(__file__).parents[2] / "fixtures" / "eml"

# rooms whose patterns see mail
ROOMS = (
    "bounced.text",
    "bounced.smtp",
    "bounced.message",
    "bounced.decode",
    "bounced.decode.evidence",
    "bounced.decode.notice",
    "bounced.decode.original",
    "bounced.decode.rfc3464",
    "bounced.decode.rfc5965",
    "bounced.decode.rfc8098",
    "bounced.decode.view",
)
# what a nested or overlapping repetition would try in every possible way
HOSTILE = (
    " ", "\n", "\t", "a", "a@", "a.", "@", "<", "-", "1", "=?", "(", "a ", "a-", " \n", "- ", "5.1.", "550 ", "=",
    "=\n", "&", ";x=", "x:", ">", '"', "'", "用", "to ", "is ", "\nx: ", "--", "\n--", "a@a.a ", ": ", "re",
)  # fmt: skip
LENGTH = 8_000
# patterns that are only ever asked whether a short text as a whole fits them, and how short
SHORT = {
    "bounced.smtp._VERP": 320,
    "bounced.smtp._PLAIN": 320,
    "bounced.decode.notice._MAIL_DOMAIN": 720,
}
# below this the clock is too coarse to tell double from quadruple
FLOOR_SECONDS = 0.02


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    for room in ROOMS:
        for name, value in vars(importlib.import_module(room)).items():
            if isinstance(value, Alternatives):
                yield f"{room}.{name}", value.whole
            elif isinstance(value, Waiting):
                yield f"{room}.{name}", re.compile(value.pattern, value.flags)
            elif isinstance(value, re.Pattern):
                yield f"{room}.{name}", value
    for name in words.names():
        yield f"words.toml {name}", words.pattern(name).whole
    for form in formats.formats():
        begins = form.begins.whole if form.begins else None
        for part, pattern in (("begins", begins), ("recipient", form.recipient), *form.when):
            if pattern is not None:
                yield f"formats.toml {form.name} {part}", pattern


ALL = sorted((name, found) for name, found in dict(patterns()).items() if name not in SHORT)


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], text: str) -> float:
    best = 1e9
    for _ in range(2):
        start = time.process_time()
        if isinstance(pattern.pattern, bytes):
            for _ in re.finditer(pattern.pattern, text.encode(), pattern.flags):
                pass
        else:
            for _ in pattern.finditer(text):
                pass
        best = min(best, time.process_time() - start)
        if best < FLOOR_SECONDS:
            break
    return best


def grows_faster(seconds: Callable[[str], float], text: str) -> float | None:
    """The time for twice the text, where it is over three times that for the text, else None.

    What looks so is measured again and the best time of each taken: a busy machine adds time, and
    what goes back and forth takes four times as long however often it is measured.
    """
    once = twice = 1e9
    for _ in range(5):
        twice = min(twice, seconds(text + text))
        once = min(once, seconds(text)) if twice > FLOOR_SECONDS else once
        if twice <= max(FLOOR_SECONDS, 3 * once):
            return None
    return twice


@pytest.mark.parametrize(("name", "pattern"), ALL, ids=[name for name, _ in ALL])
def test_a_pattern_takes_twice_the_time_for_twice_the_text(
    name: str, pattern: re.Pattern[str] | re.Pattern[bytes]
) -> None:
    slow = {}
    for piece in HOSTILE:
        text = (piece * LENGTH)[:LENGTH]
        if (twice := grows_faster(partial(seconds, pattern), text)) is not None:
            slow[piece] = twice
    assert slow == {}, name


@pytest.mark.parametrize("name", SHORT)
def test_a_pattern_for_short_texts_is_quick_on_the_longest_it_meets(name: str) -> None:
    pattern = dict(patterns())[name]
    assert isinstance(pattern.pattern, str)
    slow = {}
    for piece in (*HOSTILE, "a+", "bounce-", "a=", "1-", "return-1-"):
        text = (piece * SHORT[name])[: SHORT[name]]
        start = time.process_time()
        pattern.match(text)
        pattern.fullmatch(text)
        if time.process_time() - start > FLOOR_SECONDS:
            slow[piece] = time.process_time() - start
    assert slow == {}


def test_a_quadratic_pattern_would_be_found() -> None:
    assert grows_faster(partial(seconds, re.compile(r"\s+x")), " " * 3_000) is not None


@pytest.mark.parametrize("piece", ["original message ", "  received: from\n\nab\n"])
def test_what_looks_like_borders_takes_twice_the_time_for_twice_the_text(piece: str) -> None:
    def spent(text: str) -> float:
        message = view.View(Message((), (Part((), text.encode(), "text/plain"),)))
        start = time.process_time()
        assert message.said
        return time.process_time() - start

    spent(piece)  # makes the lists
    gc.disable()  # what it looks through is none of the text's
    try:
        assert grows_faster(spent, piece * (480_000 // len(piece))) is None
    finally:
        gc.enable()


def test_there_are_patterns_to_try() -> None:
    assert len(ALL) > 100
    assert {room for room in ROOMS if not any(name.startswith(room) for name, _ in ALL)} == set()


def test_every_word_list_matches_something_and_not_nothing() -> None:
    for name in words.names():
        assert words.pattern(name).search("") is None, name


def texts() -> list[str]:
    """What lists meet: the words of every fixture, line by line and together, and their subjects."""
    messages = [read(path.read_bytes()) for path in sorted(EML.rglob("*.eml"))]
    notices = [message.text() for message in messages]
    lines = {line for notice in notices for line in notice.split("\n")[:40]}
    odd = ["Faılure of delıvery", "UNDELIVERſ", "İ could not be delivered", "K", ""]
    return [*notices, *sorted(lines), *(message.header("subject") for message in messages), *odd]


TEXTS = texts()


def span(found: re.Match[str] | None) -> tuple[int, int] | None:
    return found.span() if found else None


@pytest.mark.parametrize("name", words.names())
def test_a_list_finds_what_its_one_pattern_finds(name: str) -> None:
    sought = words.pattern(name)
    found = [(span(sought.search(text)), span(sought.whole.search(text))) for text in TEXTS]
    assert [pair for pair in found if pair[0] != pair[1]] == []


def test_lines_are_found_that_begin_as_the_one_pattern_says() -> None:
    sought = borders()
    for text in TEXTS:
        passage = Passage(Lists({"x": sought}), text)
        assert [*passage.lines("x", 0, len(text))] == [
            found.start() for found in sought.whole.finditer(text)
        ]


def test_what_stands_before_a_match_is_cut_out() -> None:
    sought = Alternatives(["do not reply", "-{5,}$"])
    assert sought.before("No such user. Do not reply!") == "No such user. "
    assert sought.before("No such user") == "No such user"


PIECES = st.sampled_from(
    ["mail", "could not", "be", "delivered", "to", " ", "\n", "-", "=", "for", "x-", ":", "é", "?", "satisfied"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30))
def test_alternatives_find_what_their_one_pattern_finds(pieces: list[str]) -> None:
    text = "".join(pieces)
    kinds = [
        "^x-[a-z]*:",
        "(?:mail|not) be",
        "-{2,}$",
        "(?<=for)to",
        r"\w+=",
        "é?to",
        "deliver(?:ed)? to",
    ]
    sought = Alternatives(kinds)
    assert span(sought.search(text)) == span(sought.whole.search(text))
    standing = {
        n for n, kind in enumerate(kinds) if re.search(kind, text, re.IGNORECASE | re.MULTILINE)
    }
    passage = Passage(Lists({"x": sought}), text)
    assert [*passage.standing("x", 0, len(text))] == sorted(standing)


LISTS = {**view._notices().lists, **view._replies().lists}


@pytest.mark.parametrize("name", LISTS)
def test_a_part_of_a_passage_is_heard_as_if_it_were_all_there_is(name: str) -> None:
    lists = Lists(LISTS)
    whole = lists.lists[name].whole
    for text in TEXTS:
        passage = Passage(lists, f"not delivered to\n{text[:2_000]}")
        for begin, end in ((17, 17 + len(text[:2_000])), (17, 60), (0, 90), (0, 16)):
            found = whole.search(passage.text[begin:end]) is not None
            assert passage.holds(name, begin, end) is found, (text, begin, end)


def test_in_lower_case_each_letter_stays_one() -> None:
    letters = "".join(map(chr, range(0x110000)))
    pairs = zip(_lowered(letters), letters, strict=True)
    changed = [(low, letter) for low, letter in pairs if low != letter]
    assert [pair for pair in changed if not re.match(*pair, re.IGNORECASE)] == []


def test_what_is_repeated_is_needed_as_often_as_it_must_stand() -> None:
    assert [needed.letters for needed in _needed("-{5,}$")] == ["-----"]


def test_what_a_list_needs_is_known_for_nearly_all_that_it_holds() -> None:
    entries = [entry for name in words.names() for entry in words._lists()[name]]
    unknown = [entry for entry in entries if not _needed(entry)]
    assert len(unknown) * 100 <= len(entries)


def test_a_format_with_an_unknown_key_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"'x'.*'begin'"):
        formats._format({"name": "x", "begin": "y"})

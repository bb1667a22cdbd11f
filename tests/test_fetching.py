"""Fetching ahead: one batch, in order, within a budget, and never two talking at once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from bounced import fetching
from bounced.fetching import Ahead
from bounced.model import Letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bounced.fetching import Begun, Promise


class Slow:
    """A mailbox that notes what it was asked for, and fails where it is told to."""

    def __init__(self, size: int = 10, fails_at: int | None = None) -> None:
        self.size = size
        self.fails_at = fails_at
        self.handed: list[int] = []
        self.talking = 0
        self.overlapped = False

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        for uid in uids:
            self.overlapped |= self.talking > 0
            self.talking += 1
            time.sleep(0.001)
            self.talking -= 1
            if uid == self.fails_at:
                raise ConnectionError("gone")
            self.handed.append(uid)
            yield Letter(uid, b"x" * self.size)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def uids(letters: Iterator[Begun]) -> list[int]:
    return [letter.uid for letter, _ in letters]


def test_letters_come_in_order_batch_by_batch() -> None:
    mailbox = Slow()
    ahead = Ahead(mailbox)
    first, second = ahead.ask([1, 2, 3]), ahead.ask([4, 5])
    assert (uids(first), uids(second)) == ([1, 2, 3], [4, 5])
    assert mailbox.handed == [1, 2, 3, 4, 5]
    assert not mailbox.overlapped
    ahead.close()


def test_a_batch_is_fetched_while_nobody_asks_for_its_letters_yet() -> None:
    mailbox = Slow()
    ahead = Ahead(mailbox)
    letters = ahead.ask([1, 2, 3])
    until(lambda: mailbox.handed == [1, 2, 3])
    assert uids(letters) == [1, 2, 3]
    ahead.close()


def test_no_more_than_the_budget_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BUDGET", 30)
    monkeypatch.setattr(fetching, "HANDFUL", 10)
    mailbox = Slow(size=10)
    ahead = Ahead(mailbox)
    letters = ahead.ask(range(100))
    until(lambda: len(mailbox.handed) == 4)
    time.sleep(0.05)
    assert len(mailbox.handed) == 4  # three wait, and one is in the hand
    assert uids(letters) == list(range(100))
    ahead.close()


def test_a_letter_over_the_budget_passes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BUDGET", 30)
    ahead = Ahead(Slow(size=100))
    assert uids(ahead.ask([1, 2])) == [1, 2]
    ahead.close()


def test_what_fetching_raised_is_raised_after_the_letters_before_it() -> None:
    ahead = Ahead(Slow(fails_at=3))
    seen: list[int] = []
    with pytest.raises(ConnectionError, match="gone"):
        seen.extend(letter.uid for letter, _ in ahead.ask([1, 2, 3, 4]))
    assert seen == [1, 2]
    assert isinstance(ahead.problem, ConnectionError)
    ahead.close()


def test_whoever_holds_the_turn_is_not_talked_over() -> None:
    mailbox = Slow()
    ahead = Ahead(mailbox)
    with ahead.turn:
        letters = ahead.ask([1])
        time.sleep(0.05)
        assert mailbox.handed == []
    assert uids(letters) == [1]
    ahead.close()


def test_closing_leaves_no_thread_and_fetches_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BUDGET", 20)
    monkeypatch.setattr(fetching, "HANDFUL", 10)
    mailbox = Slow(size=10)
    ahead = Ahead(mailbox)
    ahead.ask(range(1000))
    ahead.ask(range(1000, 2000))
    until(lambda: len(mailbox.handed) >= 2)
    ahead.close()
    assert len(mailbox.handed) < 10
    assert "fetching" not in {thread.name for thread in threading.enumerate()}


def test_closing_does_not_wait_for_the_rest_of_a_handful() -> None:
    mailbox = Slow()
    ahead = Ahead(mailbox)
    ahead.ask(range(5000))
    until(lambda: len(mailbox.handed) >= 2)
    ahead.close()
    assert len(mailbox.handed) < 1000


def test_what_keeps_letters_from_being_begun_is_raised_where_they_are_wanted() -> None:
    def closed(_: Sequence[Letter]) -> Sequence[Promise]:
        raise RuntimeError("cannot schedule new futures after shutdown")

    ahead = Ahead(Slow())
    letters = ahead.ask([1, 2, 3], closed)
    with pytest.raises(RuntimeError, match="after shutdown"):
        list(letters)
    ahead.close()

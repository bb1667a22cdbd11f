"""Fetching ahead: one batch after the other, within a budget, and nobody waits before they must."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bounced import fetching
from bounced.fetching import Ahead
from bounced.model import Letter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bounced.fetching import Begun, Promise, Reply


class Near:
    """A mailbox that never keeps anybody waiting, and fails where it is told to."""

    def __init__(self, size: int = 10, fails_at: int | None = None) -> None:
        self.size = size
        self.fails_at = fails_at
        self.handed: list[int] = []

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        for uid in uids:
            if uid == self.fails_at:
                raise ConnectionError("gone")
            self.handed.append(uid)
            yield Letter(uid, b"x" * self.size)


class Far(Near):
    """One that answers later: a handful of letters once `come` is set, or to whoever waits."""

    def __init__(self, size: int = 10, fails_at: int | None = None) -> None:
        super().__init__(size, fails_at)
        self.asked: list[int] = []
        self.waited = 0
        self.come = False

    def ask(self, uids: Sequence[int]) -> Iterator[Letter | Reply]:
        for start in range(0, len(uids), 3):
            some = uids[start : start + 3]
            self.asked += some
            reply = Coming(self)
            yield reply
            self.waited += not reply.seen
            yield from self.fetch(some)


class Coming:
    def __init__(self, mailbox: Far) -> None:
        self.mailbox = mailbox
        self.seen = False

    def has_come(self) -> bool:
        self.seen = self.mailbox.come
        return self.seen


@pytest.fixture(autouse=True)
def looking_after_each_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LOOKS_EVERY", 0)


def uids(letters: Iterator[Begun]) -> list[int]:
    return [letter.uid for letter, _ in letters]


class Prompt(Far):
    """One whose answers are there as soon as it is asked."""

    def __init__(self, size: int = 10, fails_at: int | None = None) -> None:
        super().__init__(size, fails_at)
        self.come = True


@pytest.mark.parametrize("kind", [Near, Far, Prompt])
def test_letters_come_in_order_batch_by_batch(kind: type[Near]) -> None:
    mailbox = kind()
    ahead = Ahead(mailbox)
    first, second = ahead.ask([1, 2, 3, 4]), ahead.ask([5, 6])
    assert (uids(first), uids(second)) == ([1, 2, 3, 4], [5, 6])
    assert mailbox.handed == [1, 2, 3, 4, 5, 6]


def test_a_batch_is_asked_for_before_anybody_wants_it_and_nobody_waits_for_it() -> None:
    mailbox = Far()
    letters = Ahead(mailbox).ask([1, 2, 3, 4])
    assert (mailbox.asked, mailbox.handed, mailbox.waited) == ([1, 2, 3], [], 0)
    assert uids(letters) == [1, 2, 3, 4]
    assert mailbox.waited == 2


def test_the_next_batch_is_taken_as_it_comes_while_this_one_is_read() -> None:
    mailbox = Far()
    ahead = Ahead(mailbox)
    first, second = ahead.ask([1, 2, 3]), ahead.ask([4, 5, 6])
    next(first)
    assert mailbox.asked == [1, 2, 3]
    next(first)  # the end of the first batch is found
    assert mailbox.asked == [1, 2, 3, 4, 5, 6]
    assert mailbox.handed == [1, 2, 3]
    mailbox.come = True
    next(first)
    list(first)
    assert mailbox.handed == [1, 2, 3, 4, 5, 6]
    assert (uids(second), mailbox.waited) == ([4, 5, 6], 1)


@pytest.mark.parametrize("kind", [Near, Prompt])
def test_no_more_than_the_budget_waits(monkeypatch: pytest.MonkeyPatch, kind: type[Near]) -> None:
    monkeypatch.setattr(fetching, "BUDGET", 30)
    monkeypatch.setattr(fetching, "HANDFUL", 10)
    mailbox = kind(size=10)
    ahead = Ahead(mailbox)
    letters = ahead.ask(range(100))
    assert len(mailbox.handed) == 3
    next(letters)
    assert len(mailbox.handed) == 3
    assert uids(letters) == list(range(1, 100))


def test_a_letter_over_the_budget_passes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BUDGET", 30)
    assert uids(Ahead(Near(size=100)).ask([1, 2])) == [1, 2]


@pytest.mark.parametrize("kind", [Near, Far])
def test_what_fetching_raised_is_raised_after_the_letters_before_it(kind: type[Near]) -> None:
    ahead = Ahead(kind(fails_at=3))
    seen: list[int] = []
    with pytest.raises(ConnectionError, match="gone"):
        seen.extend(letter.uid for letter, _ in ahead.ask([1, 2, 3, 4]))
    assert seen == [1, 2]
    assert isinstance(ahead.problem, ConnectionError)


def test_what_ended_a_later_batch_is_known_while_an_earlier_one_is_read() -> None:
    ahead = Ahead(Near(fails_at=3))
    first = ahead.ask([1, 2])
    ahead.ask([3])
    assert uids(first) == [1, 2]
    assert isinstance(ahead.problem, ConnectionError)


def test_closing_fetches_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BUDGET", 20)
    monkeypatch.setattr(fetching, "HANDFUL", 10)
    mailbox = Near(size=10)
    ahead = Ahead(mailbox)
    letters = ahead.ask(range(1000))
    ahead.ask(range(1000, 2000))
    ahead.close()
    assert len(uids(letters)) == len(mailbox.handed) < 10


def test_letters_are_begun_as_they_come_and_not_when_they_are_wanted() -> None:
    begun: list[int] = []

    def begin(letters: Sequence[Letter]) -> Sequence[Promise]:
        begun.extend(letter.uid for letter in letters)
        return [None] * len(letters)

    mailbox = Prompt()
    ahead = Ahead(mailbox)
    letters = ahead.ask([1, 2, 3, 4], begin)
    assert begun == [1, 2, 3, 4]
    assert uids(letters) == [1, 2, 3, 4]

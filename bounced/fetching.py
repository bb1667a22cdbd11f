"""The next letters come while those before them are read and recorded.

A mail server answers slowly and an operator's processor reads slowly; done in turns, each waits
for the other. Here a thread fetches one batch ahead, never more, and keeps at most `BUDGET` bytes
of it until they are wanted. A mailbox has one conversation: whoever talks to it holds the turn.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bounced.model import Letter, Reading

    Promise = Callable[[], Reading] | None
    # a letter, and what gives its reading where that has begun already
    Begun = tuple[Letter, Promise]
    Begin = Callable[[Sequence[Letter]], Sequence[Promise]]

BUDGET: Final = 16 * 1024 * 1024
HANDFUL: Final = 256 * 1024  # bytes that change hands at once
AWAKE_EVERY: Final = 0.5  # seconds


class Fetches(Protocol):
    """The part of a mailbox that is needed here (see `bounced.sync.Mailbox`)."""

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        """The letters that could be had."""


def nobody(letters: Sequence[Letter]) -> Sequence[Promise]:
    """What begins to read letters where nobody does before they are asked for."""
    return [None] * len(letters)


class Ahead:
    """Fetches batches in the order in which they are asked for, on threads of its own.

    `turn` is to be held by everybody else who talks to the mailbox. Iterating over a batch raises
    what fetching it raised, after the letters that came before.
    """

    def __init__(self, mailbox: Fetches) -> None:
        self.turn = threading.Lock()
        self._mailbox = mailbox
        self._last: _Batch | None = None

    def ask(self, uids: Sequence[int], begin: Begin = nobody) -> Iterator[Begun]:
        """Begin to fetch these, after what was asked for before; the letters as they come.

        `begin` is called with some of them at a time, on the thread that fetches.
        """
        self._last = _Batch(self._mailbox, uids, self.turn, self._last, begin)
        return self._last.letters()

    @property
    def problem(self) -> BaseException | None:
        """What ended the fetching of the batch asked for last, if anything has."""
        return None if self._last is None else self._last.problem

    def close(self) -> None:
        """Fetch no further; returns when nobody talks to the mailbox any more."""
        if self._last is not None:
            self._last.close()
            self._last = None


class _Batch:
    def __init__(
        self,
        mailbox: Fetches,
        uids: Sequence[int],
        turn: threading.Lock,
        before: _Batch | None,
        begin: Begin,
    ) -> None:
        self._source = mailbox.fetch(uids)
        self._turn = turn
        self._before = before
        self._begin = begin
        self._come: list[Begun] = []
        self._size = 0
        self._done = self._closed = False
        self.problem: BaseException | None = None
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._fetch, name="fetching", daemon=True)
        self.thread.start()

    def letters(self) -> Iterator[Begun]:
        while True:
            with self._changed:
                # awake now and then, for signals that came just before (bounced.cli.stopping)
                while not self._changed.wait_for(lambda: self._come or self._done, AWAKE_EVERY):
                    pass
                some, self._come, self._size = self._come, [], 0
                self._changed.notify_all()
            if not some:
                break
            yield from some
        if self.problem is not None:
            raise self.problem

    def close(self) -> None:
        before = self._before
        if before is not None:
            before.close()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.thread.join()

    def _fetch(self) -> None:
        if self._before is not None:
            self._before.thread.join()
            self._before = None
        try:
            going = True
            while going and not self._closed:
                going = self._hand_over(self._handful()) and self.problem is None
        except BaseException as problem:  # noqa: BLE001 - raised where the letters are wanted
            self.problem = problem
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _handful(self) -> list[Letter]:
        """Some letters, no longer than somebody else may wait for a turn; none at the end.

        `problem` is what ended it, if anything has; the letters that came before are good.
        """
        some: list[Letter] = []
        size = 0
        with self._turn:
            try:
                for letter in self._source:
                    some.append(letter)
                    size += len(letter.raw)
                    if size >= HANDFUL or self._closed:
                        break
            except BaseException as problem:  # noqa: BLE001 - raised where the letters are wanted
                self.problem = problem
        return some

    def _hand_over(self, some: list[Letter]) -> bool:
        """Put letters where they are wanted, once there is room; False when there are no more."""
        size = sum(len(letter.raw) for letter in some)
        begun = zip(some, self._begin(some), strict=True)
        with self._changed:
            # what is over the budget by itself passes when nothing else is waiting
            self._changed.wait_for(
                lambda: self._closed or not self._come or self._size + size <= BUDGET
            )
            self._come += begun
            self._size += size
            self._changed.notify_all()
        return bool(some)

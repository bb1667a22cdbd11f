"""The next letters come while those before them are read and recorded.

A mail server answers slowly and an operator's processor reads slowly; done in turns, each waits
for the other. So a batch is asked for before the one ahead of it is read, and what has come of it
is taken in between two letters, at most `BUDGET` bytes before they are wanted. All of it happens
on one thread: two take turns at the interpreter a thousand times a second, from two processors,
and lose more by that than they gain.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from bounced.model import Letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bounced.model import Reading

    Promise = Callable[[], Reading] | None
    # a letter, and what gives its reading where that has begun already
    Begun = tuple[Letter, Promise]
    Begin = Callable[[Sequence[Letter]], Sequence[Promise]]

BUDGET: Final = 16 * 1024 * 1024
HANDFUL: Final = 256 * 1024  # bytes that are begun at once
LOOKS_EVERY: Final = 0.002  # seconds; a server fills a line's buffers in some ten times as many


class Reply(Protocol):
    """What letters have to wait for."""

    def has_come(self) -> bool:
        """Whether nobody has to wait for it; takes in what has come of it."""


class Fetches(Protocol):
    """The part of a mailbox that is needed here (see `bounced.sync.Mailbox`)."""

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        """The letters that could be had."""


@runtime_checkable
class Asks(Protocol):
    """A mailbox that is asked first and answers later."""

    def ask(self, uids: Sequence[int]) -> Iterator[Letter | Reply]:
        """The letters that could be had, and before those that have to be waited for, for what.

        To go on after a reply is to wait for it.
        """


def nobody(letters: Sequence[Letter]) -> Sequence[Promise]:
    """What begins to read letters where nobody does before they are asked for."""
    return [None] * len(letters)


class Ahead:
    """Fetches batches in the order in which they are asked for.

    Iterating over a batch raises what fetching it raised, after the letters that came before.
    """

    def __init__(self, mailbox: Fetches) -> None:
        self.problem: Exception | None = None  # what ended the fetching, if anything has
        self._mailbox = mailbox
        self._unfinished: deque[_Batch] = deque()
        self._held = 0  # bytes of letters that nobody has wanted yet
        self._looked = 0.0

    def ask(self, uids: Sequence[int], begin: Begin = nobody) -> Iterator[Begun]:
        """Begin to fetch these, after what was asked for before; the letters as they come.

        `begin` is called with some of them at a time, once these have come.
        """
        box = self._mailbox
        batch = _Batch(box.ask(uids) if isinstance(box, Asks) else box.fetch(uids), begin)
        self._unfinished.append(batch)
        self._look()
        return self._letters(batch)

    def close(self) -> None:
        """Fetch no further."""
        self._unfinished.clear()

    def _letters(self, batch: _Batch) -> Iterator[Begun]:
        while batch.come or self._waits_for(batch):
            begun = batch.come.popleft()
            self._held -= len(begun[0].raw)
            yield begun
            if time.monotonic() - self._looked >= LOOKS_EVERY:
                self._look()
        if batch.problem is not None:
            raise batch.problem

    def _waits_for(self, batch: _Batch) -> bool:
        """Wait for more of a batch; False when there is no more."""
        while self._unfinished and not (batch.come or batch.is_done):
            self._go_on()
        return bool(batch.come)

    def _look(self) -> None:
        """Take what can be had while nobody waits."""
        while self._unfinished and self._held < BUDGET and self._unfinished[0].has_come():
            self._go_on()
        self._looked = time.monotonic()

    def _go_on(self) -> None:
        batch = self._unfinished[0]
        self._held += batch.go_on()
        self.problem = self.problem or batch.problem
        if batch.is_done:
            self._unfinished.popleft()


class _Batch:
    def __init__(self, source: Iterator[Letter | Reply], begin: Begin) -> None:
        self.come: deque[Begun] = deque()
        self.is_done = False
        self.problem: Exception | None = None
        self._source = source
        self._begin = begin
        self._reply: Reply | None = None

    def has_come(self) -> bool:
        """Whether there is something to be had without waiting."""
        return self._reply is None or self._reply.has_come()

    def go_on(self) -> int:
        """Wait for what was asked for, and take a handful of letters or less; their bytes."""
        some: list[Letter] = []
        size, self._reply = 0, None
        try:
            for one in self._source:
                if not isinstance(one, Letter):
                    self._reply = one
                    break
                some.append(one)
                size += len(one.raw)
                if size >= HANDFUL:
                    break
            else:
                self.is_done = True
        except Exception as problem:  # noqa: BLE001 - raised where the letters are wanted
            self.problem, self.is_done = problem, True
        self.come.extend(zip(some, self._begin(some), strict=True))
        return size

"""Letters read by other processes while they come and while others are recorded.

What `bounced.sync` is given in place of reading letters itself. Letters are read as soon as they
are fetched; whoever asks for a reading waits until it is there. When a reader dies, all that was
on the tables is read apart, one letter at a time, and everything after it here: who killed it is
found out by `bounced.isolation`, which quarantines it with the evidence.
"""

from __future__ import annotations

import gc
import signal
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bounced.isolation import read_in_child
from bounced.jobs import executor
from bounced.reading import read_letter
from bounced.rules import rulebook

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from typing import Self

    from bounced.fetching import Promise
    from bounced.model import Letter, Reading

# What takes longer is no reading any more; a whole portion of healthy letters takes a second.
PATIENCE_SECONDS: Final = 60
PORTION: Final = 100


class Readers:
    """`count` processes that read letters by our rule books and the operator's `books`.

    They are forked when this is entered, where the system can: enter it before connections are
    opened.
    """

    def __init__(self, count: int, books: tuple[Path, ...] = ()) -> None:
        self._books = books
        self._pool = executor(count)

    def __enter__(self) -> Self:
        rulebook(self._books)  # made once, before there are several of us
        gc.freeze()  # or else a reader's collector touches, and so copies, all of our pages
        self._pool.submit(_read, (), datetime.now(UTC), self._books).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, letters: Sequence[Letter], at: datetime) -> list[Promise]:
        """Let these be read; for each, what waits for its reading and gives it."""
        promised: list[Promise] = []
        for start in range(0, len(letters), PORTION):
            some = letters[start : start + PORTION]
            future = self._ask(some, at)
            promised += [self._promise(letter, n, at, future) for n, letter in enumerate(some)]
        return promised

    def _ask(self, some: Sequence[Letter], at: datetime) -> Future[list[Reading]] | None:
        try:
            return self._pool.submit(_read, some, at, self._books)
        except BrokenProcessPool:
            return None

    def _promise(
        self, letter: Letter, place: int, at: datetime, future: Future[list[Reading]] | None
    ) -> Promise:
        def reading() -> Reading:
            if future is None:
                return read_letter(letter, at, self._books)
            try:
                return future.result()[place]
            except (BrokenProcessPool, CancelledError):
                return read_in_child(letter, at, self._books)

        return reading


def _read(letters: Sequence[Letter], at: datetime, books: tuple[Path, ...]) -> list[Reading]:
    """A portion, in a reader. One that does not come to an end is ended by the system."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE_SECONDS)
    try:
        return [read_letter(letter, at, books) for letter in letters]
    finally:
        signal.alarm(0)

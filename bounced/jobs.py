"""Several processes at work on one long list, with the results in the order of the list.

Work is handed out in portions, a few of them ahead, so that a list of any length fits. A worker
that dies takes nothing with it: what was on the table is done again apart, by halves, until the
item is alone that kills whoever touches it.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Future
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import ProcessPoolExecutor
    from types import TracebackType
    from typing import Self

T = TypeVar("T")
R = TypeVar("R")

# A portion ends with so many items, or with the one that makes it so heavy.
PORTION: Final = 150
HEAVY: Final = 2_000_000
# Portions asked for beforehand, for each worker: so many that none is idle while what comes of a
# thousand items is put down.
AHEAD: Final = 8
# Whoever puts down what workers find goes before them: they wait for it, not it for them.
NICE: Final = 10


class Jobs(Generic[T, R]):
    """`count` processes that do `work`: a function of a module, from a list to as many results.

    They are forked, where the system can, when this is entered: what has been made before
    (rule books, automata) they have too. So enter it before connections are opened. With a count
    of 1 all is done here, and nothing is forked. `rescue` is given an item whose worker died
    although it was alone with it; it runs here, so it must not do the work itself. `weigh` tells
    an item's size in bytes, where items may be large.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[Sequence[T]], list[R]],
        rescue: Callable[[T], R],
        weigh: Callable[[T], int] = lambda _: 0,
    ) -> None:
        self._count = count
        self._work = work
        self._rescue = rescue
        self._weigh = weigh
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._count > 1:
            gc.freeze()  # or else a worker's collector touches, and so copies, all of our pages
            self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def results(self, items: Iterable[T]) -> Iterator[R]:
        """One for each item, in their order; reads no further ahead than the workers need."""
        if self._count == 1:
            for item in items:
                yield from self._work([item])
            return
        rest = iter(items)
        asked: deque[tuple[list[T], Future[list[R]]]] = deque()
        while True:
            while len(asked) < AHEAD * self._count and (some := self._portion(rest)):
                asked.append((some, self._ask(some)))
            if not asked:
                return
            some, future = asked.popleft()
            try:
                yield from future.result()
            except BrokenExecutor:
                # all that was asked for is void; who did it is not known yet
                waiting = [some, *(portion for portion, _ in asked)]
                asked.clear()
                self._stop()
                for portion in waiting:
                    yield from self._apart(portion)
                self._start()

    def pairs(self, items: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Each item with its result."""
        sent: deque[T] = deque()

        def noted() -> Iterator[T]:
            for item in items:
                sent.append(item)
                yield item

        for result in self.results(noted()):
            yield sent.popleft(), result

    def _portion(self, rest: Iterator[T]) -> list[T]:
        some: list[T] = []
        weight = 0
        for item in islice(rest, PORTION):
            some.append(item)
            weight += self._weigh(item)
            if weight >= HEAVY:
                break
        return some

    def _apart(self, some: list[T]) -> list[R]:
        """The results of a portion by workers of its own, as many as it kills."""
        with executor(1) as alone:
            try:
                return alone.submit(self._work, some).result()
            except BrokenExecutor:
                pass
        if len(some) == 1:
            return [self._rescue(some[0])]
        half = len(some) // 2
        return self._apart(some[:half]) + self._apart(some[half:])

    def _ask(self, some: list[T]) -> Future[list[R]]:
        if self._pool is None:
            self._start()
        assert self._pool is not None  # noqa: S101 - just started
        try:
            return self._pool.submit(self._work, some)
        except BrokenExecutor as broken:
            future: Future[list[R]] = Future()
            future.set_exception(broken)
            return future

    def _start(self) -> None:
        self._pool = executor(self._count)
        self._pool.submit(_nothing).result()

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def executor(count: int) -> ProcessPoolExecutor:
    """Processes that are forked at the first task, where the system can."""
    # late, because most commands need but one process, and nothing of this
    import multiprocessing  # noqa: PLC0415
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    ways = multiprocessing.get_all_start_methods()
    way = "fork" if "fork" in ways else "spawn"
    context = multiprocessing.get_context(way)
    return ProcessPoolExecutor(count, context, initializer=_live_and_die_with_parent)


def _live_and_die_with_parent() -> None:
    """An interrupt is the parent's to hear; and whatever ends it ends its workers."""
    from multiprocessing import parent_process  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what their parent was told to do about it is not for them: a broken pool is ended by this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(NICE)
    parent = parent_process()

    def outlive_nobody() -> None:
        if parent is not None:
            parent.join()
            os._exit(0)

    threading.Thread(target=outlive_nobody, daemon=True).start()


def _nothing() -> None:
    """The first task: with it the workers are forked."""

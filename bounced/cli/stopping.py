"""Stop when asked, between two batches of letters; at once when asked twice."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Seconds after the signal: when what waits for a server is interrupted, and when the process ends
# whatever it waits for. Supervisors send SIGKILL after ten (Docker) or more.
HURRY_AFTER: Final = 5.0
GONE_AFTER: Final = 9.0
# A signal that comes just before the main thread begins to wait, or that another thread is given,
# does not wake it, and its handler runs only once it is awake.
LISTENS_EVERY: Final = 0.5


class Stop:
    """True once somebody asked. Call it between steps, or `wait()` for it."""

    def __init__(self) -> None:
        self._asked = False
        self._reload = False
        self._interrupts: list[Callable[[], object]] = []
        # put() may be called in a signal handler at any moment; threading.Event may not
        self._bell: SimpleQueue[None] = SimpleQueue()

    @classmethod
    def on_signals(cls, *, reload: bool = False) -> Stop:
        """One that SIGTERM and SIGINT ask; a second signal ends the process at once.

        What is interrupted so is whole all the same: the ledger's transactions see to that. With
        `reload`, SIGHUP asks for the configuration to be read again.
        """
        stop = cls()

        def on_signal(number: int, _frame: object) -> None:
            if stop():
                os._exit(128 + number)
            stop.ask()
            stop.be_gone()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        if reload:
            signal.signal(signal.SIGHUP, lambda *_: stop.ask_to_reload())
        return stop

    def __call__(self) -> bool:
        return self._asked

    def ask(self) -> None:
        self._asked = True
        self._bell.put(None)

    def be_gone(self) -> None:
        """From now on interrupt what takes long, and end the process if that does not help."""
        for seconds, deed in ((HURRY_AFTER, self._hurry), (GONE_AFTER, lambda: os._exit(0))):
            timer = threading.Timer(seconds, deed)
            timer.daemon = True
            timer.start()

    def _hurry(self) -> None:
        for interrupt in [*self._interrupts]:
            interrupt()

    @contextmanager
    def hurried_by(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """While the block waits for somebody else, `interrupt` (from another thread) ends that."""
        self._interrupts.append(interrupt)
        try:
            yield
        finally:
            self._interrupts.remove(interrupt)

    def ask_to_reload(self) -> None:
        self._reload = True
        self._bell.put(None)

    def reload_asked(self) -> bool:
        """Whether a reload was asked for since the last time this was called."""
        if not self._reload:
            return False
        # a signal from here on is lost in none: whoever is told reads the configuration after it
        self._reload = False
        return True

    def wait(self, seconds: float | None = None) -> None:
        """Return once somebody asked for anything, or when the time is over."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with suppress(Empty):
                self._bell.get(timeout=min(left, LISTENS_EVERY))
                return

"""Stop when asked, between two batches of letters; at once when asked twice."""

from __future__ import annotations

import os
import signal
from queue import SimpleQueue


class Stop:
    """True once somebody asked. Call it between steps, or `wait()` for it."""

    def __init__(self) -> None:
        self._asked = False
        # put() may be called in a signal handler at any moment; threading.Event may not
        self._bell: SimpleQueue[None] = SimpleQueue()

    @classmethod
    def on_signals(cls) -> Stop:
        """One that SIGTERM and SIGINT ask; a second signal ends the process at once.

        What is interrupted so is whole all the same: the ledger's transactions see to that.
        """
        stop = cls()

        def on_signal(number: int, _frame: object) -> None:
            if stop():
                os._exit(128 + number)
            stop.ask()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        return stop

    def __call__(self) -> bool:
        return self._asked

    def ask(self) -> None:
        self._asked = True
        self._bell.put(None)

    def wait(self) -> None:
        """Return once somebody asked."""
        self._bell.get()

"""Reading a letter in a process of its own, for one that has met several crashes before.

A crash may have been anybody's (power, an operator's kill); a letter is called poison only when
a child that did nothing but read it died of it. The child has its own limits of memory and
processor time, and hands back what it concluded. It stays for the next such letter, since one
that kills its reader makes all those suspicious that were fetched with it.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
from typing import TYPE_CHECKING, Final

from bounced.reading import quarantined, read_letter

if TYPE_CHECKING:
    from datetime import datetime
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from bounced.model import Letter, Reading

CPU_SECONDS: Final = 10
MEMORY_BYTES: Final = 1_500_000_000
PATIENCE_SECONDS: Final = 60


class _Child:
    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def read(self, letter: Letter, at: datetime, books: tuple[Path, ...]) -> Reading | None:
        """What it concluded; None when it died of the letter, or would not come to an end."""
        try:
            self._ours.send((letter, at, books))
            return self._ours.recv() if self._ours.poll(PATIENCE_SECONDS) else None
        except (EOFError, OSError):
            return None

    def lives(self) -> bool:
        return self._process.is_alive()

    def end(self) -> int | None:
        """See to its end; the exit code."""
        self._ours.close()
        self._process.join(1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        return self._process.exitcode


_child: _Child | None = None


def read_in_child(letter: Letter, at: datetime, books: tuple[Path, ...] = ()) -> Reading:
    """Read one letter apart; quarantined with the evidence if the child dies of it."""
    global _child  # noqa: PLW0603 - kept for the next letter, until `dismiss`
    if _child is not None and not _child.lives():
        dismiss()  # between two letters, so of neither
    for _ in range(2):
        _child = _child or _Child()
        reading = _child.read(letter, at, books)
        if reading is not None:
            return reading
        code, _child = _child.end(), None
        if code != -signal.SIGTERM:  # else all of us were asked to stop: no letter's fault
            break
    return quarantined(letter, at, f"poison: the reader died of it (exit {code})")


def dismiss() -> None:
    """Let the child go, if there is one."""
    global _child  # noqa: PLW0603
    if _child is not None:
        _child.end()
        _child = None


def _serve(theirs: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our parent hears it, too
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    while True:
        try:
            letter, at, books = theirs.recv()
        except EOFError:
            return
        _allow_cpu_seconds(CPU_SECONDS)
        theirs.send(read_letter(letter, at, books))


def _allow_cpu_seconds(more: int) -> None:
    """From now on; a process that goes on beyond is killed by the system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + more
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))

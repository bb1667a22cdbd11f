"""Reading a letter in a process of its own, for one that has met several crashes before.

A crash may have been anybody's (power, an operator's kill); a letter is called poison only when
a child that did nothing but read it died of it. The child has its own limits of memory and
processor time, and hands back what it concluded.
"""

from __future__ import annotations

import multiprocessing
import resource
from typing import TYPE_CHECKING, Final

from bounced.reading import quarantined, read_letter

if TYPE_CHECKING:
    from datetime import datetime
    from multiprocessing.connection import Connection
    from pathlib import Path

    from bounced.model import Letter, Reading

CPU_SECONDS: Final = 10
MEMORY_BYTES: Final = 1_500_000_000
PATIENCE_SECONDS: Final = 60


def read_in_child(letter: Letter, at: datetime, books: tuple[Path, ...] = ()) -> Reading:
    """Read one letter apart; quarantined with the evidence if the child dies of it."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_read, args=(sender, letter, at, books), daemon=True)
    child.start()
    sender.close()
    reading: Reading | None = None
    try:
        if receiver.poll(PATIENCE_SECONDS):
            reading = receiver.recv()
    except EOFError:
        reading = None
    finally:
        receiver.close()
        child.join(1)
        if child.is_alive():
            child.kill()
            child.join()
    if reading is not None:
        return reading
    return quarantined(letter, at, f"poison: the reader died of it (exit {child.exitcode})")


def _read(sender: Connection, letter: Letter, at: datetime, books: tuple[Path, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sender.send(read_letter(letter, at, books))
    sender.close()

"""`bounced` in a forked process: killed like any other, and started in a few milliseconds.

A test of every step under every fault needs thousands of processes; a fresh Python would spend
nearly all of its time importing. Faults that a step can meet are named in `bounced.failpoint`;
those that need a test's knowledge of the house are added here, in the child only.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import sys
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from bounced import failpoint
from bounced.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 60.0


@dataclass
class Forked:
    """A child at work; `end()` waits for it: exit code (negative: the signal) and what it said."""

    pid: int
    said_at: int

    def end(self) -> tuple[int, str]:
        said = bytearray()
        os.set_blocking(self.said_at, False)
        deadline = time.monotonic() + PATIENCE
        status = None
        while status is None:
            with suppress(BlockingIOError):
                said += os.read(self.said_at, 65_536)
            found, code = os.waitpid(self.pid, os.WNOHANG)
            if found:
                status = code
            elif time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            else:
                time.sleep(0.002)
        with suppress(BlockingIOError):
            while more := os.read(self.said_at, 65_536):
                said += more
        os.close(self.said_at)
        return os.waitstatus_to_exitcode(status), said.decode("utf-8", "replace")


@cache
def warm() -> None:
    """Import and build once, in the parent, what every child would have to."""
    from alembic import command  # noqa: F401

    from bounced.mailbox import imap, session  # noqa: F401
    from bounced.model import Letter
    from bounced.reading import read_letter

    letter = b"From: MAILER-DAEMON@example.net\n\n<a@example.com>: 550 5.1.1 no such user\n"
    read_letter(Letter(1, letter), datetime.now(UTC))


def fork(
    *words: str, cwd: Path, plan: str = "", before: Callable[[], object] = lambda: None
) -> Forked:
    """`bounced WORDS…` in a child; `before` is called there first, `plan` is BOUNCED_FAILPOINT."""
    warm()
    said_at, says = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: other threads are not forked
        pid = os.fork()
    if pid:
        os.close(says)
        return Forked(pid, said_at)
    code: Any = 70
    try:
        os.dup2(says, 1)
        os.dup2(says, 2)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False, buffering=1) for n in (1, 2))  # noqa: SIM115
        os.environ.pop("BOUNCED_CONFIG", None)
        os.chdir(cwd)
        failpoint._PLAN = plan
        failpoint._visits.clear()
        failpoint.DEEDS.update(database=break_the_next_statement, lost=lose_the_next_answer)
        failpoint.DEEDS.update(full=fill_the_disk)
        before()
        main(list(words))
    except SystemExit as left:
        code = left.code or 0
    except BaseException:  # noqa: BLE001 - it must not run on as a second pytest
        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else 70)


def run(*words: str, cwd: Path, **more: Any) -> tuple[int, str]:
    """As `fork`, to its end."""
    return fork(*words, cwd=cwd, **more).end()


def _trouble(database: str) -> OperationalError:
    """What a driver says whose server, or disk, is gone."""
    lost = {
        "sqlite": sqlite3.OperationalError("disk I/O error"),
        "mariadb": Exception(2013, "Lost connection to server during query"),
    }
    ended = Exception("server closed the connection unexpectedly")
    return OperationalError("", {}, lost.get(database, ended))


def break_statement(number: int) -> None:
    """Let the `number`th statement that the database is given from now on fail, once."""
    left = [number]

    def before(connection: Any, *_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _trouble(connection.dialect.name)

    event.listen(Engine, "before_cursor_execute", before)


def break_the_next_statement() -> None:
    break_statement(1)


def break_commit(number: int, *, done: bool) -> None:
    """Let the `number`th commit from now on fail, once; `done`: it is made, the answer is lost."""
    from sqlalchemy.engine.default import DefaultDialect

    original = DefaultDialect.do_commit
    left = [number]

    def commit(self: Any, connection: Any) -> None:
        left[0] -= 1
        if left[0] != 0 or done:
            original(self, connection)  # type: ignore[no-untyped-call]
        if left[0] == 0:
            raise _trouble(self.name)

    DefaultDialect.do_commit = commit  # type: ignore[method-assign]


def lose_the_next_answer() -> None:
    break_commit(1, done=True)


def fill_the_disk() -> None:
    """No file of this process grows from now on: what a full disk is to it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))


def ask(port: int) -> Callable[[], None]:
    """A deed that asks whoever listens at a port of this machine to do theirs, and waits for it."""

    def deed() -> None:
        with socket.create_connection(("127.0.0.1", port), 10) as asked:
            while asked.recv(1):
                pass

    return deed

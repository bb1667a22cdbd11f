"""How the database is reached: one engine, two sorts of transaction, one clock.

Every writing transaction on SQLite begins IMMEDIATE, and on PostgreSQL takes one advisory lock:
two syncs of different mailboxes may touch the same address, and a standing must be rebuilt from
all its events. Writers wait for each other for 30 seconds and then give up with LedgerUnavailable.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import create_engine, event, func, literal_column, make_url, select
from sqlalchemy.exc import ArgumentError

from bounced.ledger.errors import LedgerError, shown, translated
from bounced.ledger.tables import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")

# SQLite takes 32 766 parameters in a statement, PostgreSQL 65 535; short ones plan faster.
CHUNK = 1000
PATIENCE_SECONDS = 30
# Any number, as long as all versions of this program take the same one.
WRITERS = 0x626F756E636564
# The patience of sqlite3 and libpq.
_DEFAULTS: dict[str, dict[str, int]] = {
    "sqlite": {"timeout": PATIENCE_SECONDS},
    "postgresql": {"connect_timeout": 10},
}


def chunks(rows: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The rows in lists of bounded length, reading no further ahead than one list."""
    rest = iter(rows)
    while some := list(islice(rest, size)):
        yield some


class Database:
    """An engine and the manners of its transactions. Raises LedgerError and its kin."""

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = _engine(self.url)
        self._writer = self._engine.execution_options(bounced_write=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only looks."""
        with translated(self.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one writing transaction of this moment; committed at the end of the block."""
        with translated(self.url), self._writer.begin() as connection:
            if not self.sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS}s'")
                connection.execute(select(func.pg_advisory_xact_lock(WRITERS)))
            yield connection

    @contextmanager
    def rehearsing(self) -> Iterator[Connection]:
        """A writing transaction that is taken back at the end of the block, whatever it did."""
        with self.writing() as connection:
            try:
                yield connection
            finally:
                connection.rollback()

    def clock(self, connection: Connection) -> datetime:
        """What time the database says it is: the one clock that all hosts share."""
        words = (
            "strftime('%Y-%m-%d %H:%M:%f000', 'now')" if self.sqlite else "statement_timestamp()"
        )
        return connection.execute(select(literal_column(words, UtcDateTime))).scalar_one()

    def close(self) -> None:
        self._engine.dispose()


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        raise LedgerError(
            "The database URL cannot be read. Nothing was touched. It looks like "
            "sqlite:////var/lib/bounced/bounced.db or postgresql://user:password@host/name"
        ) from None
    backend = url.get_backend_name()
    if backend == "postgres":
        backend = "postgresql"
    if backend not in _DEFAULTS:
        raise LedgerError(
            f"The database {shown(url)} is of a kind this program does not know. Nothing was "
            "touched. Use sqlite:///path or postgresql://user:password@host/name"
        )
    return url.set(drivername="postgresql+psycopg") if backend == "postgresql" else url


def _engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    patience = {k: v for k, v in _DEFAULTS[backend].items() if k not in url.query}
    if backend == "sqlite":
        _keep_private(url)
    try:
        engine = create_engine(
            url,
            hide_parameters=True,
            connect_args=patience,
            pool_pre_ping=backend != "sqlite",
        )
    except ModuleNotFoundError:
        raise LedgerError(
            f"The database {shown(url)} needs a driver that is not installed. Nothing was "
            "touched. Run: pip install 'bounced-mail[postgresql]'"
        ) from None
    if backend == "sqlite":
        event.listen(engine, "connect", _sqlite_manners, insert=True)
        event.listen(engine, "begin", _sqlite_begin)
    return engine


def _keep_private(url: URL) -> None:
    """A new SQLite file is its owner's alone: it will be full of people's addresses."""
    if not url.database or url.database == ":memory:" or "uri" in url.query:
        return
    with suppress(OSError):  # the connection that follows says better what is wrong
        os.close(os.open(Path(url.database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _sqlite_manners(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it would begin DEFERRED ones, which
    # fail at once, without waiting, where two of them want to write.
    connection.isolation_level = None
    try:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
    except Exception:  # the file is no database: nobody else will close what was opened
        connection.close()
        raise


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("bounced_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

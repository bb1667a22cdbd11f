"""How the database is reached: one engine, two sorts of transaction, one clock.

Writers follow one another (`dialects.py` says how): two syncs of different mailboxes may touch the
same address, and a standing must be rebuilt from all its events. They wait for each other for 30
seconds and then give up with LedgerUnavailable.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import create_engine, literal_column, make_url, select
from sqlalchemy.exc import ArgumentError

from bounced.ledger.dialects import DIALECTS
from bounced.ledger.errors import LedgerError, shown, translated
from bounced.ledger.tables import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPICursor

    from bounced.ledger.dialects import Dialect

T = TypeVar("T")

# SQLite takes 32 766 parameters in a statement, PostgreSQL 65 535; short ones plan faster.
CHUNK = 1000
_OTHER_NAMES = {"postgres": "postgresql"}


def chunks(rows: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The rows in lists of bounded length, reading no further ahead than one list."""
    rest = iter(rows)
    while some := list(islice(rest, size)):
        yield some


class Database:
    """An engine and the manners of its transactions. Raises LedgerError and its kin.

    Pickled to another process it is that process's own one there: the same database by other
    connections, since none of them may be shared.
    """

    def __init__(self, url: str | URL) -> None:
        self.url, self.dialect = _parsed(url)
        self.sqlite = self.dialect.name == "sqlite"
        self._engine = _engine(self.url, self.dialect)
        self._now = select(literal_column(self.dialect.now, UtcDateTime))
        self._writer = self._engine.execution_options(bounced_write=True)
        self._note_taker = self._writer.execution_options(bounced_hasty=True)

    def __reduce__(self) -> tuple[Callable[[URL], Database], tuple[URL]]:
        return _of_this_process, (self.url,)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only looks."""
        with translated(self.url, self.dialect), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, *, hasty: bool = False) -> Iterator[Connection]:
        """The one writing transaction of this moment; committed at the end of the block.

        A `hasty` one does not wait for the disk: should the power fail, it may never have been,
        but nothing after it will have been either.
        """
        with (
            translated(self.url, self.dialect),
            (self._note_taker if hasty else self._writer).connect() as connection,
            self.dialect.turn(connection),
        ):
            yield connection

    @contextmanager
    def altering(self) -> Iterator[Connection]:
        """A writing transaction in which tables may be made anew while others refer to them."""
        with (
            translated(self.url, self.dialect),
            self._writer.connect() as connection,
            self.dialect.altering(connection),
        ):
            yield connection

    @contextmanager
    def rehearsing(self) -> Iterator[Connection]:
        """A writing transaction that is taken back at the end of the block, whatever it did."""
        with self.writing() as connection:
            try:
                yield connection
            finally:
                connection.rollback()

    @contextmanager
    def bare(self) -> Iterator[DBAPICursor]:
        """A cursor of the driver, outside any transaction; its errors are the driver's."""
        connection = self._engine.raw_connection()
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def clock(self, connection: Connection) -> datetime:
        """What time the database says it is: the one clock that all hosts share."""
        return connection.execute(self._now).scalar_one()

    def close(self) -> None:
        self._engine.dispose()


@cache
def _of_this_process(url: URL) -> Database:
    """One for all that comes from elsewhere: to connect takes longer than much of the work."""
    return Database(url)


def _parsed(text: str | URL) -> tuple[URL, Dialect]:
    examples = [known.example for known in DIALECTS.values()]
    try:
        url = make_url(text)
    except ArgumentError:
        raise LedgerError(
            "The database URL cannot be read. Nothing was touched. It looks like "
            f"{' or '.join(examples)}"
        ) from None
    backend = url.get_backend_name()
    dialect = DIALECTS.get(_OTHER_NAMES.get(backend, backend))
    if dialect is None:
        raise LedgerError(
            f"The database {shown(url)} is of a kind this program does not know. Nothing was "
            f"touched. Use {' or '.join(examples)}"
        )
    if dialect.driver is not None:
        url = url.set(drivername=f"{dialect.name}+{dialect.driver}")
    return url, dialect


def _engine(url: URL, dialect: Dialect) -> Engine:
    patience = {k: v for k, v in dialect.connecting.items() if k not in url.query}
    dialect.prepare(url)
    try:
        engine = create_engine(url, hide_parameters=True, connect_args=patience, **dialect.options)
    except ModuleNotFoundError:
        raise LedgerError(
            f"The database {shown(url)} needs a driver that is not installed. Nothing was "
            f"touched. Run: pip install 'bounced-mail[{dialect.extra}]'"
        ) from None
    dialect.manners(engine)
    return engine

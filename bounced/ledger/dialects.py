"""Where databases differ, and nothing else knows it: one class for each kind.

What a ledger needs of a connection is asked for here and not taken from the server's settings:
durable commits, strict types, times in UTC, texts that are equal only when every letter is, and
turns: writers follow one another and wait at most `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlalchemy import (
    ARRAY,
    String,
    bindparam,
    event,
    exc,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.mysql.base import MySQLTypeCompiler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import URL, Connection, Engine, FromClause, Table
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.pool import ConnectionPoolEntry
    from sqlalchemy.sql.base import ReadOnlyColumnCollection

    Change = Callable[[ReadOnlyColumnCollection[str, Any]], Mapping[str, Any]]

PATIENCE_SECONDS: Final = 30


class Dialect:
    """What every kind of database does, as SQL's standard and most of them have it."""

    name: str
    example: str
    driver: str | None = None
    # pip's name for the driver, where it is not Python's own
    extra: str | None = None
    # an SQL expression: this very moment, in UTC
    now: str
    # the same as a view may say it, of the precision and type of the columns
    view_now: str = "CURRENT_TIMESTAMP"
    # whether a change of the schema that fails half way is taken back
    undoes_ddl = True
    options: ClassVar[Mapping[str, Any]] = {}
    # the driver's own options, unless the URL says otherwise
    connecting: ClassVar[Mapping[str, Any]] = {}

    def prepare(self, url: URL) -> None:
        """Before anything connects."""

    def manners(self, engine: Engine) -> None:
        """What every connection of an engine must know."""

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:
        """A writing transaction, begun once no other writer is at work, and committed."""
        with connection.begin():
            yield

    @contextmanager
    def altering(self, connection: Connection) -> Iterator[None]:
        """The same, and tables may be made anew in it while others refer to them."""
        with self.turn(connection):
            yield

    def texts(self) -> FromClause:
        """Many texts as a table of one column, `value`, made from the parameter that is `given`."""
        raise NotImplementedError

    def given(self, values: Sequence[str]) -> dict[str, object]:
        """The parameter of `texts`."""
        return {"texts": json.dumps(values)}

    def number_on(self, connection: Connection, table: Table) -> None:
        """Let new rows have higher numbers than those written with numbers of their own."""

    def passing(self, problem: exc.DBAPIError) -> bool:
        """Whether trying again may help."""
        return isinstance(problem, exc.OperationalError | exc.InterfaceError)


class Sqlite(Dialect):
    """One file; a writing transaction begins IMMEDIATE, so that it waits instead of failing."""

    name = "sqlite"
    example = "sqlite:////var/lib/bounced/bounced.db"
    now = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    connecting: ClassVar = {"timeout": PATIENCE_SECONDS}
    # sqlite3 calls every error operational: a mistake in a statement, and a table that is there
    mistake: Final = 1

    def passing(self, problem: exc.DBAPIError) -> bool:
        code = getattr(problem.orig, "sqlite_errorcode", None)
        return super().passing(problem) and code != self.mistake

    def prepare(self, url: URL) -> None:
        """A new file is its owner's alone: it will be full of people's addresses."""
        if not url.database or url.database == ":memory:" or "uri" in url.query:
            return
        with suppress(OSError):  # the connection that follows says better what is wrong
            os.close(os.open(Path(url.database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def manners(self, engine: Engine) -> None:
        event.listen(engine, "connect", _sqlite_manners, insert=True)
        event.listen(engine, "begin", _sqlite_begin)

    @contextmanager
    def altering(self, connection: Connection) -> Iterator[None]:
        # the old table is dropped, and what refers to its rows would keep it from that
        bare = connection.connection.cursor()  # this cannot be said within a transaction
        bare.execute("PRAGMA foreign_keys=OFF")
        try:
            with self.turn(connection):
                yield
        finally:
            bare.execute("PRAGMA foreign_keys=ON")

    def texts(self) -> FromClause:
        given = bindparam("texts", type_=String)
        return func.json_each(given).table_valued("value", name="wanted")


class Postgresql(Dialect):
    """A writing transaction takes one advisory lock, of its schema."""

    name = "postgresql"
    example = "postgresql://user:password@host/name"
    driver = "psycopg"
    extra = "postgresql"
    now = "statement_timestamp()"
    options: ClassVar = {"pool_pre_ping": True}
    connecting: ClassVar = {"connect_timeout": 10}
    # any number, as long as all versions of this program take the same one
    writers: Final = 0x626F756E

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:
        with connection.begin():
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS}s'")
            if connection.get_execution_options().get("bounced_hasty", False):
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            schema = func.hashtext(func.current_schema())
            connection.execute(select(func.pg_advisory_xact_lock(self.writers, schema)))
            yield

    def number_on(self, connection: Connection, table: Table) -> None:
        if table.autoincrement_column is not None:
            sequence = func.pg_get_serial_sequence(table.name, table.autoincrement_column.name)
            highest = select(func.max(table.autoincrement_column)).scalar_subquery()
            connection.execute(select(func.setval(sequence, highest)))

    def texts(self) -> FromClause:
        kind: Any = ARRAY(String)
        table = func.unnest(bindparam("texts", type_=kind)).table_valued("value", name="wanted")
        return table.render_derived()

    def given(self, values: Sequence[str]) -> dict[str, object]:
        return {"texts": list(values)}


class MariaDB(Dialect):
    """A writing transaction takes a named lock, which is the session's and survives DDL.

    Needs MariaDB 10.6 (RETURNING, JSON_TABLE); MySQL has neither RETURNING nor a collation
    that tells trailing spaces apart and is binary.
    """

    name = "mariadb"
    example = "mariadb://user:password@host/name"
    driver = "pymysql"
    extra = "mariadb"
    now = "UTC_TIMESTAMP(6)"
    undoes_ddl = False
    view_now = now  # CURRENT_TIMESTAMP would be in the time zone of whoever asks
    # Hostile mail makes rows of 48 kB; a statement may have 16 MB (max_allowed_packet).
    options: ClassVar = {
        "pool_pre_ping": True,
        "isolation_level": "READ COMMITTED",
        "insertmanyvalues_page_size": 200,
    }
    connecting: ClassVar = {"connect_timeout": 10, "charset": "utf8mb4"}
    session: Final = (
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,"
        "NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO', time_zone = '+00:00', "
        # a list that is streamed may be read slowly, by a person with a pager
        f"net_write_timeout = 3600, innodb_lock_wait_timeout = {PATIENCE_SECONDS}, "
        f"lock_wait_timeout = {PATIENCE_SECONDS}"
    )
    # Too many connections, shutting down, table or disk full, lock wait, deadlock, read only,
    # killed, too slow; and below 3000 whatever the driver says of lost connections.
    again: Final = frozenset(
        {1021, 1040, 1053, 1114, 1203, 1205, 1213, 1226, 1290, 1317, 1792, 1836, 1927, 1969}
        | {1044, 1045, 1049, 1129, 1130, 4031}
        | set(range(1158, 1162))
        | set(range(2001, 2056))
    )

    def manners(self, engine: Engine) -> None:
        types = _MariaTypes(engine.dialect)
        # alembic knows it by its older name
        engine.dialect.type_compiler_instance = engine.dialect.type_compiler = types
        event.listen(engine, "connect", self._greet)

    def _greet(self, connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(self.session)
        cursor.close()

    @contextmanager
    def turn(self, connection: Connection) -> Iterator[None]:
        name = "CONCAT('bounced/', SHA1(DATABASE()))"
        with connection.begin():
            asked = text(f"SELECT GET_LOCK({name}, {PATIENCE_SECONDS})")
            if connection.execute(asked).scalar_one() != 1:
                raise exc.TimeoutError("another writer is at work")
        try:
            with connection.begin():
                yield
        finally:
            _release(connection, text(f"DO RELEASE_LOCK({name})"))

    def texts(self) -> FromClause:
        columns = f"'$[*]' COLUMNS (value VARCHAR({LONGEST_KEY}) {_ALIKE} PATH '$')"
        words = text(f"SELECT value FROM JSON_TABLE(:texts, {columns}) AS given")  # noqa: S608 - ours
        return words.columns(literal_column("value", String)).subquery("wanted")

    def given(self, values: Sequence[str]) -> dict[str, object]:
        return {"texts": json.dumps(values, ensure_ascii=False)}

    def passing(self, problem: exc.DBAPIError) -> bool:
        code = problem.orig.args[0] if problem.orig is not None and problem.orig.args else None
        return problem.connection_invalidated or code in self.again or code == 0


def _release(connection: Connection, words: Any) -> None:
    """Give a lock back; a connection on which that fails is closed, which does the same."""
    if connection.invalidated or connection.closed:
        return
    try:
        with connection.begin():
            connection.execute(words)
    except exc.SQLAlchemyError:
        connection.invalidate()


# InnoDB's keys have at most 3072 bytes, at four a letter.
LONGEST_KEY: Final = 768
_LONGEST_TEXT: Final = 998
# No other letters are alike than equal ones, and blanks at the end count.
_ALIKE: Final = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"


class _MariaTypes(MySQLTypeCompiler):
    """Our types in its words: texts that differ are different, times have microseconds."""

    def visit_VARCHAR(self, type_: Any, **_: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return f"VARCHAR({type_.length or _LONGEST_TEXT}) {_ALIKE}"

    def visit_TEXT(self, type_: Any, **_: Any) -> str:  # noqa: N802, ARG002
        return f"MEDIUMTEXT {_ALIKE}"

    def visit_DATETIME(self, type_: Any, **_: Any) -> str:  # noqa: N802, ARG002
        return "DATETIME(6)"

    def visit_FLOAT(self, type_: Any, **_: Any) -> str:  # noqa: N802, ARG002
        return "DOUBLE"


# 16 MB of pages, so that indices are not read again for every batch; and written back to the
# file after 128 MB of them: a batch changes thousands of pages, and the same ones again and again.
_SQLITE_ROOM: Final = ("cache_size=-16000", "wal_autocheckpoint=32000")


def _sqlite_manners(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it would begin DEFERRED ones, which
    # fail at once, without waiting, where two of them want to write.
    connection.isolation_level = None
    try:
        cursor = connection.cursor()
        _write_ahead(cursor)
        for pragma in ("foreign_keys=ON", *_SQLITE_ROOM):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
    except Exception:  # the file is no database: nobody else will close what was opened
        connection.close()
        raise


def _write_ahead(cursor: DBAPICursor) -> None:
    """Where several open a new file at once, some are refused without the wait they asked for."""
    for pause in _BEFORE_TRYING_AGAIN:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as problem:
            if "locked" not in str(problem):
                raise
            time.sleep(pause)
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


_BEFORE_TRYING_AGAIN: Final = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6)  # seconds


def _sqlite_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("bounced_write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # FULL: what is committed is on the disk. NORMAL: with the next FULL one (WAL keeps the order).
    durable = "NORMAL" if options.get("bounced_hasty", False) else "FULL"
    connection.exec_driver_sql(f"PRAGMA synchronous={durable}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


DIALECTS: Final[Mapping[str, Dialect]] = {
    one.name: one for one in (Sqlite(), Postgresql(), MariaDB())
}


def dialect_of(connection: Connection) -> Dialect:
    """The kind of database behind a connection."""
    return DIALECTS[connection.dialect.name]

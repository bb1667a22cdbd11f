"""Empty databases for tests, and what somebody else's program sees in them.

PostgreSQL and MariaDB are tested where BOUNCED_TEST_POSTGRESQL and BOUNCED_TEST_MARIADB name a
server (see postgresql.py and mariadb.py).
"""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from sqlalchemy import (
    column,
    create_engine,
    exists,
    func,
    literal,
    make_url,
    select,
    table,
    text,
    union_all,
)

from bounced.ledger import Ledger
from bounced.ledger.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Select

SERVERS = {
    kind: os.environ.get(f"BOUNCED_TEST_{kind.upper()}") for kind in ("postgresql", "mariadb")
}
KINDS = ("sqlite", *SERVERS)
_numbers = itertools.count(1)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What somebody else's program sees."""
    engine = create_engine(driver(url))
    try:
        with engine.begin() as connection:
            found = connection.execute(text(query))
            return [tuple(row) for row in found] if found.returns_rows else []
    finally:
        engine.dispose()


def driver(url: str) -> str:
    for kind, name in (("postgresql", "psycopg"), ("mariadb", "pymysql")):
        url = url.replace(f"{kind}://", f"{kind}+{name}://")
    return url


@contextmanager
def empty(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of a kind; on a server it is dropped at the end."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / f'bounced{next(_numbers)}.db'}"
        return
    server = SERVERS[kind]
    if server is None:
        pytest.skip(f"BOUNCED_TEST_{kind.upper()} names no server")
    name = f"test_{os.getpid()}_{next(_numbers)}"
    if kind == "postgresql":
        rows(server, f"CREATE SCHEMA {name}")
        own = make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
        away = f"DROP SCHEMA {name} CASCADE"
    else:
        rows(server, f"CREATE DATABASE {name}")
        own = make_url(server).set(database=name)
        away = f"DROP DATABASE {name}"
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        rows(server, away)


@cache
def empty_ledger() -> bytes:
    """An SQLite ledger with nothing in it: making one takes longer than a sync."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Ledger.open(f"sqlite:///{path}", migrate=True).close()
        return path.read_bytes()


class Ledgers:
    """Databases with an empty ledger in each, made by the migrations once and used again.

    To make one takes a second on a server, to empty one much less. A context manager; at its end
    they are dropped.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: dict[str, list[str]] = {kind: [] for kind in SERVERS}
        self._made = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    @contextmanager
    def lent(self, kind: str, folder: Path) -> Iterator[str]:
        """The URL of one; an SQLite file is a copy in `folder`."""
        if kind == "sqlite":
            path = folder / f"bounced{next(_numbers)}.db"
            path.write_bytes(empty_ledger())
            yield f"sqlite:///{path}"
            return
        free = self._free[kind]
        if not free:
            url = self._made.enter_context(empty(kind, self._folder))
            Ledger.open(url, migrate=True).close()
            free.append(url)
        url = free.pop()
        yield url
        # after a test that failed this is not reached, and nobody gets what it left behind
        _empty_out(url)
        free.append(url)


def _empty_out(url: str) -> None:
    """Take every row away, and begin again to number them."""
    engine = create_engine(driver(url))
    quoted = engine.dialect.identifier_preparer.quote
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                names = ", ".join(quoted(one.name) for one in metadata.sorted_tables)
                connection.execute(text("SET LOCAL lock_timeout = '10s'"))
                connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
                return
            connection.execute(text("SET lock_wait_timeout = 10, foreign_key_checks = 0"))
            for name in _used(connection):
                connection.execute(text(f"TRUNCATE {quoted(name)}"))
    finally:
        engine.dispose()


def _used(connection: Connection) -> set[str]:
    """The tables that hold rows or have numbered some: to truncate one takes its time there."""
    held = (select(literal(one.name)).where(exists(select(one))) for one in metadata.sorted_tables)
    numbered: Select[tuple[str]] = (
        select(column("table_name"))
        .select_from(table("tables", schema="information_schema"))
        .where(column("table_schema") == func.database(), column("auto_increment") > 1)
    )
    return {
        *connection.execute(union_all(*held)).scalars(),
        *connection.execute(numbered).scalars(),
    }

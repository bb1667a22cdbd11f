"""Empty databases for tests, and what somebody else's program sees in them.

PostgreSQL and MariaDB are tested where BOUNCED_TEST_POSTGRESQL and BOUNCED_TEST_MARIADB name a
server (see postgresql.py and mariadb.py).
"""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, make_url, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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

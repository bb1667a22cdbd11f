"""Empty databases for tests, and what somebody else's program sees in them.

PostgreSQL is tested where BOUNCED_TEST_POSTGRESQL names a server (see postgresql.py).
"""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, make_url, text

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = os.environ.get("BOUNCED_TEST_POSTGRESQL")
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
    return url.replace("postgresql://", "postgresql+psycopg://")


@contextmanager
def schema_of_its_own(server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL schema, dropped at the end."""
    schema = f"test_{os.getpid()}_{next(_numbers)}"
    rows(server, f"CREATE SCHEMA {schema}")
    own = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        rows(server, f"DROP SCHEMA {schema} CASCADE")

"""Many rows in one statement, with their numbers known beforehand.

SQLAlchemy writes rows one by one where numbers have to come back, and takes longer over the
parameters of a row than the database over the row. Writers follow one another, so numbers can be
had before the rows are written, and nothing has to come back.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ARRAY, Integer, any_, bindparam, func, select
from sqlalchemy.types import String

from bounced.ledger.tables import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import BindParameter, Column, ColumnElement, Connection, Dialect, Select, Table

    T = TypeVar("T")


def among(connection: Connection, column: Column[T], values: Iterable[T]) -> ColumnElement[bool]:
    """Whether a column is one of many values, as one parameter: the statement stays the same."""
    kind = connection.dialect.name
    return _is_one_of(kind, column, bindparam(None, _sent(kind, values), **_typed(kind, column)))


def wanted(kind: str, column: Column[Any]) -> ColumnElement[bool]:
    """The same in a statement that is made once for a kind of database, and kept.

    To make a statement takes longer than to execute it; its values come from `given`.
    """
    return _is_one_of(kind, column, bindparam("wanted", **_typed(kind, column)))


def given(connection: Connection, values: Iterable[object]) -> dict[str, object]:
    """The parameter of `wanted`."""
    return {"wanted": _sent(connection.dialect.name, values)}


def _is_one_of(kind: str, column: Column[T], parameter: BindParameter[Any]) -> ColumnElement[bool]:
    if kind == "postgresql":
        return column == any_(parameter)
    if kind == "mariadb":
        return column.in_(parameter)  # its driver puts parameters into the text, one or many
    return column.in_(select(func.json_each(parameter).table_valued("value").c.value))


def _typed(kind: str, column: Column[Any]) -> dict[str, Any]:
    if kind == "postgresql":
        return {"type_": ARRAY(column.type)}
    return {"expanding": True} if kind == "mariadb" else {"type_": String}


def _sent(kind: str, values: Iterable[object]) -> object:
    return json.dumps(list(values)) if kind == "sqlite" else list(values)


def new_ids(connection: Connection, table: Table, count: int) -> Sequence[int]:
    """Numbers for new rows, ascending; ours until the end of this writing transaction."""
    if connection.dialect.name == "postgresql":
        return sorted(connection.execute(_next(table), {"count": count}).scalars())
    highest = connection.execute(_highest(table)).scalar() or 0
    return range(highest + 1, highest + 1 + count)


@cache
def _next(table: Table) -> Select[int]:
    sequence = func.nextval(func.pg_get_serial_sequence(table.name, "id"))
    series = func.generate_series(1, bindparam("count", type_=Integer)).table_valued("n")
    return select(sequence).select_from(series)


@cache
def _highest(table: Table) -> Select[int]:
    return select(func.max(table.c.id))


def put(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: str | None = None,
    kept: Iterable[str] = (),
) -> None:
    """Insert rows, all of the same columns; a row whose `key` is there already is replaced.

    `kept` are columns that stay as they are in a row that is replaced.
    """
    if not rows:
        return
    names = tuple(rows[0])
    words = _statement(connection.dialect, table, names, key, frozenset(kept))
    _write(connection, words, table, names, rows)


def replace(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: str,
    kept: Collection[str] = (),
) -> None:
    """The same where all rows are there: SQLite need not look at every index for others like them.

    Rows hold what is kept as well, for databases that have a row inserted before it is replaced.
    """
    if connection.dialect.name != "sqlite" or not rows:
        put(connection, table, rows, key=key, kept=kept)
        return
    names = (*(name for name in rows[0] if name != key and name not in kept), key)
    _write(connection, _update(connection.dialect, table, names), table, names, rows)


def _write(
    connection: Connection,
    words: str,
    table: Table,
    names: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    if connection.dialect.name == "postgresql":
        # psycopg puts arrays together in Python, element by element
        given = json.dumps(rows, default=_zoned, ensure_ascii=False)
        connection.exec_driver_sql(words, (given,))
        return
    columns = list(zip(*map(itemgetter(*names), rows), strict=True))
    for place, name in enumerate(names):
        if isinstance(table.c[name].type, UtcDateTime):
            columns[place] = tuple(map(_utc_text, columns[place]))
    connection.exec_driver_sql(words, list(zip(*columns, strict=True)))


@lru_cache(64)
def _statement(
    dialect: Dialect, table: Table, names: tuple[str, ...], key: str | None, kept: frozenset[str]
) -> str:
    quoted = dialect.identifier_preparer.quote
    into = f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, names))})"
    if dialect.name == "postgresql":
        # all rows in one parameter: the server plans once, and no text grows with the rows
        kinds = (dialect.type_compiler_instance.process(table.c[name].type) for name in names)
        given = ", ".join(f"{quoted(name)} {kind}" for name, kind in zip(names, kinds, strict=True))
        source = f"SELECT * FROM json_to_recordset(%s::json) AS given ({given})"  # noqa: S608 - our own names
    else:
        mark = "%s" if dialect.name == "mariadb" else "?"
        source = f"VALUES ({', '.join([mark] * len(names))})"
    if key is None:
        return f"{into} {source}"
    changed = [quoted(name) for name in names if name != key and name not in kept]
    if dialect.name == "mariadb":
        values = ", ".join(f"{name} = VALUES({name})" for name in changed)
        return f"{into} {source} ON DUPLICATE KEY UPDATE {values}"
    values = ", ".join(f"{name} = excluded.{name}" for name in changed)
    return f"{into} {source} ON CONFLICT ({quoted(key)}) DO UPDATE SET {values}"


@lru_cache(64)
def _update(dialect: Dialect, table: Table, names: tuple[str, ...]) -> str:
    *changed, key = map(dialect.identifier_preparer.quote, names)
    values = ", ".join(f"{name} = ?" for name in changed)
    return f"UPDATE {dialect.identifier_preparer.quote(table.name)} SET {values} WHERE {key} = ?"  # noqa: S608 - our own names


@lru_cache(4096)
def _utc_text(value: datetime | None) -> str | None:
    """As SQLAlchemy writes it for SQLite, several times as fast; a batch has times again."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("the ledger takes aware times only")
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]


def _zoned(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is in no row of ours")
    return f"{_utc_text(value)}+00"

"""Ledgers of every released schema, with rows in them, come up to today's and go back down."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import DateTime, Float, MetaData, Numeric, Table, select
from sqlalchemy.types import Boolean, Integer

from bounced.ledger import schema
from bounced.ledger.engine import Database
from bounced.ledger.tables import HEAD, UtcDateTime

from .conftest import on_the_list, opened

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection

    Rows = dict[str, list[dict[str, Any]]]

REVISIONS = [
    step.revision for step in ScriptDirectory.from_config(schema.config()).walk_revisions()
][::-1]
AT = datetime(2026, 3, 4, 5, 6, 7, 891234, tzinfo=UTC)
# Columns that take some words only.
WORDS = {
    "run.state": "held",
    "message.state": "recorded",
    "judgement.outcome": "hard",
    "replaced_judgement.outcome": "soft",
    "address.status": "hard-bounced",
    "list_standing.status": "hard-bounced",
    "decision.what": "release",
    "incident.scope": "domain",
    "incident.state": "open",
}
NAMED: dict[str, object] = {
    "problems": "[]",
    "events": "[1]",
    "payload": "{}",
    "address": "Ann.Ä@example.com",
    "folded": "ann.ä@example.com",
    # not there where nothing was taken back, and no letter came twice
    "undone_at": None,
    "undone_by": None,
    "duplicate_of": None,
}
OF_KIND: tuple[tuple[type, object], ...] = (
    (DateTime, AT),
    (UtcDateTime, AT),
    (Boolean, True),
    (Integer, 1),
    (Float, 0.25),
    (Numeric, 0.25),
)
AWKWARD = "Änn’s 'quoted' \\ %s 😀 "  # a blank at the end


@pytest.fixture
def url(bare_url: str) -> str:
    """Migrations begin with nothing."""
    return bare_url


def value(table: str, column: Column[Any]) -> object:
    name = column.name
    if name in NAMED or name.endswith("_address"):
        return NAMED.get(name, NAMED["address"])
    if f"{table}.{name}" in WORDS:
        return WORDS[f"{table}.{name}"]
    return next((told for kind, told in OF_KIND if isinstance(column.type, kind)), AWKWARD)


def reflected(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def fill(connection: Connection) -> None:
    """One row in each table, with something in every column."""
    for table in reflected(connection):
        row = {column.name: value(table.name, column) for column in table.c}
        for column in table.c:
            if isinstance(column.type, DateTime):
                column.type = UtcDateTime()
        connection.execute(table.insert(), row)


def contents(connection: Connection) -> Rows:
    found: Rows = {}
    for table in reflected(connection):
        rows = connection.execute(select(table)).mappings()
        found[table.name] = [
            {
                name: cell.replace(tzinfo=None) if isinstance(cell, datetime) else cell
                for name, cell in row.items()
            }
            for row in rows
        ]
    return found


def common(rows: Rows, other: Rows) -> Rows:
    """The same rows, without tables and columns that the other does not have."""
    return {
        name: [{key: row[key] for key in row if key in other[name][0]} for row in those]
        for name, those in rows.items()
        if name in other
    }


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_revision_come_up_to_the_newest_and_down_again(
    url: str, revision: str
) -> None:
    with closing(Database(url)) as database:
        with database.altering() as connection:
            command.upgrade(schema.config(connection), revision)
            fill(connection)
        with database.reading() as connection:
            before = contents(connection)
        with database.altering() as connection:
            command.upgrade(schema.config(connection), "head")
        with database.reading() as connection:
            after = contents(connection)
        assert common(after, before) == before
        with database.altering() as connection:
            command.downgrade(schema.config(connection), revision)
        with database.reading() as connection:
            assert contents(connection) == before


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_the_program_brings_an_older_ledger_up_and_says_from_where(url: str, revision: str) -> None:
    with closing(Database(url)) as database, database.altering() as connection:
        command.upgrade(schema.config(connection), revision)
        fill(connection)
    with opened(url) as ledger:
        assert ledger.upgraded == (revision, HEAD)
        assert set(on_the_list(ledger)) == {"Ann.Ä@example.com"}

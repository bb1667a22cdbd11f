"""A ledger moved into another database, of any kind, whole or not at all.

Everything is written in one transaction, read back, and compared with what was read from the
source before anything is committed: cut off anywhere, the target is as empty as before. Memory
does not grow with the ledger. Nobody writes into either meanwhile.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from bounced.ledger import bulk, schema
from bounced.ledger.engine import CHUNK, Database
from bounced.ledger.errors import LedgerError, LedgerUnavailable, shown, translated
from bounced.ledger.tables import mailbox, metadata

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from sqlalchemy import Connection, Row, Table

    Rows = Sequence[Row[Any]]

_DIGEST_RANGE: Final = 1 << 256


@dataclass(slots=True)
class Contents:
    """How many rows a table holds, and a sum over them that their order does not change."""

    rows: int = 0
    digest: int = 0

    def add(self, rows: Rows) -> None:
        for row in rows:
            one = hashlib.sha256(repr(tuple(row)).encode("utf-8", "surrogatepass")).digest()
            self.digest = (self.digest + int.from_bytes(one)) % _DIGEST_RANGE
        self.rows += len(rows)


@dataclass(frozen=True, slots=True)
class Copied:
    """How far a copy is with one table; `verified` once its rows were read back and are alike."""

    table: str
    rows: int
    verified: bool = False


def transfer(source_url: str, target_url: str) -> Generator[Copied]:
    """Copy a ledger into an empty database; works while it is iterated, and ends with a commit.

    Raises LedgerError where the target is not empty or holds something else afterwards than the
    source, LedgerOutdated where the source's schema is old, and LedgerUnavailable while a sync
    is at work. The source is not changed.
    """
    source = Database(source_url)
    try:
        schema.prepare(source, migrate=False)
        target = Database(target_url)
        try:
            _must_differ(source, target)
            schema.prepare(target, migrate=True)
            with source.writing() as reading, target.writing() as writing:
                _must_rest(source, reading)
                _must_be_empty(target, writing)
                yield from _all_tables(source, reading, target, writing)
        finally:
            target.close()
    finally:
        source.close()


def _all_tables(
    source: Database, reading: Connection, target: Database, writing: Connection
) -> Iterator[Copied]:
    read: dict[str, Contents] = {}
    for table in metadata.sorted_tables:
        read[table.name] = Contents()
        for rows in _copied(table, _rows(source, reading, table), writing):
            read[table.name].add(rows)
            yield Copied(table.name, read[table.name].rows)
        target.dialect.number_on(writing, table)
    for table in metadata.sorted_tables:
        written = Contents()
        for rows in _rows(target, writing, table):
            written.add(rows)
        if written != read[table.name]:
            raise LedgerError(
                f"The table {table.name} of {shown(target.url)} does not hold what was read for "
                f"it ({written.rows} rows of {read[table.name].rows}, or others). All was "
                "taken back, the source is as it was. Please report this"
            )
        yield Copied(table.name, written.rows, verified=True)


def _copied(table: Table, read: Iterator[Rows], writing: Connection) -> Iterator[Rows]:
    """Write a table's rows; those that point to a later row of it do so once that is there."""
    names = [column.name for column in table.c]
    own = [column for column in table.c if column.references(table.c.get("id", column))]
    late: list[tuple[Any, int, int]] = []
    for rows in read:
        told = [dict(zip(names, row, strict=True)) for row in rows]
        for column in own:
            for one in told:
                if one[column.name] is not None and one[column.name] > one["id"]:
                    late.append((column, one["id"], one[column.name]))
                    one[column.name] = None
        bulk.put(writing, table, told)
        yield rows
    for column, number, pointed in late:
        writing.execute(update(table).where(table.c.id == number).values({column.name: pointed}))


def _rows(database: Database, connection: Connection, table: Table) -> Iterator[Rows]:
    """A table's rows in the order of its key, streamed; trouble is told as this database's."""
    query = select(table).order_by(*table.primary_key)
    with (
        translated(database.url, database.dialect),
        connection.execute(query, execution_options={"yield_per": CHUNK}) as found,
    ):
        yield from found.partitions()


def _must_differ(source: Database, target: Database) -> None:
    if source.url == target.url:
        raise LedgerError(
            f"{shown(source.url)} cannot be copied into itself. Nothing was changed. "
            "Name another database, an empty one, as the second"
        )


def _must_rest(source: Database, reading: Connection) -> None:
    """No sync may be at work: it would be cut off from what it has read."""
    now = source.clock(reading)
    busy = select(mailbox.c.name).where(mailbox.c.lease_until > now).order_by(mailbox.c.name)
    name = reading.execute(busy.limit(1)).scalar()
    if name is not None:
        raise LedgerUnavailable(
            f"A sync of the mailbox {name} is at work, or was cut off some minutes ago. Nothing "
            "was changed. Stop what runs (bounced run, cron), wait until bounced status "
            "shows nobody at work, then run the same command again"
        )


def _must_be_empty(target: Database, writing: Connection) -> None:
    for table in metadata.sorted_tables:
        if writing.execute(select(*table.primary_key).limit(1)).first() is not None:
            raise LedgerError(
                f"The database {shown(target.url)} holds a ledger already (its table "
                f"{table.name} is not empty). Nothing was changed. Name an empty database"
            )

"""What is held of a person: handed out whole, or forgotten without a trace but a keyed hash.

Both look through every text of every table, those that are added later too: what names the address
is found wherever it stands. Rows that are the person's own go; in others the address is masked.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, and_, delete, func, or_, select, update

from bounced.ledger.engine import chunks
from bounced.ledger.facts import IMPORTED
from bounced.ledger.tables import (
    Word,
    event,
    judgement,
    list_standing,
    mailbox,
    message,
    metadata,
    moved,
    seen,
    tombstone,
    transition,
)
from bounced.ledger.tables import address as address_table
from bounced.ledger.tombstones import FORGOTTEN
from bounced.smtp import canonical, folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, RowMapping, Table

    from bounced.ledger.book import Ledger

MASK: Final = "(forgotten)"
OWNERS: Final = ("address", "became")  # columns that say whose a row is


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A letter that told of somebody: where it was filed, and how to find it there."""

    mailbox: str
    destination: str | None
    message_id: str | None
    received_at: datetime | None
    raw_sha256: str | None


@dataclass(slots=True)
class Erased:
    """What was forgotten: rows by table, those in which an address was masked, and the letters.

    `former` are the other addresses that the person has had, as far as we were told.
    """

    deleted: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    letters: list[LetterRow] = field(default_factory=list)
    former: list[str] = field(default_factory=list)


class Names:
    """An address in the forms in which texts name it."""

    def __init__(self, address: str) -> None:
        self.folded = folded(address)
        local, _, domain = self.folded.rpartition("@")
        domains = {domain}
        with suppress(UnicodeError):
            domains.add(domain.encode("ascii").decode("idna"))
        hosts = "|".join(map(re.escape, sorted(domains)))
        # for LIKE: whatever stands between local part and domain
        self.patterns = [f"%{_plain(local)}_{_plain(one)}%" for one in sorted(domains)]
        # ann@… is no part of joann@… or of ann@….au; before a name in VERP may stand . or + or -
        self._pattern = re.compile(
            rf"(?:(?<![\w.%+-]){re.escape(local)}@|(?<!\w){re.escape(local)}=)"
            rf"(?:{hosts})(?![\w-]|\.\w)",
            re.IGNORECASE,
        )

    def within(self, text: object) -> bool:
        """Whether a text names it."""
        return isinstance(text, str) and self._pattern.search(text) is not None

    def masked(self, text: str) -> str:
        """The text without it."""
        return self._pattern.sub(MASK, text)

    def is_(self, address: str) -> bool:
        """Whether an address is it, in any spelling."""
        return folded(address) == self.folded


def unkept(ledger: Ledger, run_id: int | None) -> list[str]:
    """The digests of a run's letters that told of who was forgotten: no copy is to be kept."""
    about = message.c.problems.contains(f'"{FORGOTTEN}"')
    query = select(message.c.raw_sha256).where(message.c.run_id == run_id, about)
    with ledger._database.reading() as connection:  # noqa: SLF001
        if connection.execute(select(tombstone.c.digest).limit(1)).first() is None:
            return []
        return list(connection.execute(query).scalars())


def _plain(text: str) -> str:
    """A text as LIKE takes it for itself."""
    return re.sub("([/%_])", r"/\1", text)


def export(ledger: Ledger, address: str) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Every row that is a person's own, with its judgements and letters, by table.

    And in how many rows of other people they are named: those are not theirs to have.
    """
    names = Names(address)
    found: dict[str, list[dict[str, Any]]] = {}
    others = 0
    with ledger._database.reading() as connection:  # noqa: SLF001 - a room of the same house
        for table in metadata.sorted_tables:
            for row in _naming(connection, table, names):
                owners = [row[name] for name in OWNERS if row.get(name)] or [address]
                if any(map(names.is_, owners)):
                    found.setdefault(table.name, []).append(dict(row))
                else:
                    others += 1
        events = found.get(event.name, [])
        for some in chunks(row["id"] for row in events):
            about = select(judgement).where(judgement.c.event_id.in_(some))
            rows = [dict(row) for row in connection.execute(about).mappings()]
            found.setdefault(judgement.name, []).extend(rows)
        letters = found.setdefault(message.name, [])
        known = {row["id"] for row in letters}
        more = sorted({row["message_id"] for row in events} - known)
        for some in chunks(more):
            query = select(message).where(message.c.id.in_(some))
            letters.extend(dict(row) for row in connection.execute(query).mappings())
    return {table: rows for table, rows in found.items() if rows}, others


def forget(ledger: Ledger, address: str, *, at: datetime) -> Erased:
    """Forget a person; what stays is a tombstone, by which they stay forgotten.

    First the tombstone, so that nothing new is recorded; then what is there is looked for, and
    deleted in one transaction. Cut off in between, it is whole when it is called again. The bytes
    are gone from the disk only after `scour`. Raises LedgerError without a pepper; nothing is
    changed then.
    """
    names = Names(address)
    told = Erased()
    ledger._tombstones.look_up()  # noqa: SLF001 - a room of the same house
    with ledger._database.writing() as connection:  # noqa: SLF001
        ledger._tombstones.put(connection, [canonical(address)], at)  # noqa: SLF001
    with ledger._database.reading() as connection:  # noqa: SLF001
        events = _own(connection, event, names)
        told.letters = list(_letters(connection, events))
        imported = _imported(connection, events)
        own = {table: _own(connection, table, names) for table in metadata.sorted_tables}
        told.former = [
            row[name] for row in own[moved] for name in OWNERS if not names.is_(row[name])
        ]
        named = {table: list(_naming(connection, table, names)) for table in metadata.sorted_tables}
    with ledger._database.writing() as connection:  # noqa: SLF001
        let_go(connection, [row["id"] for row in events])
        for table in reversed(metadata.sorted_tables):
            told.deleted[table.name] += _delete(connection, table, own[table], events)
        told.deleted[message.name] += _delete_imported(connection, imported)
        _mark_silent(connection, events, imported)
        for table, rows in named.items():
            told.masked[table.name] += _mask(connection, table, rows, names)
    return told


def lift(ledger: Ledger, address: str) -> bool:
    """Let a forgotten address be recorded and mailed again; whether it was forgotten."""
    ledger._tombstones.look_up()  # noqa: SLF001
    with ledger._database.writing() as connection:  # noqa: SLF001
        return ledger._tombstones.lift(connection, canonical(address))  # noqa: SLF001


def _texts(table: Table) -> list[Any]:
    """The columns that may name somebody: not those of words of ours and of hashes."""
    return [c for c in table.c if isinstance(c.type, String) and c.type is not Word]


def _likely(connection: Connection, table: Table, names: Names) -> ColumnElement[bool] | None:
    """What the database can say of which rows name somebody: a few too many."""
    texts = _texts(table)
    if not texts:
        return None
    if connection.dialect.name != "sqlite":  # whose LIKE knows no case, and whose lower() is slow
        texts = [func.lower(column) for column in texts]
    return or_(*(text.like(form, escape="/") for text in texts for form in names.patterns))


def _naming(connection: Connection, table: Table, names: Names) -> Iterator[RowMapping]:
    likely = _likely(connection, table, names)
    if likely is None:
        return
    for row in connection.execute(select(table).where(likely)).mappings():
        if any(names.within(value) for value in row.values()):
            yield row


def _own(connection: Connection, table: Table, names: Names) -> list[RowMapping]:
    """The rows of a table whose `address` somebody is, or was given up for theirs."""
    columns = [table.c[name] for name in OWNERS if name in table.c]
    if not columns:
        return []
    if names.folded.isascii():
        query = select(table).where(or_(*(func.lower(one) == names.folded for one in columns)))
    else:  # only Python folds all letters alike on every database
        query = select(table).where(or_(*(one.is_not(None) for one in columns)))
    rows = connection.execute(query).mappings()
    return [row for row in rows if any(names.is_(row[one.name] or "") for one in columns)]


def _keys(table: Table) -> list[Any]:
    return list(table.primary_key.columns)


def _delete(
    connection: Connection, table: Table, own: Sequence[RowMapping], events: Sequence[RowMapping]
) -> int:
    """Delete somebody's rows of a table, and what hangs on their events."""
    count = 0
    if "event_id" in table.c and "address" not in table.c:
        for some in chunks(row["id"] for row in events):
            count += connection.execute(delete(table).where(table.c.event_id.in_(some))).rowcount
    for row in own:
        this = and_(*(key == row[key.name] for key in _keys(table)))
        count += connection.execute(delete(table).where(this)).rowcount
    return count


def let_go(connection: Connection, events: Sequence[int]) -> None:
    """Let no standing and no line of the audit name events that are about to be deleted.

    Other people's rest on them too, where a domain was given up.
    """
    for table in (address_table, list_standing, transition):
        for some in chunks(events):
            mine = table.c.event_id.in_(some)
            connection.execute(update(table).where(mine).values(event_id=None))


def _letters(connection: Connection, events: Sequence[RowMapping]) -> Iterator[LetterRow]:
    columns = (
        mailbox.c.name,
        message.c.destination,
        message.c.message_id,
        message.c.received_at,
        message.c.raw_sha256,
    )
    for some in chunks(sorted({row["message_id"] for row in events})):
        query = select(*columns).join(mailbox, mailbox.c.id == message.c.mailbox_id)
        mailed = func.coalesce(message.c.format, "").not_like(f"{IMPORTED}%")
        for row in connection.execute(query.where(message.c.id.in_(some), mailed)):
            yield LetterRow(*row)


def _imported(connection: Connection, events: Sequence[RowMapping]) -> list[str]:
    """The dedup keys of imported lines: a hash without a key, which anyone could try out."""
    keys = [row["dedup_key"] for row in events]
    found: list[str] = []
    for some in chunks(keys):
        query = select(message.c.dedup_key).where(
            message.c.dedup_key.in_(some), message.c.format.like(f"{IMPORTED}%")
        )
        found.extend(connection.execute(query.distinct()).scalars())
    return found


def _delete_imported(connection: Connection, keys: Sequence[str]) -> int:
    count = 0
    for some in chunks(keys):
        mine = message.c.dedup_key.in_(some)
        connection.execute(update(message).where(mine).values(duplicate_of=None))
        connection.execute(delete(seen).where(seen.c.dedup_key.in_(some)))
        count += connection.execute(delete(message).where(mine)).rowcount
    return count


def _mark_silent(
    connection: Connection, events: Sequence[RowMapping], imported: Sequence[str]
) -> None:
    """Say of letters why nothing is on record of them any more, for `bounced audit`."""
    ids = {row["message_id"] for row in events if row["dedup_key"] not in set(imported)}
    for some in chunks(sorted(ids)):
        left = select(event.c.id).where(event.c.message_id == message.c.id).exists()
        this = update(message).where(message.c.id.in_(some), ~left)
        connection.execute(this.values(problems=f'["{FORGOTTEN}"]'))


def _mask(connection: Connection, table: Table, rows: Sequence[RowMapping], names: Names) -> int:
    """Mask the address in what is left of some rows, unless they have changed since."""
    count = 0
    for row in rows:
        texts = {column: row[column.name] for column in _texts(table) if row[column.name]}
        named = {column: text for column, text in texts.items() if names.within(text)}
        same = [column == text for column, text in named.items()]
        this = and_(*(key == row[key.name] for key in _keys(table)), *same)
        changed = {column.name: names.masked(text) for column, text in named.items()}
        count += connection.execute(update(table).where(this).values(**changed)).rowcount
    return count


def scour(ledger: Ledger) -> bool:
    """Take what was deleted off the disk, as far as the database can; whether it could.

    SQLite rewrites its file and empties the write-ahead log; False where another program reads it
    just then. PostgreSQL and MariaDB give space free and overwrite it in time.
    """
    database = ledger._database  # noqa: SLF001
    if not database.sqlite:
        return False
    try:
        with database.bare() as cursor:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (busy, *_) = cursor.fetchone() or (1,)
    except sqlite3.OperationalError:  # locked for longer than we wait
        return False
    return not busy

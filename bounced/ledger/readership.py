"""Who is mailed: people on lists, and the addresses they had before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from bounced.ledger import bulk
from bounced.ledger.errors import LedgerError
from bounced.ledger.rows import SubscriberRow
from bounced.ledger.tables import list_standing, moved, subscriber

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from bounced.ledger.engine import Database
    from bounced.policy import Lists

STREAM = 2000


def rows_of(pairs: Iterable[tuple[str, str]], at: datetime) -> list[dict[str, object]]:
    """Rows of `subscriber` for (address, list) pairs, each once."""
    return [
        {"address": who, "list": name, "imported_at": at, "domain": who.rpartition("@")[2]}
        for who, name in dict.fromkeys(pairs)
    ]


def today(connection: Connection, addresses: Iterable[str]) -> dict[str, str]:
    """What those of some addresses that were given up have become, by the old one."""
    query = select(moved.c.address, moved.c.became)
    found = connection.execute(query.where(bulk.among(connection, moved.c.address, addresses)))
    return {old: new for old, new in found}  # noqa: C416 - rows are no dict


def rename(connection: Connection, old: str, new: str, *, by: str, at: datetime) -> list[str]:
    """Let a subscriber have another address on all of their lists; these, in order.

    What is on record of either address stays where it is: the old one may be dead, the new one is
    not. Raises LedgerError where the old one is on no list.
    """
    mine = subscriber.c.address == old
    query = select(subscriber.c.list).where(mine).order_by(subscriber.c.list)
    lists = list(connection.execute(query).scalars())
    if not lists:
        raise LedgerError(
            f"The address {old} is on no list. Nothing was changed. To see what is known of it, "
            f"type: bounced explain {old}"
        )
    there = select(subscriber.c.list).where(subscriber.c.address == new)
    known = set(connection.execute(there).scalars())
    added = rows_of(((new, name) for name in lists if name not in known), at)
    connection.execute(delete(subscriber).where(mine))
    bulk.put(connection, subscriber, added)
    # who comes back to an address has not given it up
    connection.execute(delete(moved).where(moved.c.address.in_((old, new))))
    connection.execute(update(moved).where(moved.c.became == old).values(became=new))
    bulk.put(connection, moved, [{"address": old, "became": new, "at": at, "by": by}])
    return lists


def exported(database: Database, name: str | None) -> Iterator[SubscriberRow]:
    """Everybody on the lists (or on one), by address and list, streamed."""
    columns = (subscriber.c[part] for part in SubscriberRow.__dataclass_fields__)
    query = select(*columns).order_by(subscriber.c.address, subscriber.c.list)
    if name is not None:
        query = query.where(subscriber.c.list == name)
    with database.reading() as connection:
        streaming = connection.execution_options(yield_per=STREAM)
        with streaming.execute(query) as found:
            for row in found:
                yield SubscriberRow(*row)


def is_list(connection: Connection, lists: Lists, name: str) -> bool:
    """Whether anybody has named a list: the configuration, an import of subscribers, a report."""
    if name in lists.names:
        return True
    for table in (list_standing, subscriber):
        query = select(table.c.address).where(table.c.list == name).limit(1)
        if connection.execute(query).first() is not None:
            return True
    return False


def named_by_reports_alone(connection: Connection, lists: Lists) -> list[str]:
    """Lists with standings of their own that neither configuration nor subscribers name."""
    told = set(connection.execute(select(list_standing.c.list).distinct()).scalars())
    return sorted(
        name
        for name in told - lists.names
        if connection.execute(select(subscriber).where(subscriber.c.list == name).limit(1)).first()
        is None
    )

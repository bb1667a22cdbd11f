"""Suppressions that end by themselves: noted in the audit, and told, once they are over.

Whoever asks the list knows an end by the time. This is for those who keep what they were told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, select, union, update

from bounced.ledger import bulk, outbox, standings
from bounced.ledger.engine import CHUNK
from bounced.ledger.tables import address, list_standing, transition
from bounced.model import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, RowMapping, Table

# Who is said to have ended them.
BY: Final = "expiry"


def some_over(connection: Connection, at: datetime) -> list[str]:
    """Addresses with suppressions, on all lists or on one, that had ended by a time."""
    either = union(
        *(select(table.c.address).where(_over(table, at)) for table in (address, list_standing))
    ).subquery()
    return list(connection.execute(select(either.c.address).limit(CHUNK)).scalars())


def end(
    connection: Connection, judge: standings.Judge, addresses: Sequence[str], at: datetime
) -> int:
    """Note the ends of suppressions of some addresses, dated to when each ended; how many.

    Whom today's policy would suppress for longer is suppressed again thereby, and that is noted
    too: it is what readers of the list have seen.
    """
    ended = []
    for table in (address, list_standing):
        these = _over(table, at) & bulk.among(connection, table.c.address, addresses)
        ended += [_ended(row) for row in connection.execute(select(table).where(these)).mappings()]
        if table is address:
            connection.execute(update(address).where(these).values(suppressed=False))
        else:
            connection.execute(delete(list_standing).where(these))
    bulk.put(connection, transition, ended)
    about = [outbox.told(change) for change in ended]
    outbox.announce(connection, judge.subscriptions, NoticeKind.RELEASED, about, at)
    standings.settle(connection, judge, standings.Occasion(at, BY), addresses)
    return len(ended)


def _over(table: Table, at: datetime) -> ColumnElement[bool]:
    return (table.c.expires_at <= at) & table.c.suppressed


def _ended(row: RowMapping) -> dict[str, Any]:
    same = {name: row[name] for name in ("address", "reason", "rule", "policy_version", "event_id")}
    return {
        **same,
        "list": row.get("list", ""),
        "at": row["expires_at"],
        "from_status": row["status"],
        "to_status": row["status"],
        "from_suppressed": True,
        "to_suppressed": False,
        "because": f"{row['because']} The suppression ended on {row['expires_at']:%Y-%m-%d}.",
        "run_id": None,
        "actor": BY,
    }

"""The books balanced: what became of every letter, and a second look at those in quarantine.

Functions over a `Ledger`; each is one transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, func, select, update

from bounced.ledger.retention import PURGED
from bounced.ledger.tables import event, judgement, mailbox, message, seen
from bounced.ledger.tombstones import FORGOTTEN
from bounced.model import Destination, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from bounced.ledger.book import Ledger
    from bounced.model import Reading, Recorded, Visit


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the letters of one mailbox, counted from the ledger.

    `fetched` is all that were recorded; `judged` told of failed deliveries; `other` were
    understood and tell of none; `set_aside` nobody recognised; `quarantined` could not be read.
    `unfiled` are recorded and have not been seen to leave their folder; `leaving` counts them by
    destination, `piles` what has left it. What must not be is counted in `without_event` (a judged
    letter of which nothing is on record) and `without_judgement` (events nobody judged).
    """

    mailbox: str
    fetched: int
    judged: int
    other: int
    set_aside: int
    quarantined: int
    unfiled: int
    piles: dict[Destination, int]
    leaving: dict[Destination, int]
    without_event: int
    without_judgement: int

    @property
    def balanced(self) -> bool:
        """Whether every letter is accounted for."""
        parts = self.judged + self.other + self.set_aside + self.quarantined
        return self.fetched == parts and not (self.without_event or self.without_judgement)


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A letter that could not be read: where it was, its bytes' hex digest, and why."""

    message_id: int
    mailbox: str
    epoch: int
    uid: int
    raw_sha256: str
    received_at: datetime | None
    problems: tuple[str, ...]


_RECORDED = message.c.state.in_(("recorded", "filed"))


def balances(ledger: Ledger) -> list[Balance]:
    """One balance for each mailbox on record, by name."""
    with ledger._database.reading() as connection:  # noqa: SLF001 - a room of the same house
        return [
            _balance(row, connection)
            for row in connection.execute(select(mailbox.c.id, mailbox.c.name).order_by("name"))
        ]


def _balance(whose: Any, connection: Any) -> Balance:
    mine = and_(message.c.mailbox_id == whose.id, _RECORDED)
    pile = message.c.destination
    understood = pile == Destination.PROCESSED.value
    bounce = message.c.kind == Kind.BOUNCE.value
    filed = message.c.state == "filed"
    columns = {
        "fetched": func.count(),
        "judged": _count(and_(understood, bounce)),
        "other": _count(and_(understood, message.c.kind != Kind.BOUNCE.value)),
        "set_aside": _count(pile == Destination.UNRECOGNISED.value),
        "quarantined": _count(pile == Destination.QUARANTINE.value),
        "unfiled": _count(~filed),
        **{one.value: _count(and_(filed, pile == one.value)) for one in Destination},
        **{f"to_{one.value}": _count(and_(~filed, pile == one.value)) for one in Destination},
    }
    counted = [column.label(f"n_{name}") for name, column in columns.items()]
    found = connection.execute(select(*counted).where(mine)).one()
    numbers = {name: int(count or 0) for name, count in zip(columns, found, strict=True)}
    told = select(event.c.id).where(event.c.message_id == message.c.id).exists()
    # a duplicate tells nothing new, and a bounce of nobody is set aside
    # by the key, which has an index, and then by the letter, which has none
    same = (seen.c.dedup_key == message.c.dedup_key) & (seen.c.message_id == message.c.id)
    first = select(seen.c.dedup_key).where(same).exists()
    erased = message.c.problems.contains(f'"{FORGOTTEN}"') | message.c.problems.contains(
        f'"{PURGED}"'
    )
    silent = select(func.count()).where(mine, understood, bounce, first, ~told, ~erased)
    judged = select(judgement.c.event_id).where(judgement.c.event_id == event.c.id).exists()
    unjudged = select(func.count()).select_from(event)
    unjudged = unjudged.join(message, message.c.id == event.c.message_id).where(mine, ~judged)
    piles = {one: numbers.pop(one.value) for one in Destination}
    leaving = {one: numbers.pop(f"to_{one.value}") for one in Destination}
    return Balance(
        whose.name,
        **numbers,
        piles=piles,
        leaving=leaving,
        without_event=connection.execute(silent).scalar_one(),
        without_judgement=connection.execute(unjudged).scalar_one(),
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((condition, 1), else_=0))


def quarantined(ledger: Ledger, name: str) -> list[QuarantinedRow]:
    """The letters of a mailbox that could not be read, in the order in which they were met."""
    return _rows(ledger, name, message.c.destination == Destination.QUARANTINE.value)


def piles(ledger: Ledger, name: str, digests: Sequence[str]) -> dict[str, Destination]:
    """Where recorded letters of a mailbox belong, by the hex SHA-256 of their bytes."""
    query = (
        select(message.c.raw_sha256, message.c.destination)
        .join(mailbox, mailbox.c.id == message.c.mailbox_id)
        .where(mailbox.c.name == name, _RECORDED, message.c.raw_sha256.in_(list(digests)))
    )
    with ledger._database.reading() as connection:  # noqa: SLF001
        return {digest: Destination(pile) for digest, pile in connection.execute(query)}


def _rows(ledger: Ledger, name: str, condition: ColumnElement[bool]) -> list[QuarantinedRow]:
    columns = (message.c.id, mailbox.c.name, message.c.epoch, message.c.uid)
    more = (message.c.raw_sha256, message.c.received_at, message.c.problems)
    query = (
        select(*columns, *more)
        .join(mailbox, mailbox.c.id == message.c.mailbox_id)
        .where(mailbox.c.name == name, _RECORDED, condition)
        .order_by(message.c.id)
    )
    with ledger._database.reading() as connection:  # noqa: SLF001
        return [
            QuarantinedRow(*row[:-1], problems=tuple(json.loads(row.problems)))
            for row in connection.execute(query)
        ]


def record_again(
    ledger: Ledger, visit: Visit, row: QuarantinedRow, reading: Reading, *, at: datetime
) -> Recorded:
    """Record what a quarantined letter says now that it can be read, as if it were met today.

    One transaction: the row of its quarantine gives way to the new reading, under its old place
    and number. Raises LeaseLost and LedgerUnavailable; nothing is changed then.
    """
    mine = mailbox.c.id == visit.mailbox_id
    with ledger._database.writing() as connection:  # noqa: SLF001
        place = connection.execute(select(mailbox.c.epoch, mailbox.c.last_uid).where(mine)).one()
        # the letter may be of an earlier numbering; nobody sees the old one come back for a moment
        connection.execute(update(mailbox).where(mine).values(epoch=row.epoch))
        this = update(message).where(message.c.id == row.message_id)
        state = select(message.c.state).where(message.c.id == row.message_id)
        before = connection.execute(state).scalar_one()
        connection.execute(this.values(state="tried"))
        connection.execute(delete(seen).where(seen.c.message_id == row.message_id))
        done = ledger._visits.record(connection, visit, [reading], at=at)  # noqa: SLF001
        # a letter that has not left its folder yet is moved by the next sync, to its new pile
        connection.execute(this.values(state=before))
        connection.execute(
            update(mailbox).where(mine).values(epoch=place.epoch, last_uid=place.last_uid)
        )
    return done

"""A sync tried out: recorded as a real one would be, looked at, and taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from bounced.ledger.engine import chunks
from bounced.ledger.reading import held
from bounced.ledger.tables import mailbox, message, newly_suppressed, transition
from bounced.ledger.visits import DONE
from bounced.model import Foretold, Recorded, Rehearsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from bounced.ledger.engine import Database
    from bounced.ledger.standings import Judge
    from bounced.ledger.visits import Visits
    from bounced.model import Held, Reading, Visit


def attempts(connection: Connection, name: str, epoch: int, uids: Sequence[int]) -> dict[int, int]:
    """Those of the UIDs of a mailbox that are not recorded, with how often each was tried."""
    known: dict[int, tuple[str, int]] = {}
    for some in chunks(uids):
        query = (
            select(message.c.uid, message.c.state, message.c.attempts)
            .join(mailbox, mailbox.c.id == message.c.mailbox_id)
            .where(mailbox.c.name == name, message.c.epoch == epoch, message.c.uid.in_(some))
        )
        known.update((uid, (state, tried)) for uid, state, tried in connection.execute(query))
    unknown = ("", 0)
    return {
        uid: known.get(uid, unknown)[1] for uid in uids if known.get(uid, unknown)[0] not in DONE
    }


def rehearse(  # noqa: PLR0913, PLR0917 - a sync's whole way in one call
    database: Database,
    visits: Visits,
    name: str,
    epoch: int,
    batches: Iterable[Sequence[Reading]],
    at: datetime,
) -> Rehearsed:
    """See `bounced.sync.Rehearsing.rehearse`. Whether another sync is at work does not matter."""
    visits = replace(visits)  # what it remembers of a run must not outlive one that never was
    total = Recorded()
    with database.rehearsing() as connection:
        connection.execute(update(mailbox).where(mailbox.c.name == name).values(lease_owner=None))
        before = connection.execute(select(func.max(transition.c.id))).scalar() or 0
        visit = visits.begin(connection, name, owner="rehearsal:0", at=at)
        assert visit is not None  # noqa: S101 - the lease was taken from whoever held it
        visits.select(connection, visit, epoch)
        for readings in batches:
            total = _sum(total, visits.record(connection, visit, readings, at=at))
        changes = _changes(connection, before)
        waiting = _waiting(connection, visits.judge, visit, at) if total.held else ()
    return Rehearsed(total, changes, waiting)


def _sum(one: Recorded, other: Recorded) -> Recorded:
    return Recorded(
        one.events + other.events,
        one.duplicates + other.duplicates,
        one.suppressed + other.suppressed,
        one.released + other.released,
        other.held or one.held,
        one.incidents + other.incidents,
        one.alarms + other.alarms,
    )


def _changes(connection: Connection, before: int) -> tuple[Foretold, ...]:
    """What all transitions after one amount to, by address and list, in order."""
    query = select(transition).where(transition.c.id > before)
    first: dict[tuple[str, str], Any] = {}
    last: dict[tuple[str, str], Any] = {}
    for row in connection.execute(query.order_by(transition.c.id)):
        first.setdefault((row.address, row.list), row)
        last[row.address, row.list] = row
    told = (
        Foretold(
            row.address,
            first[key].from_status,
            row.to_status,
            first[key].from_suppressed,
            row.to_suppressed,
            row.rule,
            row.because,
            row.list,
        )
        for key, row in sorted(last.items())
    )
    return tuple(
        one
        for one in told
        if (one.from_status, one.from_suppressed) != (one.to_status, one.to_suppressed)
    )


def _waiting(connection: Connection, judge: Judge, visit: Visit, at: datetime) -> tuple[Held, ...]:
    query = select(newly_suppressed.c.address).where(newly_suppressed.c.run_id == visit.run_id)
    everyone = connection.execute(query.order_by(newly_suppressed.c.address)).scalars().all()
    return tuple(
        one for some in chunks(everyone) for one in held(connection, judge, visit.run_id, some, at)
    )

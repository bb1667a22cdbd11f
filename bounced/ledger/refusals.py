"""Refusals of us as senders, for those who send: grouped, counted, with the page to go to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from bounced import alarms
from bounced.ledger.rows import AlarmRow
from bounced.ledger.tables import event, judgement, message, run
from bounced.model import Fault, Outcome, Reason

if TYPE_CHECKING:
    from datetime import datetime

    from bounced.ledger.engine import Database

STREAM = 2000


@dataclass(slots=True)
class _Group:
    count: int
    first_at: datetime
    last_at: datetime
    said: str
    page: str | None

    def add(self, at: datetime, said: str) -> None:
        self.count += 1
        self.first_at = min(self.first_at, at)
        if at >= self.last_at:
            self.last_at, self.said = at, said


def since(database: Database, at: datetime) -> list[AlarmRow]:
    """Who has refused us since a time, and what of ours: most urgent first, then most often."""
    query = (
        select(
            event.c.provider,
            event.c.domain,
            event.c.diagnostic,
            event.c.occurred_at,
            judgement.c.reason,
            message.c.returned_from,
        )
        .join(judgement, judgement.c.event_id == event.c.id)
        .join(message, message.c.id == event.c.message_id)
        .join(run, run.c.id == event.c.run_id)
        # what was reported since then was read since then: runs are few, and events found by them
        .where((run.c.finished_at >= at) | run.c.finished_at.is_(None))
        .where(event.c.occurred_at >= at)
        .where(
            (judgement.c.outcome == Outcome.BLOCKED.value)
            & judgement.c.fault.in_((Fault.SENDER.value, Fault.MESSAGE.value))
            | judgement.c.reason.in_(sorted(alarms.AT_ONCE))
        )
    )
    groups: dict[tuple[str, str, str | None, str | None], _Group] = {}
    with database.reading() as connection:
        streaming = connection.execution_options(yield_per=STREAM)
        with streaming.execute(query) as found:
            for provider, domain, said, when, reason, sender in found:
                name, page = alarms.named(said, provider)
                what = alarms.ours(said, Reason(reason), sender)
                key = provider or domain, reason, name, what
                if key in groups:
                    groups[key].add(when, said)
                else:
                    groups[key] = _Group(1, when, when, said, page)
    rows = [
        AlarmRow(who, what, reason, name, one.count, one.first_at, one.last_at, one.page, one.said)
        for (who, reason, name, what), one in groups.items()
    ]
    return sorted(rows, key=lambda row: (row.reason not in alarms.AT_ONCE, -row.count, row.who))

"""Refusals of us as senders, for those who send: grouped, counted, with the page to go to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from bounced import alarms
from bounced.ledger.rows import AlarmRow
from bounced.ledger.tables import event, judgement, message, run
from bounced.model import Outcome, Reason
from bounced.policy import BLAMELESS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from bounced.ledger.engine import Database
    from bounced.model import Verdict

STREAM = 2000


class Refusal(NamedTuple):
    """One refusal of us: by whom, in which words, when, why; `sender` is our own From."""

    provider: str | None
    domain: str
    said: str
    at: datetime
    reason: str
    sender: str | None

    @property
    def who(self) -> str:
        return self.provider or self.domain


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
        .where(_refuses_us())
    )
    with database.reading() as connection:
        streaming = connection.execution_options(yield_per=STREAM)
        with streaming.execute(query) as found:
            return _grouped(starmap(Refusal, found))


def news(connection: Connection, refused: Iterable[Refusal], at: datetime) -> list[AlarmRow]:
    """Who has begun to refuse us, and for what, by refusals that are about to be written.

    What is old is no news, and neither is what the same receiver said for the same reason in the
    time before (`alarms.FRESH`).
    """
    since = at - alarms.FRESH
    fresh = [one for one in refused if one.at >= since]
    if not fresh:
        return []
    query = (
        select(event.c.provider, event.c.domain, judgement.c.reason)
        .join(judgement, judgement.c.event_id == event.c.id)
        .where(event.c.occurred_at >= since, _refuses_us())
        .where(
            event.c.domain.in_({one.domain for one in fresh})
            | event.c.provider.in_({one.provider for one in fresh if one.provider})
        )
    )
    known = {(provider or domain, reason) for provider, domain, reason in connection.execute(query)}
    return _grouped(one for one in fresh if (one.who, one.reason) not in known)


def refuses_us(verdict: Verdict) -> bool:
    """Whether what was concluded is a refusal of us as senders, as `_refuses_us` has it."""
    blocked = verdict.outcome is Outcome.BLOCKED and verdict.fault in BLAMELESS
    return blocked or verdict.reason in alarms.AT_ONCE


def _refuses_us() -> ColumnElement[bool]:
    return (judgement.c.outcome == Outcome.BLOCKED.value) & judgement.c.fault.in_(
        sorted(BLAMELESS)
    ) | judgement.c.reason.in_(sorted(alarms.AT_ONCE))


def _grouped(refused: Iterable[Refusal]) -> list[AlarmRow]:
    groups: dict[tuple[str, str, str | None, str | None], _Group] = {}
    for one in refused:
        name, page = alarms.named(one.said, one.provider)
        what = alarms.ours(one.said, Reason(one.reason), one.sender)
        key = one.who, one.reason, name, what
        if key in groups:
            groups[key].add(one.at, one.said)
        else:
            groups[key] = _Group(1, one.at, one.at, one.said, page)
    rows = [
        AlarmRow(who, what, reason, name, one.count, one.first_at, one.last_at, one.page, one.said)
        for (who, reason, name, what), one in groups.items()
    ]
    return sorted(rows, key=lambda row: (row.reason not in alarms.AT_ONCE, -row.count, row.who))

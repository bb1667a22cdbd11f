"""The reading side: questions people and other programs ask, answered without changing anything.

Lists that may be long are streamed: a million rows cost no more memory than a thousand.
"""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bounced.ledger import facts, rulings, visits
from bounced.ledger.counting import if_accepted
from bounced.ledger.engine import chunks
from bounced.ledger.rows import (
    AddressHistory,
    EventFacts,
    EventRow,
    HoldRow,
    MailboxRow,
    SuppressedRow,
    TransitionRow,
    UndeterminedRow,
)
from bounced.ledger.standings import LEFT_OUT, load
from bounced.ledger.tables import (
    address,
    decision,
    event,
    judgement,
    list_standing,
    mailbox,
    message,
    moved,
    newly_suppressed,
    release,
    run,
    subscriber,
    transition,
)
from bounced.model import Held, Outcome, Reason, Release, Standing, Status
from bounced.smtp import canonical, folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from bounced.domains import Ruling
    from bounced.ledger.engine import Database
    from bounced.ledger.standings import Judge

STREAM = 2000


def suppressed_at(at: datetime) -> Select[Any]:
    """What the view says, but at a time of the caller's; the columns of SuppressedRow in order."""
    lasts = address.c.expires_at.is_(None) | (address.c.expires_at > at)
    return (
        select(
            address.c.address,
            address.c.status,
            address.c.reason,
            address.c.since,
            address.c.expires_at,
            address.c.rule,
            address.c.because,
            event.c.diagnostic,
            address.c.last_event_at,
        )
        .outerjoin(event, event.c.id == address.c.event_id)
        .where(address.c.suppressed, lasts)
    )


def suppressed_on_lists(at: datetime, on: str | None) -> Select[Any]:
    """What single lists (or the one) have of their own; the columns of SuppressedRow in order."""
    own = list_standing.c
    lasts = own.expires_at.is_(None) | (own.expires_at > at)
    query = (
        select(
            *(own[name] for name in ("address", "status", "reason", "since", "expires_at")),
            own.rule,
            own.because,
            event.c.diagnostic,
            address.c.last_event_at,
            own.list,
        )
        .join(address, address.c.address == own.address)
        .outerjoin(event, event.c.id == own.event_id)
        .where(own.suppressed, lasts)
    )
    return query if on is None else query.where(own.list == on)


def suppressed(database: Database, at: datetime, on: str | None) -> Iterator[SuppressedRow]:
    """The suppression list at a time, by address; with `on` what holds on that list."""
    everywhere = suppressed_at(at).order_by(address.c.address)
    own = suppressed_on_lists(at, on).order_by(list_standing.c.address, list_standing.c.list)
    with database.reading() as connection:
        streaming = connection.execution_options(yield_per=STREAM)
        few = (SuppressedRow(*row) for row in connection.execute(own).all())
        with streaming.execute(everywhere) as found:
            many = (SuppressedRow(*row) for row in found)
            yield from merge(many, few, key=attrgetter("address"))


def check(
    database: Database, judge: Judge, addresses: Iterable[str], at: datetime, on: str | None
) -> Iterator[tuple[str, SuppressedRow | None]]:
    """Each address as given, in order, with its line of the suppression list if it has one."""
    for some in chunks(addresses):
        wanted = {given: folded(given) for given in some}
        with database.reading() as connection:
            query = suppressed_at(at).where(address.c.folded.in_(list(set(wanted.values()))))
            own = suppressed_on_lists(at, on)
            own = own.where(list_standing.c.folded.in_(list(set(wanted.values()))))
            # what holds on all lists comes last, and wins
            rows = (SuppressedRow(*row) for one in (own, query) for row in connection.execute(one))
            found = {folded(row.address): row for row in rows}
            dead = rulings.in_force(connection, {_domain(one) for one in wanted.values()})
            heard = _heard(connection, wanted.values()) if dead else set()
        for given in some:
            whose = wanted[given]
            ruling = None if whose in heard or judge.spares(whose) else dead.get(_domain(whose))
            row = None if ruling is None else _as_row(canonical(given), ruling)
            yield given, found.get(whose, row)


def _domain(whose: str) -> str:
    return whose.rpartition("@")[2]


def _heard(connection: Connection, matched: Iterable[str]) -> set[str]:
    """Those of some folded addresses of which there is a row, and so a word of their own."""
    query = select(address.c.folded).where(address.c.folded.in_(list(set(matched))))
    return set(connection.execute(query).scalars())


def _as_row(whose: str, ruling: Ruling) -> SuppressedRow:
    """A line for an address of which nothing is on record but that its domain is dead."""
    status = Status.HARD_BOUNCED.value
    words = ruling.rule, ruling.because, None, None
    return SuppressedRow(whose, status, ruling.reason.value, ruling.since, None, *words)


def recent(connection: Connection, limit: int) -> list[EventRow]:
    """The last events recorded, newest first."""
    # chosen before anything is joined: MariaDB would join them all and sort that
    last = select(event.c.id).order_by(event.c.id.desc()).limit(limit).subquery()
    query = (
        select(
            event.c.address,
            judgement.c.outcome,
            judgement.c.reason,
            event.c.diagnostic,
            event.c.occurred_at,
            mailbox.c.name,
            judgement.c.rule,
        )
        .join(last, last.c.id == event.c.id)
        .join(judgement, judgement.c.event_id == event.c.id)
        .join(message, message.c.id == event.c.message_id)
        .join(mailbox, mailbox.c.id == message.c.mailbox_id)
        .order_by(event.c.id.desc())
    )
    return [EventRow(*row) for row in connection.execute(query)]


def undetermined(database: Database, below: float) -> Iterator[UndeterminedRow]:
    """Failed deliveries whose cause was not understood, or judged less surely; oldest first."""
    unsure = (judgement.c.reason == Reason.UNDETERMINED.value) | (judgement.c.confidence < below)
    query = (
        select(
            event.c.address,
            event.c.recipient,
            event.c.diagnostic,
            judgement.c.outcome,
            judgement.c.reason,
            judgement.c.confidence,
            judgement.c.rule,
            event.c.remote_mta,
        )
        .join(judgement, judgement.c.event_id == event.c.id)
        .where(judgement.c.outcome != Outcome.NONE.value, unsure)
        .order_by(event.c.id)
    )
    with database.reading() as connection:
        streaming = connection.execution_options(yield_per=STREAM)
        with streaming.execute(query) as found:
            for row in found:
                yield UndeterminedRow(*row)


def explain(connection: Connection, given: str, judge: Judge, now: datetime) -> AddressHistory:
    """All that is on record of an address, oldest first.

    Where nothing is on record of the very spelling that was asked for, but of one that differs
    in case, that one is told.
    """
    asked = canonical(given)
    same = select(address).where(address.c.folded == folded(given)).order_by(address.c.address)
    found = {row.address: row for row in connection.execute(same)}
    row = found.get(asked) or next(iter(found.values()), None)
    whose = asked if row is None else row.address
    lists = select(subscriber.c.list).where(subscriber.c.address.in_({asked, *found})).distinct()
    own = select(list_standing).where(list_standing.c.address == whose)
    became = select(moved.c.became).where(moved.c.address == whose)
    before = select(moved.c.address).where(moved.c.became == whose).order_by(moved.c.at)
    return AddressHistory(
        address=whose,
        standing=None if row is None else _standing(row, now),
        events=tuple(_events(connection, whose, judge)),
        transitions=tuple(_transitions(connection, whose)),
        releases=tuple(_releases(connection, whose)),
        lists=tuple(connection.execute(lists.order_by(subscriber.c.list)).scalars()),
        became=connection.execute(became).scalar(),
        before=tuple(connection.execute(before).scalars()),
        on_lists={row.list: _standing(row, now) for row in connection.execute(own)},
        spellings=tuple(other for other in found if other != whose),
    )


def _standing(row: Any, now: datetime) -> Standing:
    lasts = row.expires_at is None or row.expires_at > now
    return Standing(
        status=Status(row.status),
        suppressed=row.suppressed and lasts,
        reason=None if row.reason is None else Reason(row.reason),
        since=row.since,
        expires_at=row.expires_at,
        score=row.score,
        rule=row.rule,
        because=row.because,
        events=() if row.event_id is None else (row.event_id,),
    )


def _events(connection: Connection, whose: str, judge: Judge) -> Iterator[EventFacts]:
    query = (
        select(
            *(event.c[name] for name in _FACTS),
            mailbox.c.name.label("mailbox"),
            event.c.occurred_at.label("at"),
            message.c.reporting_mta,
            message.c.message_id,
            message.c.returned_message_id,
            *(judgement.c[name] for name in _CONCLUSIONS),
            run.c.state.not_in(sorted(LEFT_OUT)).label("counts"),
        )
        .join(judgement, judgement.c.event_id == event.c.id)
        .join(message, message.c.id == event.c.message_id)
        .join(mailbox, mailbox.c.id == message.c.mailbox_id)
        .join(run, run.c.id == event.c.run_id)
        .where(event.c.address == whose)
        .order_by(event.c.occurred_at, event.c.id)
    )
    entries = load(connection, [whose])[whose].entries
    waits = {entry.event.id: entry.incident for entry in entries if entry.waits}
    for row in connection.execute(query).mappings():
        trusted = judge.trusts(row["trust"])
        incident = waits.get(row["id"])
        counts = bool(row["counts"]) and incident is None
        more = {"counts": counts, "trusted": trusted, "incident": incident}
        yield EventFacts(**{**row, **more})


_FACTS = (
    "id",
    "kind",
    "action",
    "recipient",
    "original_address",
    "status",
    "reply_code",
    "reply_status",
    "command",
    "diagnostic",
    "diagnostic_type",
    "remote_mta",
    "run_id",
    "trust",
    "list",
)
_CONCLUSIONS = (
    "outcome",
    "reason",
    "fault",
    "confidence",
    "rule",
    "because",
    "rules_version",
)


def _transitions(connection: Connection, whose: str) -> Iterator[TransitionRow]:
    columns = [transition.c[name] for name in TransitionRow.__dataclass_fields__]
    query = select(*columns).where(transition.c.address == whose).order_by(transition.c.id)
    for row in connection.execute(query).mappings():
        yield TransitionRow(**{**row, "events": tuple(json.loads(row["events"]))})


def _releases(connection: Connection, whose: str) -> Iterator[Release]:
    query = (
        select(release.c.at, release.c.by, release.c.note, decision.c.undone_at)
        .outerjoin(decision, decision.c.id == release.c.decision_id)
        .where(release.c.address == whose)
    )
    for row in connection.execute(query.order_by(release.c.id)):
        yield Release(*row)


def holds(connection: Connection) -> list[HoldRow]:
    """The runs that wait for a person's word, oldest first."""
    mine = newly_suppressed.c.run_id == run.c.id
    newly = select(func.count()).select_from(newly_suppressed).where(mine)
    events = select(func.count()).select_from(event).where(event.c.run_id == run.c.id)
    query = (
        select(
            run.c.id,
            mailbox.c.name,
            run.c.started_at,
            newly.scalar_subquery(),
            events.scalar_subquery(),
            run.c.finished_at.is_not(None),
        )
        .join(mailbox, mailbox.c.id == run.c.mailbox_id)
        .where(run.c.state == "held")
        .order_by(run.c.id)
    )
    return [
        HoldRow(run_id, name, at, newly_, events_, bool(finished))
        for run_id, name, at, newly_, events_, finished in connection.execute(query)
    ]


def waiting(database: Database, judge: Judge, run_id: int | None) -> Iterator[Held]:
    """Whom held runs would newly suppress, and why, by run and address."""
    columns = newly_suppressed.c.run_id, newly_suppressed.c.address
    query = select(*columns).join(run, run.c.id == newly_suppressed.c.run_id)
    query = query.where(run.c.state == "held").order_by(*columns)
    if run_id is not None:
        query = query.where(run.c.id == run_id)
    with database.reading() as connection:
        streaming = connection.execution_options(yield_per=STREAM)
        with streaming.execute(query) as found:
            for number, rows in groupby(found, key=attrgetter("run_id")):
                for some in chunks(row.address for row in rows):
                    with database.reading() as another:
                        now = database.clock(another)
                        yield from held(another, judge, number, some, now)


def held(
    connection: Connection, judge: Judge, run_id: int, addresses: Sequence[str], now: datetime
) -> list[Held]:
    """Why a run would suppress each of some addresses, in their order."""
    found = []
    for whose, (name, would) in if_accepted(connection, judge, addresses, run_id, now).items():
        words = would.reason and would.reason.value, would.rule, would.because
        found.append(Held(run_id, whose, *words, name))
    return found


def mailboxes(connection: Connection, clock: datetime) -> list[MailboxRow]:
    """How every mailbox is doing, by name; all counts are counted now."""
    here = f"{socket.gethostname()}:0"  # somebody who holds no lease
    query = select(message.c.mailbox_id, message.c.state, message.c.destination, func.count())
    query = query.group_by(message.c.mailbox_id, message.c.state, message.c.destination)
    states: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    piles: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for number, state, destination, count in connection.execute(query):
        states[number][state] += count
        if destination is not None:
            piles[number][destination] += count
    return [
        MailboxRow(
            mailbox=row.name,
            epoch=row.epoch,
            checkpoint=row.last_uid,
            last_sync_at=row.last_sync_at,
            last_error=row.last_error,
            busy=not visits.is_free(row.lease_owner, row.lease_until, here, clock),
            last_success_at=row.last_success_at,
            failing_since=row.failing_since,
            states=dict(states[row.id]),
            destinations=dict(piles[row.id]),
            imported=row.name.startswith(facts.IMPORTED),
        )
        for row in connection.execute(select(mailbox).order_by(mailbox.c.name))
    ]

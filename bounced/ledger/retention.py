"""What is kept for a time only: old reports of people who may be mailed, and names in diagnostics.

What a suppression rests on stays for as long as it lasts: without it the address would be mailed
again. Letters stay known by their hash, so that nothing old is recorded anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, bindparam, delete, select, update

from bounced.ledger import facts, places
from bounced.ledger.engine import CHUNK, chunks
from bounced.ledger.erasure import let_go
from bounced.ledger.standings import Occasion, settle
from bounced.ledger.tables import (
    address,
    domain_ruling,
    event,
    incident,
    judgement,
    list_standing,
    message,
    newly_suppressed,
    outbox,
    release,
    replaced_judgement,
    run,
    transition,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from bounced.ledger.book import Ledger

PURGED = "purged"  # as a problem of a letter of which nothing is on record any more
BY = "retention"


def purge_events(ledger: Ledger, before: datetime, *, at: datetime) -> Iterator[int]:
    """Forget what was reported before a time of addresses that are not suppressed now.

    Works while it is iterated, a transaction and a count of events for each piece.
    """
    last = ""
    while True:
        with ledger._database.writing() as connection:  # noqa: SLF001 - a room of the same house
            some = _old(connection, before, at, last)
            if not some:
                return
            count = _purge(connection, some, before)
            settle(connection, ledger._judge, Occasion(at, BY), some)  # noqa: SLF001
            _drop_empty(connection, some)
        last = some[-1]
        yield count


def _old(connection: Connection, before: datetime, at: datetime, after: str) -> list[str]:
    """The next addresses with old events that nobody keeps from being mailed, and nobody decides.

    The brake and its decision need whole runs, and a ruling on a domain all that it rests on: who
    has anything that waits for a word, or is at a domain that is given up, is left alone.
    """
    suppressed = address.c.suppressed & _lasts(address.c.expires_at, at)
    own = select(list_standing.c.address).where(
        list_standing.c.address == event.c.address,
        list_standing.c.suppressed,
        _lasts(list_standing.c.expires_at, at),
    )
    waits = select(newly_suppressed.c.address).where(newly_suppressed.c.address == event.c.address)
    undecided = select(run.c.id).where(run.c.state.in_(("held", "open", "failed")))
    held = select(event.c.address).where(event.c.run_id.in_(undecided)).correlate(None)
    unsure = (
        select(event.c.address)
        .join(incident, places.of_incident())
        .where(incident.c.state == "open")
        .correlate(None)
    )
    given_up = select(domain_ruling.c.domain)
    query = (
        select(event.c.address)
        .distinct()
        .join(address, address.c.address == event.c.address)
        .where(event.c.occurred_at < before, event.c.address > after)
        .where(~suppressed, ~own.exists(), ~waits.exists())
        .where(event.c.address.not_in(held), event.c.address.not_in(unsure))
        .where(event.c.domain.not_in(given_up))
        .order_by(event.c.address)
        .limit(CHUNK)
    )
    return list(connection.execute(query).scalars())


def _lasts(expires_at: ColumnElement[Any], at: datetime) -> ColumnElement[bool]:
    return expires_at.is_(None) | (expires_at > at)


def _purge(connection: Connection, addresses: Sequence[str], before: datetime) -> int:
    old = event.c.address.in_(addresses) & (event.c.occurred_at < before)
    rows = connection.execute(select(event.c.id, event.c.message_id).where(old)).all()
    ids = [row.id for row in rows]
    let_go(connection, ids)
    for some in chunks(ids):
        for table in (judgement, replaced_judgement):
            connection.execute(delete(table).where(table.c.event_id.in_(some)))
        connection.execute(delete(event).where(event.c.id.in_(some)))
    for table in (transition, release):
        theirs = table.c.address.in_(addresses)
        connection.execute(delete(table).where(theirs, table.c.at < before))
    _empty_letters(connection, sorted({row.message_id for row in rows}))
    return len(ids)


def _empty_letters(connection: Connection, ids: Sequence[int]) -> None:
    """Of letters of which no event is left, what they say of persons goes too."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("message_id", "returned_message_id", "returned_subject", "returned_from", "returned_to")
    )
    for some in chunks(ids):
        left = select(event.c.id).where(event.c.message_id == message.c.id).exists()
        this = update(message).where(message.c.id.in_(some), ~left)
        connection.execute(this.values(problems=json.dumps([PURGED]), **nothing))


def _drop_empty(connection: Connection, addresses: Sequence[str]) -> None:
    """Addresses of which nothing is left are none of our business any more."""
    told = select(event.c.id).where(event.c.address == address.c.address).exists()
    freed = select(release.c.id).where(release.c.address == address.c.address).exists()
    query = select(address.c.address).where(address.c.address.in_(addresses), ~told, ~freed)
    empty = list(connection.execute(query).scalars())
    for table in (transition, list_standing, address):
        connection.execute(delete(table).where(table.c.address.in_(empty)))


def redact(ledger: Ledger) -> Iterator[int]:
    """Take names out of what is stored already; a transaction and a count for each piece."""
    with ledger._database.writing() as connection:  # noqa: SLF001
        named = message.c.returned_to.is_not(None) | message.c.returned_subject.is_not(None)
        nothing = dict.fromkeys(("returned_subject", "returned_from", "returned_to"))
        yield connection.execute(update(message).where(named).values(**nothing)).rowcount
    change = update(event).where(event.c.id == bindparam("this"))
    change = change.values(diagnostic=bindparam("said"))
    last = 0
    while True:
        with ledger._database.writing() as connection:  # noqa: SLF001
            named = event.c.diagnostic.contains("@") & (event.c.id > last)
            query = select(event.c.id, event.c.diagnostic).where(named)
            rows = connection.execute(query.order_by(event.c.id).limit(CHUNK)).all()
            if not rows:
                return
            said = [{"this": n, "said": facts.redacted(text)} for n, text in rows]
            texts = dict(tuple(row) for row in rows)
            changed = [one for one in said if one["said"] != texts[one["this"]]]
            if changed:
                connection.execute(change, changed)
        last = rows[-1].id
        yield len(changed)


def purge_outbox(ledger: Ledger, before: datetime, known: Sequence[str]) -> int:
    """Drop notices that were given up before a time, and those that old of no known webhook."""
    old = outbox.c.dead_at < before
    orphaned = outbox.c.webhook.not_in(list(known)) & (outbox.c.created_at < before)
    with ledger._database.writing() as connection:  # noqa: SLF001
        return connection.execute(delete(outbox).where(old | orphaned)).rowcount

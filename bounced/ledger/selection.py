"""Suppressed addresses chosen by what they have in common: domain, reason, rule, run, time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, or_

from bounced.ledger import places
from bounced.ledger.engine import CHUNK
from bounced.ledger.reading import STREAM, suppressed_at
from bounced.ledger.rows import SuppressedRow
from bounced.ledger.tables import address, incident, transition
from bounced.smtp import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Select

    from bounced.ledger.engine import Database


@dataclass(frozen=True, slots=True)
class Selection:
    """What an address must fit to be chosen: each thing that is given, by one of its values.

    `run_id` is the run that suppressed it, `incident_id` the incident of which the deciding event
    is, `since` and `until` bound when the suppression began
    (aware, `until` not included). `addresses` are few enough for one statement.
    """

    addresses: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    run_id: int | None = None
    incident_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether it would choose everyone."""
        return all(getattr(self, part.name) in ((), None) for part in fields(self))

    def described(self) -> str:
        """What was chosen, for people: `domains example.org; since 2026-03-01`."""
        told = ((part.name, getattr(self, part.name)) for part in fields(self))
        return "; ".join(
            f"{name} {_words(value)}" for name, value in told if value not in ((), None)
        )


def _words(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def rows(database: Database, chosen: Selection, at: datetime) -> Iterator[SuppressedRow]:
    """Who is suppressed at a time and fits, by address, streamed."""
    query = _narrowed(suppressed_at(at), chosen).order_by(address.c.address)
    with database.reading() as connection:
        streaming = connection.execution_options(yield_per=STREAM)
        with streaming.execute(query) as found:
            for row in found:
                yield SuppressedRow(*row)


def page(connection: Connection, chosen: Selection, at: datetime, after: str) -> list[str]:
    """The next such addresses, at most a chunk of them."""
    query = _narrowed(suppressed_at(at), chosen).where(address.c.address > after)
    some = query.with_only_columns(address.c.address).order_by(address.c.address).limit(CHUNK)
    return list(connection.execute(some).scalars())


def _narrowed(query: Select[Any], chosen: Selection) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if chosen.addresses:
        conditions.append(address.c.folded.in_([folded(one) for one in chosen.addresses]))
    if chosen.domains:
        domains = (folded(f"x@{domain.lstrip('@')}").partition("@")[2] for domain in chosen.domains)
        ends = [address.c.folded.endswith(f"@{domain}", autoescape=True) for domain in domains]
        conditions.append(or_(*ends))
    if chosen.reasons:
        conditions.append(address.c.reason.in_(chosen.reasons))
    if chosen.rules:
        conditions.append(address.c.rule.in_(chosen.rules))
    if chosen.since is not None:
        conditions.append(address.c.since >= chosen.since)
    if chosen.until is not None:
        conditions.append(address.c.since < chosen.until)
    if chosen.run_id is not None:
        this = (transition.c.address == address.c.address) & (transition.c.run_id == chosen.run_id)
        conditions.append(exists().where(this, transition.c.to_suppressed))
    if chosen.incident_id is not None:
        this = (incident.c.id == chosen.incident_id) & places.of_incident()
        conditions.append(exists().where(this))
    return query.where(*conditions)

"""Suppressed addresses chosen by what they have in common: domain, reason, rule, run, time.

Who is suppressed on one list only is chosen like who is on all: a release frees on every list.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, or_, select, union

from bounced.ledger import places
from bounced.ledger.engine import CHUNK
from bounced.ledger.reading import STREAM, suppressed_at, suppressed_on_lists
from bounced.ledger.rows import SuppressedRow
from bounced.ledger.tables import address, incident, list_standing, transition
from bounced.smtp import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Select, Table

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
    """What suppresses those who fit at a time, on all lists and on single ones, by address."""
    everywhere = _narrowed(suppressed_at(at), address, chosen).order_by(address.c.address)
    own = _narrowed(suppressed_on_lists(at, None), list_standing, chosen)
    with database.reading() as connection:
        few = [SuppressedRow(*row) for row in connection.execute(own)]
        few.sort(key=attrgetter("address", "list"))
        streaming = connection.execution_options(yield_per=STREAM)
        with streaming.execute(everywhere) as found:
            many = (SuppressedRow(*row) for row in found)
            yield from merge(many, few, key=attrgetter("address"))


def page(connection: Connection, chosen: Selection, at: datetime, after: str) -> list[str]:
    """The next addresses that are suppressed, on all lists or on one, at most a chunk of them."""
    everywhere = _narrowed(suppressed_at(at), address, chosen)
    own = _narrowed(suppressed_on_lists(at, None), list_standing, chosen)
    # put in order by the database, which need not sort as Python does
    either = union(
        everywhere.with_only_columns(address.c.address).where(address.c.address > after),
        own.with_only_columns(list_standing.c.address).where(list_standing.c.address > after),
    ).subquery()
    query = select(either.c.address).order_by(either.c.address).limit(CHUNK)
    return list(connection.execute(query).scalars())


def _narrowed(query: Select[Any], standing: Table, chosen: Selection) -> Select[Any]:
    """Of a query of standings (`address` or `list_standing`) those that fit."""
    own = standing.c
    conditions: list[ColumnElement[bool]] = []
    if chosen.addresses:
        conditions.append(own.folded.in_([folded(one) for one in chosen.addresses]))
    if chosen.domains:
        domains = (folded(f"x@{domain.lstrip('@')}").partition("@")[2] for domain in chosen.domains)
        ends = [own.folded.endswith(f"@{domain}", autoescape=True) for domain in domains]
        conditions.append(or_(*ends))
    if chosen.reasons:
        conditions.append(own.reason.in_(chosen.reasons))
    if chosen.rules:
        conditions.append(own.rule.in_(chosen.rules))
    if chosen.since is not None:
        conditions.append(own.since >= chosen.since)
    if chosen.until is not None:
        conditions.append(own.since < chosen.until)
    if chosen.run_id is not None:
        name = own.list if standing is list_standing else ""
        this = (transition.c.address == own.address) & (transition.c.list == name)
        by_it = transition.c.to_suppressed & (transition.c.run_id == chosen.run_id)
        conditions.append(exists().where(this, by_it))
    if chosen.incident_id is not None:
        this = (incident.c.id == chosen.incident_id) & places.of_incident()
        conditions.append(exists().where(this))
    return query.where(*conditions)

"""Providers and domains in a window of time, and the hard bounces that came from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, func, or_, select

from bounced.ledger.engine import chunks
from bounced.ledger.tables import event, incident, judgement
from bounced.model import Fault, Kind, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection

JUDGED = event.join(judgement, judgement.c.event_id == event.c.id)
BLAMED = tuple(fault.value for fault in Fault if fault not in {Fault.SENDER, Fault.MESSAGE})


class Place(NamedTuple):
    """A provider or a domain (`scope`) in one window of time."""

    scope: str
    name: str
    begins_at: datetime
    ends_at: datetime


def hard_at(place: Place) -> ColumnElement[bool]:
    """Hard bounces at a place, as `bounced.policy.waits_for_incidents` has it."""
    return and_(_column(place.scope) == place.name, _hard_between(place.begins_at, place.ends_at))


def _column(scope: str) -> Column[str]:
    return event.c.domain if scope == "domain" else event.c.provider


def _hard_between(begins_at: datetime, ends_at: datetime) -> ColumnElement[bool]:
    return and_(
        event.c.occurred_at >= begins_at,
        event.c.occurred_at < ends_at,
        event.c.kind == Kind.BOUNCE.value,
        judgement.c.outcome == Outcome.HARD.value,
        judgement.c.fault.in_(BLAMED),
        judgement.c.reason != Reason.PROVIDER_SUPPRESSED.value,
    )


def of_incident() -> ColumnElement[bool]:
    """Whether an event (of a query) is of the place and window of an incident (of the same)."""
    by_domain = (incident.c.scope == "domain") & (incident.c.name == event.c.domain)
    by_provider = (incident.c.scope == "provider") & (incident.c.name == event.c.provider)
    return and_(
        event.c.occurred_at >= incident.c.begins_at,
        event.c.occurred_at < incident.c.ends_at,
        or_(by_domain, by_provider),
    )


def count(connection: Connection, place: Place) -> int:
    """How many addresses answered hard there."""
    query = select(func.count(event.c.address.distinct())).select_from(JUDGED)
    return int(connection.execute(query.where(hard_at(place))).scalar_one())


def crowded(connection: Connection, met: Iterable[Place], floor: int) -> dict[Place, int]:
    """Those places where more than `floor` addresses answered hard, and how many.

    One statement for each window and scope, however many places there are.
    """
    windows: dict[tuple[str, datetime, datetime], list[str]] = {}
    for place in met:
        windows.setdefault((place.scope, place.begins_at, place.ends_at), []).append(place.name)
    found: dict[Place, int] = {}
    for (scope, begins_at, ends_at), names in windows.items():
        column = _column(scope)
        many = func.count(event.c.address.distinct())
        for some in chunks(names):
            query = select(column, many).select_from(JUDGED).where(column.in_(some))
            query = query.where(_hard_between(begins_at, ends_at)).group_by(column)
            for name, number in connection.execute(query.having(many > floor)):
                found[Place(scope, name, begins_at, ends_at)] = number
    return found


def addresses(connection: Connection, place: Place) -> Iterator[str]:
    """Everybody whose hard bounces are in an incident, in order."""
    query = select(event.c.address).select_from(JUDGED).where(hard_at(place)).distinct()
    yield from list(connection.execute(query.order_by(event.c.address)).scalars())
